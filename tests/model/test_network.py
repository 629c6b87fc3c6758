from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr.config import EncoderConfig, HeadConfig
from simclr.config.cell import head_layers
from simclr.config.method import RELU_LAYERS
from simclr.foundation.errors import InvalidInput
from simclr.model.network import build_network, layer_name, representation, representations
from simclr.training.loss import nt_xent

SMALL = EncoderConfig("small_cnn", widths=[8, 16, 24], blocks=[1, 1, 2])
RESNET50 = EncoderConfig("resnet50", widths=[256, 512, 1024, 2048], blocks=[3, 4, 6, 3])

# Index, name and width of every representation, from the documents' tables (the encoder's own width aside).
TABLES = {
    "two_relu": [
        (-1, "projection", 50),
        (-2, "relu_2", 128),
        (-3, "dense_2", 128),
        (-4, "relu_1", 256),
        (-5, "dense_1", 256),
        (-6, "encoder", None),
    ],
    "one_relu": [(-1, "projection", 50), (-2, "relu_1", 256), (-3, "dense_1", 256), (-4, "encoder", None)],
    "zero_relu": [(-1, "projection", 50), (-2, "encoder", None)],
    "none": [(-1, "encoder", None)],
}


def build(head: str = "two_relu", seed: int = 0, encoder: EncoderConfig = SMALL, **arguments: Any) -> Any:
    return build_network(encoder, HeadConfig(head), channels=3, image_size=16, seed=seed, **arguments)


def images(count: int = 4, side: int = 16) -> Any:
    return np.random.default_rng(0).random((count, side, side, 3)).astype("float32")


def digest(model: Any) -> str:
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


@pytest.fixture(scope="module")
def resnet50() -> Any:
    return build(encoder=RESNET50)


@pytest.fixture(scope="module")
def network() -> Any:
    return build()


@pytest.mark.parametrize("head", TABLES)
def test_every_layer_is_at_the_documents_index(head: str) -> None:
    model = build(head)
    assert model.name == "simclr"
    for index, name, width in TABLES[head]:
        assert layer_name(model, index) == model.layers[index].name == name
        assert representation(model, index)(images()).shape == (4, width or 24)
        assert representation(model, name).output.shape == (None, width or 24)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("head", RELU_LAYERS)
def test_the_table_of_a_heads_layers_is_the_networks(head: str, norm: str) -> None:
    """The configuration's, which knows nothing of TensorFlow, by index, name and width."""
    config = HeadConfig(head, hidden=[9, 8, 7], output=6, norm=norm)
    model = build_network(SMALL, config, channels=3, image_size=16, seed=0)
    table = head_layers(SMALL, config)
    assert table[-1].name == "encoder"
    for layer in table:
        assert layer_name(model, layer.index or 0) == model.layers[layer.index or 0].name == layer.name
        assert representation(model, layer.name)(images()).shape == (4, layer.width)
    assert len(table) == len(model.layers) - 2


def test_a_normed_heads_representations_are_what_the_network_computes() -> None:
    model = build_network(SMALL, HeadConfig("two_relu", norm="batch"), channels=3, image_size=16, seed=0)
    model(images(), training=True)
    found = representations(model, ["norm_1", "relu_1", "projection", "projection_norm"])(images())
    np.testing.assert_allclose(found["projection_norm"], model(images()), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["relu_1"], np.maximum(found["norm_1"], 0))
    assert not np.allclose(found["projection"], found["projection_norm"])


def test_the_backbone_is_one_layer(network: Any) -> None:
    assert [layer.name for layer in network.layers][:3] == ["images", "backbone", "encoder"]


def test_the_documents_network_has_the_documents_size(resnet50: Any) -> None:
    assert resnet50.count_params() == 24_151_602
    assert sum(int(np.prod(each.shape)) for each in resnet50.trainable_variables) == 24_098_482
    for index, name, width in TABLES["two_relu"]:
        assert resnet50.layers[index].name == name
        assert resnet50.layers[index].output.shape == (None, width or 2048)


def test_the_documents_network_gives_its_stages(resnet50: Any) -> None:
    every = representations(resnet50, ["stage_1", "stage_2", "stage_3", "stage_4", "encoder"])(images(2, 32))
    assert [every[name].shape[1] for name in every] == [256, 512, 1024, 2048, 2048]
    np.testing.assert_array_equal(every["stage_4"], every["encoder"])


def test_representations_are_what_the_network_computes(network: Any) -> None:
    every = representations(network, ["projection", "stage_1", "stage_3", "encoder", "relu_1"])
    found = every(images())
    backbone = network.get_layer("backbone")
    first = keras.Model(backbone.input, backbone.get_layer("stage_1").output)(images())
    np.testing.assert_array_equal(found["projection"], network(images()))
    np.testing.assert_array_equal(found["encoder"], found["stage_3"])
    np.testing.assert_allclose(found["encoder"], np.mean(backbone(images()), axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["stage_1"], np.mean(first, axis=(1, 2)), rtol=1e-5)
    assert np.min(found["relu_1"]) == 0
    assert {name: each.shape[1] for name, each in found.items()} == {
        "projection": 50,
        "stage_1": 8,
        "stage_3": 24,
        "encoder": 24,
        "relu_1": 256,
    }


def test_a_representation_follows_the_networks_weights() -> None:
    model = build()
    encoder = representation(model, "encoder")
    before = encoder(images()).numpy()
    model.set_weights(build(seed=1).get_weights())
    np.testing.assert_array_equal(encoder(images()), representation(build(seed=1), "encoder")(images()))
    assert not np.array_equal(encoder(images()), before)


def test_reading_representations_leaves_the_network_as_it_is(network: Any, tmp_path: Path) -> None:
    config = network.get_config()
    representations(network, ["stage_2", "relu_1"])
    assert network.get_config() == config
    network.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(images()), network(images()))
    np.testing.assert_array_equal(
        representation(restored, "stage_2")(images()), representation(network, "stage_2")(images())
    )


