"""Features of a frozen network and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from simclr import representation
from simclr.config import AugmentConfig, EncoderConfig, HeadConfig
from simclr.network import build_network

ENCODER = EncoderConfig(name="small_cnn", widths=[8, 12], blocks=[1, 1])
LAYERS = ["encoder", "relu_1", "stage_1"]


@pytest.fixture(scope="module")
def network():
    return build_network(ENCODER, HeadConfig(name="one_relu", hidden=[10, 10], output=6), 1, 16, seed=0)


def test_features_are_those_of_the_network_itself(network, made_up_split):
    split = made_up_split(150)  # more than a batch
    found = representation.extract(network, ["projection"], split, 16, mirror=False, centre=False)["projection"]
    assert found == pytest.approx(network(split.pixels / 255, training=False).numpy(), abs=1e-5)


def test_every_layer_asked_for_comes_with_its_width(network, made_up_split):
    found = representation.extract(network, LAYERS, made_up_split(10), 12, mirror=True, centre=True)
    assert {name: features.shape for name, features in found.items()} == {
        "encoder": (10, 12),
        "relu_1": (10, 10),
        "stage_1": (10, 8),
    }


def test_averaging_over_the_mirror_image_makes_a_mirrored_image_the_same(network, made_up_split):
    split = made_up_split(10)
    mirrored = type(split)(split.pixels[:, :, ::-1], split.labels, split.aspect, split.paths)
    one, other = (
        representation.extract(network, ["encoder"], each, 16, mirror=True, centre=False)["encoder"]
        for each in (split, mirrored)
    )
    assert one == pytest.approx(other, abs=1e-5)


def test_features_of_an_image_do_not_depend_on_its_batch(network, made_up_split):
    split = made_up_split(20)
    alone = type(split)(split.pixels[3:4], split.labels[3:4], split.aspect[3:4], split.paths[3:4])
    together, single = (
        representation.extract(network, ["encoder"], each, 16, mirror=False, centre=False)["encoder"]
        for each in (split, alone)
    )
    assert single[0] == pytest.approx(together[3], abs=1e-5)


def test_pairs_are_views_of_the_same_images(network, made_up_split):
    still = AugmentConfig(name="affine")
    first, second = representation.view_pairs(network, ["encoder"], made_up_split(10), still, 16, seed=0)["encoder"]
    assert first.shape == (10, 12)
    assert first == pytest.approx(second, abs=1e-5)


def test_alignment_is_zero_for_invariant_features_and_four_for_opposite_ones():
    features = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    assert representation.alignment(features, features * 3) == pytest.approx(0, abs=1e-9)
    assert representation.alignment(features, -features) == pytest.approx(4)


def test_uniformity_is_zero_for_one_point_and_lower_the_more_spread():
    assert representation.uniformity(np.ones((10, 3), np.float32)) == pytest.approx(0)
    poles = np.array([[1, 0], [-1, 0]], np.float32)
    assert representation.uniformity(poles) == pytest.approx(-8)
    spread = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
    assert representation.uniformity(spread) == pytest.approx(-4, abs=0.15)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_effective_rank_counts_equal_directions(rank):
    corners = np.concatenate([np.eye(rank), -np.eye(rank)]) @ np.eye(rank, 10)
    assert representation.effective_rank(corners.astype(np.float32)) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_does_not_count_the_mean():
    constant = np.full((20, 6), 5, np.float32)
    assert representation.effective_rank(constant) == pytest.approx(1, abs=0.01)
