from __future__ import annotations

import keras
import numpy as np
import pytest

from simclr.config import HeadConfig
from simclr.foundation.errors import InvalidInput
from simclr.model.head import projection_head
from simclr.model.layers import statistics_kept

LAYERS = {
    "zero_relu": [("projection", 50)],
    "one_relu": [("dense_1", 256), ("relu_1", 256), ("projection", 50)],
    "two_relu": [("dense_1", 256), ("relu_1", 256), ("dense_2", 128), ("relu_2", 128), ("projection", 50)],
}
NORMED = {
    "zero_relu": ["projection", "projection_norm"],
    "one_relu": ["dense_1", "norm_1", "relu_1", "projection", "projection_norm"],
    "two_relu": ["dense_1", "norm_1", "relu_1", "dense_2", "norm_2", "relu_2", "projection", "projection_norm"],
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_head_has_the_layers_of_the_documents(name: str) -> None:
    features = keras.Input((64,))
    model = keras.Model(features, projection_head(HeadConfig(name), features))
    assert [(layer.name, layer.output.shape[-1]) for layer in model.layers[1:]] == LAYERS[name]


def test_no_head_returns_the_features_themselves() -> None:
    features = keras.Input((64,))
    assert projection_head(HeadConfig("none"), features) is features


def test_widths_come_from_the_configuration() -> None:
    features = keras.Input((7,))
    model = keras.Model(features, projection_head(HeadConfig("two_relu", hidden=[5, 4], output=3), features))
    assert [tuple(each.shape) for each in model.trainable_variables] == [(7, 5), (5,), (5, 4), (4,), (4, 3), (3,)]


def test_the_head_is_dense_relu_dense_relu_dense() -> None:
    features = keras.Input((6,))
    model = keras.Model(features, projection_head(HeadConfig("two_relu", hidden=[5, 4], output=3), features))
    random = np.random.default_rng(0)
    w1, b1, w2, b2, w3, b3 = (random.normal(size=each.shape) for each in model.weights)
    model.set_weights([w1, b1, w2, b2, w3, b3])
    inputs = random.normal(size=(8, 6))
    expected = np.maximum(np.maximum(inputs @ w1 + b1, 0) @ w2 + b2, 0) @ w3 + b3
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-4, atol=1e-5)


def test_a_deeper_head_goes_on_in_the_same_way() -> None:
    features = keras.Input((64,))
    model = keras.Model(features, projection_head(HeadConfig("three_relu", hidden=[9, 8, 7], output=6), features))
    assert [(layer.name, layer.output.shape[-1]) for layer in model.layers[1:]] == [
        ("dense_1", 9), ("relu_1", 9), ("dense_2", 8), ("relu_2", 8), ("dense_3", 7), ("relu_3", 7), ("projection", 6),
    ]  # fmt: skip


@pytest.mark.parametrize("name", NORMED)
def test_a_norm_follows_each_dense_layer(name: str) -> None:
    features = keras.Input((64,))
    model = keras.Model(features, projection_head(HeadConfig(name, norm="batch"), features))
    assert [layer.name for layer in model.layers[1:]] == NORMED[name]


def test_no_head_has_no_norm() -> None:
    features = keras.Input((64,))
    assert projection_head(HeadConfig("none", norm="batch"), features) is features


def test_a_normed_head_is_simclrs_own() -> None:
    """Dense without bias, norm with scale and shift, ReLU; dense without bias, norm with scale alone."""
    features = keras.Input((6,))
    config = HeadConfig("one_relu", hidden=[5], output=3, norm="batch", norm_momentum=0.5)
    model = keras.Model(features, projection_head(config, features))
    names = [each.path for each in model.trainable_variables]
    assert names == ["dense_1/kernel", "norm_1/gamma", "norm_1/beta", "projection/kernel", "projection_norm/gamma"]
    random = np.random.default_rng(0)
    w1, gamma1, beta1, w2, gamma2 = drawn = [random.normal(size=each.shape) for each in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, drawn, strict=True):
        variable.assign(value)
    inputs = random.normal(size=(8, 6))

    def standard(rows):
        return (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)

    expected = standard(np.maximum(standard(inputs @ w1) * gamma1 + beta1, 0) @ w2) * gamma2
    np.testing.assert_allclose(model(inputs, training=True), expected, rtol=1e-3, atol=1e-4)
    moving = model.get_layer("norm_1")
    np.testing.assert_allclose(moving.moving_mean, 0.5 * (inputs @ w1).mean(0), rtol=1e-4, atol=1e-5)
    with statistics_kept(model):
        before = model.get_weights()
        model(3 * inputs, training=True)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(InvalidInput, match="two_relu"):
        projection_head(HeadConfig("four_relu"), keras.Input((6,)))