@pytest.mark.parametrize("layer", [-7, -8, -99, 0, 1, 8, "relu_3", "backbone", "stage_4", "images"])
def test_what_is_no_representation_is_refused_with_those_there_are(network: Any, layer: int | str) -> None:
    with pytest.raises(InvalidInput, match=r"-6 \(encoder\).*-1 \(projection\).*stage_1 to stage_3"):
        representation(network, layer)


def test_a_misspelt_name_is_answered_with_the_nearest_one(network: Any) -> None:
    with pytest.raises(InvalidInput, match='Did you mean "relu_1"'):
        representations(network, ["encoder", "relu1"])


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    keras.utils.set_random_seed(1)
    first = digest(build(seed=5))
    keras.utils.set_random_seed(2)
    build(seed=3)
    assert digest(build(seed=5)) == first
    assert digest(build(seed=6)) != first


def test_the_same_seed_gives_the_same_weights_in_another_process() -> None:
    program = (
        "import hashlib\n"
        "from simclr.config import EncoderConfig, HeadConfig\n"
        "from simclr.model.network import build_network\n"
        "encoder = EncoderConfig('small_cnn', widths=[8, 16, 24], blocks=[1, 1, 2])\n"
        "model = build_network(encoder, HeadConfig('two_relu'), channels=3, image_size=16, seed=5)\n"
        "print(hashlib.sha256(b''.join(weight.tobytes() for weight in model.get_weights())).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == digest(build(seed=5))


def test_networks_that_differ_in_their_head_start_from_the_same_encoder() -> None:
    without, with_head = build("none", seed=2), build("two_relu", seed=2)
    assert digest(without.get_layer("backbone")) == digest(with_head.get_layer("backbone"))


def test_no_two_kernels_begin_alike() -> None:
    model = build(encoder=EncoderConfig("resnet18", widths=[8, 8], blocks=[2, 2]))
    kernels = [each.numpy() for each in model.trainable_variables if each.shape == (3, 3, 8, 8)]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 8


@pytest.mark.slow
def test_the_documents_network_is_seeded_as_well(resnet50: Any) -> None:
    again = build(encoder=RESNET50)
    assert digest(again) == digest(resnet50)


def test_kernels_have_the_spread_of_their_initialiser() -> None:
    encoder = EncoderConfig("small_cnn", widths=[64, 128], blocks=[1, 1])
    model = build(encoder=encoder)
    kernel = model.get_layer("backbone").get_layer("stage_2_conv_1").kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    dense = model.get_layer("dense_1").kernel.numpy()
    assert np.abs(dense).max() == pytest.approx(np.sqrt(6 / (128 + 256)), rel=0.01)


def test_building_leaves_the_random_state_of_tensorflow_and_numpy_alone() -> None:
    keras.utils.set_random_seed(7)
    expected = (tf.random.normal((3,)).numpy().tolist(), np.random.random(3).tolist())  # noqa: NPY002
    keras.utils.set_random_seed(7)
    build()
    assert (tf.random.normal((3,)).numpy().tolist(), np.random.random(3).tolist()) == expected  # noqa: NPY002


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("head", ["two_relu", "none", "normed"])
def test_embeddings_are_float32_in_every_precision(precision: str, head: str) -> None:
    def build(precision: str = "float32") -> Any:
        config = HeadConfig("two_relu", norm="batch") if head == "normed" else HeadConfig(head)
        return build_network(SMALL, config, channels=3, image_size=16, seed=0, precision=precision)

    model = build(precision)
    assert model.dtype_policy.name == precision
    assert model.output.dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    names = ["encoder", "stage_2"]
    assert {each.dtype for each in representations(model, names)(images()).values()} == {tf.float32}
    np.testing.assert_allclose(model(images()), build()(images()), rtol=0.1, atol=0.05)
    assert model(images(), training=True).dtype == tf.float32


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_training_step_has_finite_gradients_everywhere(precision: str) -> None:
    encoder = EncoderConfig("small_resnet", widths=[8, 16], blocks=[1, 1], shortcut="pooled")
    model = build(encoder=encoder, precision=precision)
    with tf.GradientTape() as tape:
        loss = nt_xent(model(images(8), training=True), 0.2)
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)


def test_the_global_policy_is_left_as_it_was() -> None:
    before = keras.config.dtype_policy()
    build(precision="mixed_bfloat16")
    assert keras.config.dtype_policy() == before
    with pytest.raises(ValueError, match="float31"):
        build(precision="float31")
    with pytest.raises(InvalidInput):
        build("four_relu", precision="mixed_bfloat16")
    assert keras.config.dtype_policy() == before


def test_the_network_takes_images_of_any_size(network: Any) -> None:
    assert network(images(2, 16)).shape == network(images(2, 23)).shape == (2, 50)
