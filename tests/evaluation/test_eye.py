"""What a frozen network makes of images."""

from __future__ import annotations

import pytest

from simclr.config import AugmentConfig, EncoderConfig, HeadConfig
from simclr.config.cell import View
from simclr.evaluation import eye
from simclr.model.network import build_network, representations

ENCODER = EncoderConfig(name="small_cnn", widths=[8, 12], blocks=[1, 1])
LAYERS = ["encoder", "relu_1", "stage_1"]


@pytest.fixture(scope="module")
def network():
    return build_network(ENCODER, HeadConfig(name="one_relu", hidden=[10, 10], output=6), 1, 16, seed=0)


def test_features_are_those_of_the_network_itself(network, made_up_split):
    split = made_up_split(150)  # more than a batch
    look = eye.Eye(representations(network, ["projection"]), View(16, mirror=False, centre=False))
    found = look(split)["projection"]
    assert found == pytest.approx(network(split.pixels / 255, training=False).numpy(), abs=1e-5)


def test_every_layer_asked_for_comes_with_its_width(network, made_up_split):
    found = eye.Eye(representations(network, LAYERS), View(12, mirror=True, centre=True))(made_up_split(10))
    assert {name: each.shape for name, each in found.items()} == {
        "encoder": (10, 12),
        "relu_1": (10, 10),
        "stage_1": (10, 8),
    }


def test_averaging_over_the_mirror_image_makes_a_mirrored_image_the_same(network, made_up_split):
    split = made_up_split(10)
    mirrored = type(split)(split.pixels[:, :, ::-1], split.labels, split.aspect, split.paths)
    one, other = (
        eye.Eye(representations(network, ["encoder"]), View(16, mirror=True, centre=False))(each)["encoder"]
        for each in (split, mirrored)
    )
    assert one == pytest.approx(other, abs=1e-5)


def test_features_of_an_image_do_not_depend_on_its_batch(network, made_up_split):
    split = made_up_split(20)
    alone = type(split)(split.pixels[3:4], split.labels[3:4], split.aspect[3:4], split.paths[3:4])
    together, single = (
        eye.Eye(representations(network, ["encoder"]), View(16, mirror=False, centre=False))(each)["encoder"]
        for each in (split, alone)
    )
    assert single[0] == pytest.approx(together[3], abs=1e-5)


def test_views_that_do_not_vary_are_not_apart_and_others_are(network, made_up_split):
    still, turned = AugmentConfig(name="affine"), AugmentConfig(name="affine", rotation=40)
    apart = [
        eye.alignments(network, ["encoder", "stage_1"], made_up_split(10), augment, 16, seed=0)
        for augment in (still, turned)
    ]
    assert list(apart[0].values()) == pytest.approx([0, 0], abs=1e-9)
    assert min(apart[1].values()) > 1e-5
