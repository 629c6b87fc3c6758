from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr.training.optimizer import LARS

Array = Any


def papers_step(
    weight: Array, gradient: Array, velocity: Array, *, rate: float, momentum: float, decay: float, trust: float
) -> tuple[Array, Array]:
    """One step of LARS for one variable, from the paper's algorithm 1 with SimCLR's exclusions; returns w and v."""
    local_rate = 1.0
    if weight.ndim > 1:
        gradient = gradient + decay * weight
        weight_norm, gradient_norm = np.linalg.norm(weight), np.linalg.norm(gradient)
        if weight_norm > 0 and gradient_norm > 0:
            local_rate = trust * weight_norm / gradient_norm
    velocity = momentum * velocity + rate * local_rate * gradient
    return weight - velocity, velocity


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_some_steps_equal_the_papers_algorithm(decay: float, momentum: float) -> None:
    random = np.random.default_rng(0)
    shapes = [(3, 3, 2, 4), (4,), (5, 6), ()]
    weights = [random.normal(size=shape) for shape in shapes]
    velocities = [np.zeros(shape) for shape in shapes]
    variables = [keras.Variable(weight.astype("float32")) for weight in weights]
    optimizer = LARS(keras.optimizers.schedules.CosineDecay(0.5, 10), momentum, decay, trust_coefficient=0.02)
    for step in range(5):
        gradients = [random.normal(size=shape) for shape in shapes]
        rate = 0.25 * (1 + np.cos(np.pi * step / 10))
        optimizer.apply([tf.constant(gradient, tf.float32) for gradient in gradients], variables)
        for index, gradient in enumerate(gradients):
            weights[index], velocities[index] = papers_step(
                weights[index], gradient, velocities[index], rate=rate, momentum=momentum, decay=decay, trust=0.02
            )
    for variable, weight in zip(variables, weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 2.0), (3.0, 0.0), (0.0, 0.0)])
def test_the_trust_ratio_is_one_where_a_norm_is_zero(weight: float, gradient: float) -> None:
    variable = keras.Variable(np.full((2, 2), weight, "float32"))
    LARS(0.5, trust_coefficient=0.001).apply([tf.fill((2, 2), gradient)], [variable])
    np.testing.assert_allclose(variable.numpy(), weight - 0.5 * gradient)


def test_the_step_of_a_kernel_does_not_depend_on_the_length_of_its_gradient() -> None:
    gradient = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    moved = []
    for scale in (1.0, 1000.0):
        variable = keras.Variable(np.ones((3, 4), "float32"))
        LARS(0.1).apply([tf.constant(gradient * scale)], [variable])
        moved.append(variable.numpy())
    np.testing.assert_allclose(*moved, rtol=1e-6)


def model() -> Any:
    """A small regression, the same each time."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
    random = np.random.default_rng(0)
    network.set_weights([random.normal(size=weight.shape) for weight in network.weights])
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=2)
    network.compile(LARS(schedule, weight_decay=0.01, trust_coefficient=0.1), "mse")
    return network


def train(network: Any, steps: range) -> None:
    for step in steps:
        random = np.random.default_rng(step)
        network.train_on_batch(random.normal(size=(16, 4)), random.normal(size=(16, 1)))


def test_a_saved_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    uninterrupted = model()
    train(uninterrupted, range(6))
    stopped = model()
    train(stopped, range(3))
    stopped.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(resumed.optimizer, LARS)
    assert resumed.optimizer.get_config() == stopped.optimizer.get_config()
    train(resumed, range(3, 6))
    for ours, theirs in zip(resumed.get_weights(), uninterrupted.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_its_variables_can_be_carried_to_another_optimizer() -> None:
    first, second = model(), model()
    train(first, range(3))
    second.set_weights(first.get_weights())
    second.optimizer.build(second.trainable_variables)
    for target, source in zip(second.optimizer.variables, first.optimizer.variables, strict=True):
        target.assign(source)
    train(first, range(3, 6))
    train(second, range(3, 6))
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_keeps_one_velocity_per_variable() -> None:
    network = model()
    network.optimizer.build(network.trainable_variables)
    assert len(network.optimizer.momentums) == len(network.trainable_variables)
