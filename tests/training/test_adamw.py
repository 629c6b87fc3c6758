"""The fused AdamW against Keras's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr.training.optimizer import FusedAdamW


def trained(kind: type, steps: int = 5, **arguments) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    variables = [keras.Variable(generator.standard_normal(shape), dtype="float32") for shape in [(4, 3), (3,)]]
    rate = keras.optimizers.schedules.CosineDecay(0.01, 10)
    optimizer = kind(rate, weight_decay=0.1, **arguments)
    optimizer.build(variables)

    @tf.function
    def step(gradients: list[tf.Tensor]) -> None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    for _ in range(steps):
        step([tf.constant(generator.standard_normal(each.shape), tf.float32) for each in variables])
    return [each.numpy() for each in [*variables, *optimizer.variables]]


@pytest.mark.parametrize("arguments", [{}, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}, {"amsgrad": True}])
def test_it_is_keras_adamw_in_weights_and_state(arguments):
    for ours, theirs in zip(
        trained(FusedAdamW, **arguments), trained(keras.optimizers.AdamW, **arguments), strict=True
    ):
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_it_is_saved_and_restored_by_name():
    optimizer = FusedAdamW(0.02, weight_decay=0.1)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, FusedAdamW)
    assert float(again.learning_rate) == pytest.approx(0.02)
