from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from simclr.config import EncoderConfig
from simclr.foundation.errors import InvalidInput
from simclr.model.encoder import build_encoder, stage_outputs
from simclr.model.layers import FusedBatchNormalization

SMALL_CNN = EncoderConfig("small_cnn", widths=[32, 64, 128], blocks=[1, 2, 2])
SMALL_RESNET = EncoderConfig("small_resnet", widths=[32, 64, 128, 256], blocks=[1, 1, 1, 1], shortcut="pooled")
RESNET18 = EncoderConfig("resnet18", widths=[64, 128, 256, 512], blocks=[2, 2, 2, 2])
RESNET50 = EncoderConfig("resnet50", widths=[256, 512, 1024, 2048], blocks=[3, 4, 6, 3])


@pytest.fixture(scope="module")
def resnet50() -> Any:
    return build_encoder(RESNET50, channels=3, image_size=224)


def sides(backbone: Any, image_size: int) -> list[int]:
    """The side of the maps after each stage."""
    images = np.zeros((1, image_size, image_size, backbone.input.shape[-1]), "float32")
    stages = keras.Model(backbone.input, list(stage_outputs(backbone).values()))
    return [maps.shape[1] for maps in stages(images)]


def kernels(backbone: Any) -> list[tuple[int, ...]]:
    return [tuple(each.shape) for each in backbone.trainable_variables if each.name == "kernel"]


@pytest.mark.parametrize("config", [SMALL_CNN, SMALL_RESNET, RESNET18], ids=lambda config: config.name)
def test_every_stage_can_be_had_by_its_name_and_the_last_one_is_the_output(config: EncoderConfig) -> None:
    backbone = build_encoder(config, channels=3, image_size=32)
    assert backbone.name == "backbone"
    for number, width in enumerate(config.widths, start=1):
        assert backbone.get_layer(f"stage_{number}").output.shape == (None, None, None, width)
    stages = stage_outputs(backbone)
    assert list(stages) == [f"stage_{number}" for number in range(1, len(config.widths) + 1)]
    assert stages[f"stage_{len(config.widths)}"] is backbone.output


@pytest.mark.parametrize("config", [SMALL_CNN, SMALL_RESNET, RESNET18], ids=lambda config: config.name)
def test_every_norm_is_the_fused_one_with_the_momentum_asked_for(config: EncoderConfig) -> None:
    backbone = build_encoder(EncoderConfig(**{**vars(config), "norm_momentum": 0.7}), channels=1, image_size=32)
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    convolutions = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(norms) == len(convolutions)
    assert {type(norm) for norm in norms} == {FusedBatchNormalization}
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.7, 1e-5)}
    assert not any(convolution.use_bias for convolution in convolutions)


def test_layer_names_do_not_depend_on_what_was_built_before() -> None:
    first, second = (build_encoder(RESNET18, channels=3, image_size=32) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


def test_the_small_cnn_has_five_convolutions_and_halves_the_maps_twice() -> None:
    backbone = build_encoder(SMALL_CNN, channels=1, image_size=16)
    assert kernels(backbone) == [(3, 3, 1, 32), (3, 3, 32, 64), (3, 3, 64, 64), (3, 3, 64, 128), (3, 3, 128, 128)]
    assert sides(backbone, 16) == [16, 8, 4]


def test_the_small_resnet_has_the_reference_size() -> None:
    backbone = build_encoder(SMALL_RESNET, channels=3, image_size=64)
    assert backbone.count_params() == 1_229_280
    assert sides(backbone, 64) == [32, 16, 8, 4]


def test_the_resnet18_has_its_published_size() -> None:
    # torchvision's resnet18 has 11,176,512 parameters without its classifier; 9,600 moving statistics come to that,
    # and the small stem has (49 - 9) * 3 * 64 fewer.
    assert build_encoder(RESNET18, channels=3, image_size=224).count_params() == 11_176_512 + 9_600
    assert build_encoder(RESNET18, channels=3, image_size=32).count_params() == 11_176_512 + 9_600 - 7_680


@pytest.mark.parametrize(
    ("name", "stem", "image_size", "expected"),
    [
        ("small_resnet", "auto", 32, 16),
        ("small_resnet", "auto", 224, 112),
        ("resnet18", "auto", 64, 64),
        ("resnet18", "auto", 96, 24),
        ("resnet18", "cifar", 96, 96),
        ("resnet18", "strided", 32, 16),
        ("resnet18", "imagenet", 32, 8),
    ],
)
def test_the_stem_decides_the_side_of_the_first_stage(name: str, stem: str, image_size: int, expected: int) -> None:
    config = EncoderConfig(name, widths=[4, 8], blocks=[1, 1], stem=stem)
    backbone = build_encoder(config, channels=3, image_size=image_size)
    assert sides(backbone, image_size) == [expected, expected // 2]


@pytest.mark.parametrize("shortcut", ["strided", "pooled"])
def test_either_shortcut_takes_maps_of_an_odd_side(shortcut: str) -> None:
    config = EncoderConfig("resnet18", widths=[4, 8], blocks=[2, 2], shortcut=shortcut)
    backbone = build_encoder(config, channels=3, image_size=11)
    assert sides(backbone, 11) == [11, 6]
    pools = [layer for layer in backbone.layers if isinstance(layer, keras.layers.AveragePooling2D)]
    assert len(pools) == (shortcut == "pooled")


def test_a_block_that_keeps_the_shape_adds_its_input_as_it_is() -> None:
    backbone = build_encoder(EncoderConfig("resnet18", widths=[4], blocks=[1]), channels=3, image_size=8)
    for layer in backbone.layers:
        if "conv_2_norm" in layer.name:
            layer.gamma.assign(np.zeros(4))
    images = np.random.default_rng(0).random((2, 8, 8, 3)).astype("float32")
    stem = keras.Model(backbone.input, backbone.get_layer("stem_relu").output)
    np.testing.assert_array_equal(backbone(images), stem(images))


def test_the_resnet50_is_keras_own(resnet50: Any) -> None:
    assert resnet50.name == "backbone"
    assert resnet50.count_params() == 23_587_712
    norms = [layer for layer in resnet50.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 53
    assert {norm.momentum for norm in norms} == {0.99}
    assert {norm.epsilon for norm in norms} == {1.001e-5}


@pytest.mark.parametrize("training", [False, True])
def test_the_resnet50_computes_what_keras_own_does(resnet50: Any, training: bool) -> None:
    own = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
    ours, theirs = ({each.path: each for each in model.variables} for model in (resnet50, own))
    assert list(ours) == list(theirs)
    before = resnet50.get_weights()
    generator = np.random.default_rng(0)
    for path, variable in theirs.items():
        value = variable.numpy() if "kernel" in path else generator.uniform(0.8, 1.2, variable.shape)
        variable.assign(value)
        ours[path].assign(value)
    images = generator.random((4, 64, 64, 3)).astype("float32")
    found, expected = (np.asarray(model(images, training=training)) for model in (resnet50, own))
    resnet50.set_weights(before)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_the_resnet50s_stages_are_found_under_our_names(resnet50: Any) -> None:
    stages = stage_outputs(resnet50)
    assert {name: maps.shape[-1] for name, maps in stages.items()} == {
        "stage_1": 256,
        "stage_2": 512,
        "stage_3": 1024,
        "stage_4": 2048,
    }
    assert stages["stage_4"] is resnet50.output
    assert sides(resnet50, 64) == [16, 8, 4, 2]


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(InvalidInput, match="resnet50"):
        build_encoder(EncoderConfig("resnet51", widths=[4], blocks=[1]), channels=3, image_size=32)
