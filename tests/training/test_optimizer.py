from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from simclr.config import Config, Decides, OptimizerConfig, decisive
from simclr.foundation.errors import InvalidInput
from simclr.model.layers import FusedBatchNormalization
from simclr.training.optimizer import LARS, FusedAdamW, build_optimizer, learning_rate_schedule


def rates(config: OptimizerConfig, at: list[int], steps: int = 1000, batch_size: int = 256) -> list[float]:
    schedule = learning_rate_schedule(config, steps=steps, steps_per_epoch=100, batch_size=batch_size)
    return [float(schedule(step)) for step in at]


def test_the_documents_schedule_is_keras_cosine_decay() -> None:
    config = OptimizerConfig("sgd", learning_rate=0.1, decay_steps=1000)
    theirs = keras.optimizers.schedules.CosineDecay(0.1, 1000)
    steps = [0, 1, 250, 500, 999, 1000, 5000]
    assert rates(config, steps, steps=6200, batch_size=64) == [float(theirs(step)) for step in steps]


def test_the_cosine_takes_the_whole_run_where_nothing_else_is_said() -> None:
    config = OptimizerConfig("adamw", learning_rate=2.0)
    assert rates(config, [0, 500, 1000]) == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)


def test_a_warm_up_rises_from_zero_and_the_decay_takes_what_is_left() -> None:
    config = OptimizerConfig("adamw", learning_rate=2.0, warmup_epochs=2)
    assert rates(config, [0, 100, 200, 600, 1000]) == pytest.approx([0.0, 1.0, 2.0, 1.0, 0.0], abs=1e-6)


def test_a_warm_up_may_last_a_part_of_an_epoch() -> None:
    config = OptimizerConfig("adamw", learning_rate=1.0, warmup_epochs=0.25)
    assert rates(config, [0, 5, 25]) == pytest.approx([0.0, 0.2, 1.0])


def test_decay_steps_are_counted_after_the_warm_up() -> None:
    config = OptimizerConfig("adamw", learning_rate=1.0, warmup_epochs=1, decay_steps=200)
    assert rates(config, [100, 200, 300, 900]) == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("warmup_epochs", [10, 50])
def test_a_warm_up_as_long_as_the_run_only_rises(warmup_epochs: float) -> None:
    config = OptimizerConfig("adamw", learning_rate=1.0, warmup_epochs=warmup_epochs)
    assert rates(config, [0, 500, 999]) == pytest.approx([0.0, 5 / warmup_epochs, 9.99 / warmup_epochs])


@pytest.mark.parametrize(("warmup_epochs", "first"), [(0, 0.5), (1, 0.0)])
def test_a_constant_rate_stays(warmup_epochs: float, first: float) -> None:
    config = OptimizerConfig("sgd", learning_rate=0.5, schedule="constant", warmup_epochs=warmup_epochs)
    assert rates(config, [0, 100, 700, 999, 5000]) == [first, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(("scaling", "expected"), [("none", 0.3), ("linear", 4.8), ("sqrt", 1.2)])
def test_the_rate_is_scaled_with_the_batch(scaling: str, expected: float) -> None:
    config = OptimizerConfig("lars", learning_rate=0.3, scaling=scaling)
    assert rates(config, [0], batch_size=4096) == pytest.approx([expected])


def test_each_name_is_its_optimizer() -> None:
    built = {
        name: build_optimizer(OptimizerConfig(name, learning_rate=0.1), 10, 5, 32) for name in ("adamw", "sgd", "lars")
    }
    assert {name: type(optimizer) for name, optimizer in built.items()} == {
        "adamw": FusedAdamW,
        "sgd": keras.optimizers.SGD,
        "lars": LARS,
    }


def test_arguments_reach_the_optimizer() -> None:
    lars = build_optimizer(
        OptimizerConfig("lars", learning_rate=0.1, weight_decay=1e-6, momentum=0.8, trust_coefficient=0.02), 10, 5, 32
    )
    assert (lars.momentum, lars.coupled_weight_decay, lars.trust_coefficient) == (0.8, 1e-6, 0.02)
    assert build_optimizer(OptimizerConfig("sgd", learning_rate=0.1, momentum=0), 10, 5, 32).momentum == 0
    assert build_optimizer(OptimizerConfig("adamw", learning_rate=0.1, weight_decay=0.05), 10, 5, 32).weight_decay == (
        0.05
    )


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_only_kernels_decay(name: str) -> None:
    """Without a gradient nothing but the decay moves a weight; the layers' names must not matter."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Conv2D(5, 3, name="beta_convolution"),
            FusedBatchNormalization(name="kernel_norm"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, name="bias"),
        ]
    )
    for weight in model.trainable_variables:
        weight.assign(np.ones(weight.shape))
    config = OptimizerConfig(name, learning_rate=0.1, weight_decay=0.5, schedule="constant", momentum=0.0)
    optimizer = build_optimizer(config, 10, 5, 32)
    optimizer.apply(
        [np.zeros(weight.shape, "float32") for weight in model.trainable_variables], model.trainable_variables
    )
    moved = {weight.path.split("/", 1)[1]: bool(np.any(weight.numpy() != 1)) for weight in model.trainable_variables}
    assert moved == {
        "beta_convolution/kernel": True,
        "beta_convolution/bias": False,
        "kernel_norm/gamma": False,
        "kernel_norm/beta": False,
        "bias/kernel": True,
        "bias/bias": False,
    }


def test_plain_sgd_goes_down_the_gradient_and_nothing_else() -> None:
    variable = keras.Variable(np.full((2, 2), 3.0, "float32"), name="kernel")
    optimizer = build_optimizer(OptimizerConfig("sgd", learning_rate=0.1, momentum=0.0, decay_steps=1000), 5000, 31, 40)
    gradient = np.full((2, 2), 2.0, "float32")
    for _ in range(2):
        optimizer.apply([gradient], [variable])
    second = 0.1 * (1 + np.cos(np.pi / 1000)) / 2
    np.testing.assert_allclose(variable.numpy(), 3 - 2 * (0.1 + second), rtol=1e-6)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="adamw"):
        build_optimizer(OptimizerConfig("adam", learning_rate=0.1), 10, 5, 32)


def restored(optimizer: Any) -> Any:
    return keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_an_optimizer_is_made_again_from_its_configuration(name: str) -> None:
    optimizer = build_optimizer(OptimizerConfig(name, learning_rate=0.1, warmup_epochs=1), 10, 5, 32)
    assert restored(optimizer).get_config() == optimizer.get_config()


def taught(config: OptimizerConfig) -> np.ndarray:
    """A kernel after three steps."""
    kernel = keras.Variable([[1.0, -2.0], [0.5, 3.0]], name="kernel")
    optimizer = build_optimizer(config, steps=6, steps_per_epoch=2, batch_size=32)
    optimizer.build([kernel])
    for _ in range(3):
        optimizer.apply([kernel * 0.3 + 0.1], [kernel])
    return kernel.numpy()


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_a_setting_is_left_out_of_the_key_where_it_changes_no_step_and_only_there(name: str, schedule: str) -> None:
    config = OptimizerConfig(name, learning_rate=0.5, weight_decay=0.1, warmup_epochs=0.5, schedule=schedule)
    key, kernel = decisive(Config(optimizer=config), Decides.WEIGHTS), taught(config)
    for setting, value in {"momentum": 0.3, "trust_coefficient": 0.01, "decay_steps": 3}.items():
        other = replace(config, **{setting: value})
        left_out = decisive(Config(optimizer=other), Decides.WEIGHTS) == key
        assert np.array_equal(taught(other), kernel) is left_out, setting
