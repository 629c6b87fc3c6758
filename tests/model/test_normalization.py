from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr.model.layers import FusedBatchNormalization, statistics_kept

Array = Any
SHAPE = (8, 5, 7, 3)


def maps(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).normal(size=shape) * 2 + 1).astype("float32")


def pair(shape: tuple[int, ...] = SHAPE, **arguments: Any) -> tuple[Any, Any]:
    """Ours and Keras's layer with the same arguments and the same weights, none of which are the initial ones."""
    layers = (FusedBatchNormalization(**arguments), keras.layers.BatchNormalization(**arguments))
    random = np.random.default_rng(1)
    for layer in layers:
        layer.build((None, *shape[1:]))
    weights = [random.uniform(0.5, 2, each.shape) for each in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def outputs_and_gradients(layer: Any, inputs: Array, *, training: bool) -> list[Array]:
    tensor = tf.convert_to_tensor(inputs)
    weights = tf.cast(maps(inputs.shape, seed=2), layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        outputs = layer(tensor, training=training)
        loss = tf.reduce_mean(tf.cast(weights * outputs**2, tf.float32))
    gradients = tape.gradient(loss, [tensor, layer.gamma.value, layer.beta.value])
    return [outputs.numpy(), *(gradient.numpy() for gradient in gradients)]


def assert_same_weights(ours: Any, theirs: Any) -> None:
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [SHAPE, (2, 1, 1, 4), (1, 9, 2, 1), (6, 4)])
def test_outputs_gradients_and_statistics_equal_keras(shape: tuple[int, ...], training: bool) -> None:
    ours, theirs = pair(shape, momentum=0.9, epsilon=1e-5)
    for own, other in zip(
        outputs_and_gradients(ours, maps(shape), training=training),
        outputs_and_gradients(theirs, maps(shape), training=training),
        strict=True,
    ):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-5)
    assert_same_weights(ours, theirs)


def test_moving_statistics_follow_keras_over_many_batches() -> None:
    ours, theirs = pair(momentum=0.7)
    for seed in range(10):
        ours(maps(seed=seed), training=True)
        theirs(maps(seed=seed), training=True)
    assert_same_weights(ours, theirs)


def test_the_moving_variance_is_the_biased_one() -> None:
    layer = FusedBatchNormalization(momentum=0.0)
    layer(maps((2, 1, 2, 3)), training=True)
    np.testing.assert_allclose(layer.moving_variance, maps((2, 1, 2, 3)).var(axis=(0, 1, 2)), rtol=1e-5)


def test_inference_leaves_the_statistics_as_they_are() -> None:
    ours, _ = pair()
    before = ours.get_weights()
    ours(maps(), training=False)
    for old, new in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_one_value_per_channel_does_not_poison_the_statistics() -> None:
    ours, theirs = pair((1, 1, 1, 3))
    ours(maps((1, 1, 1, 3)), training=True)
    theirs(maps((1, 1, 1, 3)), training=True)
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_is_finite_and_close_in_training(policy: str) -> None:
    half = FusedBatchNormalization(dtype=policy)
    full = FusedBatchNormalization()
    half.build((None, *SHAPE[1:]))
    full.build((None, *SHAPE[1:]))
    inputs = tf.cast(maps(), half.compute_dtype)
    found = outputs_and_gradients(half, inputs, training=True)
    expected = outputs_and_gradients(full, tf.cast(inputs, tf.float32), training=True)
    assert found[0].dtype == half.compute_dtype
    for own, other in zip(found, expected, strict=True):
        assert np.isfinite(own.astype("float32")).all()
        np.testing.assert_allclose(own.astype("float32"), other, rtol=0.02, atol=0.02)


def test_statistics_stay_in_float32_beside_half_precision_maps() -> None:
    layer = FusedBatchNormalization(dtype="mixed_bfloat16", momentum=0.0)
    layer(maps(), training=True)
    rounded = tf.cast(tf.cast(maps(), tf.bfloat16), tf.float32).numpy()
    assert layer.moving_mean.dtype == "float32"
    np.testing.assert_allclose(layer.moving_mean, rounded.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_a_frozen_layer_runs_in_inference_mode() -> None:
    ours, theirs = pair()
    ours.trainable = theirs.trainable = False
    before = ours.get_weights()
    for training in (True, False):
        np.testing.assert_allclose(
            ours(maps(), training=training), theirs(maps(), training=training), rtol=1e-5, atol=1e-5
        )
    for old, new in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((6, 5, 4), {}),
        ((2, 3, 4, 5, 2), {}),
        (SHAPE, {"axis": 1}),
        (SHAPE, {"axis": 3}),
        (SHAPE, {"synchronized": True}),
        (SHAPE, {"dtype": "float64"}),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_the_kernel_does_not_do_is_done_as_keras_does_it(
    shape: tuple[int, ...], arguments: dict[str, Any], training: bool
) -> None:
    ours, theirs = pair(shape, **arguments)
    np.testing.assert_allclose(
        ours(maps(shape), training=training), theirs(maps(shape), training=training), rtol=1e-5, atol=1e-5
    )
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("arguments", [{"scale": False}, {"center": False}, {"axis": 1}], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_rows_and_norms_without_scale_or_shift_equal_keras(arguments: dict[str, Any], training: bool) -> None:
    for shape in ((6, 4), *([] if "axis" in arguments else [SHAPE])):
        ours, theirs = pair(shape, **arguments)
        np.testing.assert_allclose(
            ours(maps(shape), training=training), theirs(maps(shape), training=training), rtol=1e-5, atol=1e-5
        )
        assert_same_weights(ours, theirs)


@pytest.mark.parametrize("shape", [(6, 4), SHAPE])
def test_statistics_can_be_kept(shape: tuple[int, ...]) -> None:
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, FusedBatchNormalization(momentum=0.5, center=False)(inputs))
    before = model.get_weights()
    with statistics_kept(model):
        model(maps(shape), training=True)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_masked_positions_stay_out_of_the_statistics() -> None:
    ours, theirs = pair()
    mask = np.random.default_rng(3).random(SHAPE[:3]) < 0.5
    np.testing.assert_allclose(
        ours(maps(), training=True, mask=mask), theirs(maps(), training=True, mask=mask), rtol=1e-5, atol=1e-5
    )
    assert_same_weights(ours, theirs)


def test_a_saved_model_comes_back_with_its_statistics(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, FusedBatchNormalization(momentum=0.5, epsilon=1e-5, name="norm")(inputs))
    model(maps(), training=True)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert type(restored.get_layer("norm")) is FusedBatchNormalization
    assert restored.get_layer("norm").get_config() == model.get_layer("norm").get_config()
    np.testing.assert_array_equal(restored(maps(seed=5)), model(maps(seed=5)))


def test_a_compiled_training_step_updates_the_statistics_once() -> None:
    ours, theirs = pair(momentum=0.5)
    tf.function(ours)(maps(), training=True)
    theirs(maps(), training=True)
    assert_same_weights(ours, theirs)
