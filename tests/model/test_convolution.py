from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr.model import layers
from simclr.model.layers import Convolution


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes for which the gradient was matrix products, few channels counting as many and any type as narrow."""
    calls: list[tuple[int, ...]] = []
    products = layers.kernel_gradient

    def noted(inputs: Any, upstream: Any, stride: int) -> Any:
        calls.append(tuple(inputs.shape))
        return products(inputs, upstream, stride)

    monkeypatch.setattr(layers, "FEWEST_CHANNELS", 1)
    monkeypatch.setattr(layers, "DTYPES", (tf.float64, tf.float32, tf.bfloat16))
    monkeypatch.setattr(layers, "kernel_gradient", noted)
    return calls


def both(inputs: Any, filters: int, **arguments: Any) -> list[tuple[Any, Any, Any]]:
    """Output, gradient by the inputs and by the kernel, of this layer and of Keras's, with the same kernel."""
    found = []
    kernel = None
    for kind in (Convolution, keras.layers.Conv2D):
        layer = kind(filters, arguments.pop("size", 3), use_bias=False, **arguments)
        layer.build(inputs.shape)
        kernel = layer.kernel.numpy() if kernel is None else kernel
        layer.kernel.assign(kernel)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = layer(inputs)
            loss = tf.reduce_sum(tf.cast(output, tf.float32) ** 2)
        found.append((output, *tape.gradient(loss, [inputs, layer.kernel.value])))
    return found


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_output_and_gradients_equal_keras(used: list[Any], side: int, stride: int) -> None:
    inputs = tf.constant(np.random.default_rng(side).normal(size=(5, side * stride, side * stride, 3)), tf.float32)
    ours, theirs = both(inputs, 4, strides=stride, padding="same")
    assert used == [tuple(inputs.shape)]
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_the_slope_of_the_output(used: list[Any]) -> None:
    inputs = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 4, 2)), tf.float64)
    layer = Convolution(2, 3, strides=2, padding="same", use_bias=False, dtype="float64")
    layer.build(inputs.shape)
    exact, numeric = tf.test.compute_gradient(lambda kernel: layer.convolution_op(inputs, kernel), [layer.kernel.value])
    assert used
    np.testing.assert_allclose(exact[0], numeric[0], atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 1, "padding": "same"},
        {"size": 3, "padding": "valid"},
        {"size": 3, "padding": "same", "dilation_rate": 2},
        {"size": 3, "padding": "same", "groups": 2},
    ],
)
def test_what_it_does_not_serve_goes_keras_own_way(used: list[Any], arguments: dict[str, Any]) -> None:
    inputs = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 4, 2)), tf.float32)
    layer = Convolution(4, arguments.pop("size"), use_bias=False, **arguments)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs) ** 2)
    assert tape.gradient(loss, layer.kernel.value) is not None
    assert not used


def test_large_maps_few_channels_and_float32_go_keras_own_way() -> None:
    few, many = layers.FEWEST_CHANNELS - 1, layers.FEWEST_CHANNELS
    layer = Convolution(many, 3, padding="same")
    assert layer._fits(tf.zeros((1, 8, 8, many), tf.bfloat16))
    assert not layer._fits(tf.zeros((1, 8, 8, few), tf.bfloat16))
    assert not layer._fits(tf.zeros((1, 9, 9, many), tf.bfloat16))
    assert not layer._fits(tf.zeros((1, 8, 8, many)))
    assert not layer._fits(keras.KerasTensor((None, None, None, many), "bfloat16"))


def test_it_is_used_in_a_traced_network_of_the_recipe(used: list[Any]) -> None:
    from simclr.config import EncoderConfig, HeadConfig
    from simclr.model.network import build_network

    encoder = EncoderConfig(name="small_resnet", widths=[4, 4, 4, 4], blocks=[1, 1, 1, 1], shortcut="pooled")
    network = build_network(encoder, HeadConfig("two_relu", [8, 8], 4), 3, 32, 0, precision="mixed_bfloat16")

    @tf.function
    def step(images: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(images, training=True))
        return tape.gradient(loss, network.trainable_variables)

    assert all(gradient is not None for gradient in step(tf.zeros((2, 32, 32, 3), tf.bfloat16)))
    assert (2, 2, 2, 4) in used


def test_a_saved_layer_is_loaded_again(tmp_path: Any) -> None:
    model = keras.Sequential([keras.Input((8, 8, 2)), Convolution(4, 3, strides=2, padding="same")])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = np.random.default_rng(0).normal(size=(2, 8, 8, 2))
    np.testing.assert_array_equal(model(inputs), again(inputs))
    assert type(again.layers[-1]) is Convolution
