from __future__ import annotations

import keras
import numpy as np
import pytest

from simclr.config import HeadConfig
from simclr.foundation.errors import InvalidInput
from simclr.model.head import projection_head

LAYERS = {
    "zero_relu": [("projection", 50)],
    "one_relu": [("dense_1", 256), ("relu_1", 256), ("projection", 50)],
    "two_relu": [("dense_1", 256), ("relu_1", 256), ("dense_2", 128), ("relu_2", 128), ("projection", 50)],
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


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(InvalidInput, match="two_relu"):
        projection_head(HeadConfig("three_relu"), keras.Input((6,)))
