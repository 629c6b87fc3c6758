"""Max pooling, and its gradient without a scatter."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simclr.model.layers import MaxPooling, max_pool
from tests.training.test_pretrain import ready

SHAPES = pytest.mark.parametrize(
    ("side", "size", "stride", "padding"),
    [
        (8, 3, 2, "same"),
        (9, 3, 2, "same"),
        (9, 3, 2, "valid"),
        (8, 2, 2, "valid"),
        (7, 3, 1, "same"),
        (10, 2, 3, "valid"),
    ],
)


def maps(side: int, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Half of the values are equal, as after a ReLU: which of them gets a gradient has to be the same one."""
    values = np.random.default_rng(0).standard_normal((2, side, side, 3)).astype(np.float32)
    return tf.cast(np.maximum(values, 0), dtype)


def gradient(pool, inputs: tf.Tensor) -> np.ndarray:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = pool(inputs)
        weights = tf.cast(np.random.default_rng(1).standard_normal(outputs.shape), inputs.dtype)
        total = tf.reduce_sum(outputs * weights)
    return tf.cast(tape.gradient(total, inputs), tf.float32).numpy()


@SHAPES
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16], ids=lambda dtype: dtype.name)
def test_outputs_and_gradients_are_tensorflows(side, size, stride, padding, dtype):
    inputs = maps(side, dtype)
    found = max_pool(inputs, (size, size), (stride, stride), padding)
    expected = tf.nn.max_pool2d(inputs, size, stride, padding.upper())
    np.testing.assert_array_equal(tf.cast(found, tf.float32), tf.cast(expected, tf.float32))
    one = gradient(lambda each: max_pool(each, (size, size), (stride, stride), padding), inputs)
    other = gradient(lambda each: tf.nn.max_pool2d(each, size, stride, padding.upper()), inputs)
    np.testing.assert_allclose(one, other, atol=1e-6 if dtype == tf.float32 else 0.05)


def test_the_gradient_compiles_under_xla_without_a_scatter():
    inputs = maps(8)
    pulled = tf.function(lambda each: tf.gradients(max_pool(each, (3, 3), (2, 2), "same"), each)[0], jit_compile=True)
    assert "scatter" not in pulled.experimental_get_compiler_ir(inputs)(stage="hlo")
    plain = tf.function(lambda each: tf.gradients(tf.nn.max_pool2d(each, 3, 2, "SAME"), each)[0], jit_compile=True)
    assert "scatter" in plain.experimental_get_compiler_ir(inputs)(stage="hlo")


def test_the_layer_is_keras_own_where_there_is_no_gpu():
    layer = MaxPooling(3, strides=2, padding="same")
    np.testing.assert_array_equal(layer(maps(8)), tf.nn.max_pool2d(maps(8), 3, 2, "SAME"))


NETWORKS = {
    "resnet50": ("encoder=resnet50", "augment=documents", "optimizer=sgd"),
    "resnet18": ("encoder=resnet18", "encoder.stem=imagenet", "augment=simclr", "augment.blur=0.5", "optimizer=lars"),
    "small_resnet": ("encoder=small_resnet", "augment=simclr", "augment.local_views=2"),
    "small_cnn": ("augment=affine",),
    "microbatch": ("encoder=small_resnet", "augment=simclr", "pretrain.microbatch=4"),
}
QUICK = ("resnet50", "small_resnet")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_no_operation_of_a_step_scatters(composed, made_up_split, monkeypatch, name):
    """On a GPU that would be a loop over every element, see the module."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["one"])
    config = composed(*NETWORKS[name], "pretrain.batch_size=8", "pretrain.statistics=apart")
    model = ready(config, made_up_split(16, side=32, channels=3), "mixed_bfloat16", size=32)
    step = tf.function(model.train_step, jit_compile=True, autograph=False)
    program = step.experimental_get_compiler_ir((tf.constant(0, tf.int64), tf.range(8)))(stage="hlo")
    assert "scatter" not in program
