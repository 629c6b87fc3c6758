"""Keras's layers, with the same arguments, weights and outputs, on kernels that are faster or repeat their bits.

Batch norm as one kernel takes a fifth to a third off a training step on a CPU, the convolution up to a tenth; max
pooling has the same bits every time on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

# Where the convolution's own gradient wins: kernels of at least so many channels in and out, output maps of at most so
# many pixels to a side, and these types. (In float32 oneDNN's own way is the faster one.)
FEWEST_CHANNELS, LARGEST_SIDE, DTYPES = 128, 8, (tf.bfloat16,)


@keras.saving.register_keras_serializable(package="simclr")
class Convolution(keras.layers.Conv2D):  # type: ignore[misc]
    """``keras.layers.Conv2D`` with a kernel's gradient that is fast where maps are small; the same up to rounding.

    oneDNN takes three to six times the forward pass's time for the gradient of a 3x3 kernel once maps are a few pixels
    wide and channels many, as in the last stage of a network. There it is a handful of matrix products instead.

    That serves 3x3 kernels without dilation and groups, stride 1 or 2, on small maps of known and even (for stride 2)
    size, channels last, in bfloat16, on a CPU; everything else goes Keras's own way.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """(B, H, W, c) convolved with (3, 3, c, C) to (B, H / stride, W / stride, C)."""
        if not self._fits(inputs):
            return super().convolution_op(inputs, kernel)
        return _small_maps(inputs, tf.convert_to_tensor(kernel), self.strides[0])

    def _fits(self, inputs: Any) -> bool:
        _, height, width, channels = inputs.shape
        stride = self.strides[0]
        return (
            self.kernel_size == (3, 3)
            and self.strides in ((1, 1), (2, 2))
            and self.padding == "same"
            and self.dilation_rate in (1, (1, 1))
            and self.groups == 1
            and self.data_format == "channels_last"
            and height is not None
            and height == width
            and height % stride == 0
            and height // stride <= LARGEST_SIDE
            and min(channels, self.filters) >= FEWEST_CHANNELS
            and tf.as_dtype(inputs.dtype) in DTYPES
            and not tf.config.list_logical_devices("GPU")
        )


def _small_maps(inputs: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            steps = [1, stride, stride, 1]
            to_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, strides=steps, padding="SAME"
            )
            with tf.name_scope("kernel_gradient"):  # to be told from other products in a profile
                return to_inputs, kernel_gradient(inputs, upstream, stride)

        return tf.nn.conv2d(inputs, kernel, stride, "SAME"), gradients

    return convolve(inputs, kernel)


def kernel_gradient(inputs: tf.Tensor, upstream: tf.Tensor, stride: int) -> tf.Tensor:
    """The gradient (3, 3, c, C) of a 3x3 kernel, with "same" padding, as one matrix product per tap.

    With stride 2 the four pixels under an output pixel are put side by side as channels, and the 3x3 kernel is three
    quarters of a 4x4 one, which is a 2x2 one there.

    Args:
        inputs: (B, stride * S, stride * S, c).
        upstream: (B, S, S, C), the gradient with respect to the convolution's output.
        stride: 1 or 2.
    """
    side, filters = upstream.shape[1], upstream.shape[3]
    channels = inputs.shape[3]
    flat = tf.reshape(upstream, (-1, filters))
    if stride == 1:
        return tf.reshape(_taps(tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]]), flat, side, 3), (3, 3, channels, -1))
    paired = tf.nn.space_to_depth(tf.pad(inputs, [[0, 0], [0, 2], [0, 2], [0, 0]]), 2)
    taps = tf.reshape(_taps(paired, flat, side, 2), (2, 2, 2, 2, channels, filters))
    return tf.reshape(tf.transpose(taps, (0, 2, 1, 3, 4, 5)), (4, 4, channels, filters))[:3, :3]


def _taps(padded: tf.Tensor, upstream: tf.Tensor, side: int, size: int) -> tf.Tensor:
    """For each tap of a kernel of ``size`` its inputs times ``upstream``: (size^2, c, C)."""
    channels = padded.shape[3]
    return tf.stack(
        [
            tf.matmul(
                tf.reshape(padded[:, row : row + side, column : column + side], (-1, channels)),
                upstream,
                transpose_a=True,
            )
            for row in range(size)
            for column in range(size)
        ]
    )


@keras.saving.register_keras_serializable(package="simclr")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """``keras.layers.BatchNormalization`` (Ioffe & Szegedy, arXiv 1502.03167) on TensorFlow's fused kernel.

    Keras 3 computes moments, scaling and shifting as separate operations, each a pass over the feature maps in
    float32. The kernel does it in one call, reads and writes maps in float32, bfloat16 or float16, and keeps the
    statistics in float32. Arguments, weights, configuration, outputs, gradients and moving statistics are Keras's.

    It serves channels-last maps of rank 4, and rows (B, D) as maps of one pixel. Anything else goes Keras's own way:
    another rank or axis, a mask, renormalisation, double precision, and a layer that is frozen (``trainable = False``)
    inside a network in training, whose gradient has no deterministic kernel on a GPU.
    """

    tracks = True
    """Whether moving statistics follow the batches; see :func:`statistics_kept`."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (B, H, W, C) or (B, D); with batch statistics in training, with the moving ones otherwise."""
        frozen_in_training = training and not self.trainable
        if frozen_in_training or mask is not None or not self._fits(inputs):
            return super().call(inputs, training=training, mask=mask)
        if len(inputs.shape) == 2:
            return self._of_maps(inputs[:, None, None], training=training)[:, 0, 0]
        return self._of_maps(inputs, training=training)

    def _of_maps(self, inputs: Any, *, training: bool | None) -> tf.Tensor:
        """``inputs``, (B, H, W, C), normalised by the kernel."""
        scale = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones_like(self.moving_mean, tf.float32)
        offset = tf.cast(self.beta, tf.float32) if self.center else tf.zeros_like(self.moving_mean, tf.float32)
        moving_mean, moving_variance = tf.cast(self.moving_mean, tf.float32), tf.cast(self.moving_variance, tf.float32)
        if not training:
            outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
                inputs, scale, offset, moving_mean, moving_variance, epsilon=self.epsilon, is_training=False
            )
            return tf.cast(outputs, self.compute_dtype)
        if self.synchronized and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            outputs, mean, variance = self._over_replicas(inputs, scale, offset, moving_mean)
        else:
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(inputs, scale, offset, epsilon=self.epsilon)
            if self.tracks:
                # The kernel hands out the sample variance, sum / (n - 1); Keras averages the biased one, sum / n.
                count = tf.cast(tf.reduce_prod(tf.shape(inputs, out_type=tf.int64)[:3]), tf.float32)
                variance *= (count - 1) / count
        if self.tracks:
            self.moving_mean.assign(moving_mean * self.momentum + mean * (1 - self.momentum))
            self.moving_variance.assign(moving_variance * self.momentum + variance * (1 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)

    def _over_replicas(
        self, inputs: Any, scale: tf.Tensor, offset: tf.Tensor, moving_mean: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Outputs, and the mean and variance of the maps of all replicas, whose shares are of one size.

        The kernel normalises by this replica's own mean m and variance v; those of all, M and V, come in through its
        scale and offset, since with s = sqrt(v + epsilon), S = sqrt(V + epsilon)::

            scale (x - M) / S + offset = [scale s / S] (x - m) / s + [offset + scale (m - M) / S]

        The gradient, through the kernel and through m, v, M and V, follows by itself.
        """
        mean, variance = tf.nn.moments(tf.cast(inputs, tf.float32), (0, 1, 2))
        # V is the mean of v + (m - M)^2 = v + (m - c)^2 - (M - c)^2 for any c; one near M keeps small variances exact.
        centred = mean - moving_mean
        summed = tf.distribute.get_replica_context().all_reduce(
            "MEAN", tf.stack([centred, variance + tf.square(centred)])
        )
        all_mean, all_variance = moving_mean + summed[0], tf.nn.relu(summed[1] - tf.square(summed[0]))
        inverse = scale * tf.math.rsqrt(all_variance + self.epsilon)
        outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            inverse * tf.sqrt(variance + self.epsilon),
            offset + inverse * (mean - all_mean),
            epsilon=self.epsilon,
        )
        return outputs, all_mean, all_variance

    def _fits(self, inputs: Any) -> bool:
        return (
            len(inputs.shape) in (2, 4)
            and self.axis in (-1, len(inputs.shape) - 1)
            and not getattr(self, "renorm", False)
            and inputs.dtype in (tf.float32, tf.bfloat16, tf.float16)
        )


@keras.saving.register_keras_serializable(package="simclr")
class MaxPooling(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """``keras.layers.MaxPooling2D`` with a gradient that needs no scatter: the same bits every time, and fast.

    The gradient of max pooling gives each window's share to the window's largest value. XLA does that with a scatter,
    whose sums come in any order; under its flags for the same bits it becomes a loop over every element, hours of a
    ResNet-50's step. Here each of a window's few positions is a strided slice, and its share comes back as the gradient
    of that.

    That serves channels-last maps on a GPU; everything else goes Keras's own way.
    """

    def call(self, inputs: Any) -> Any:
        """(B, H, W, C) to (B, h, w, C)."""
        if self.data_format != "channels_last" or not tf.config.list_logical_devices("GPU"):
            return super().call(inputs)
        return max_pool(inputs, self.pool_size, self.strides, self.padding)


def max_pool(inputs: tf.Tensor, size: tuple[int, int], strides: tuple[int, int], padding: str) -> tf.Tensor:
    """The largest value of each window, with a gradient that goes to the first of the largest, row by row.

    Args:
        inputs: (B, H, W, C) of a float type.
        size: of a window.
        strides: between windows.
        padding: ``valid`` or ``same``, without regard to case.
    """

    @tf.custom_gradient
    def pool(inputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
        outputs = tf.nn.max_pool2d(inputs, size, strides, padding.upper())
        return outputs, lambda upstream: _max_pool_gradient(inputs, outputs, upstream, size, strides)

    return pool(inputs)


def _max_pool_gradient(
    inputs: tf.Tensor, outputs: tf.Tensor, upstream: tf.Tensor, size: tuple[int, int], strides: tuple[int, int]
) -> tf.Tensor:
    # Windows may reach over the edges, by half of what is missing before, as TensorFlow's "same" has it.
    missing = [
        max(0, (outputs.shape[axis] - 1) * stride + length - inputs.shape[axis])
        for axis, length, stride in zip((1, 2), size, strides, strict=True)
    ]
    (top, left), (height, width) = (each // 2 for each in missing), inputs.shape[1:3]
    edges = [[0, 0], [top, missing[0] - top], [left, missing[1] - left], [0, 0]]
    padded = tf.pad(inputs, edges, constant_values=inputs.dtype.min)
    spans = [(outputs.shape[axis] - 1) * stride + 1 for axis, stride in zip((1, 2), strides, strict=True)]
    total, given = tf.zeros_like(padded), tf.zeros_like(outputs, tf.bool)
    for row in range(size[0]):
        for column in range(size[1]):
            place = {
                "begin": [0, row, column, 0],
                "end": [0, row + spans[0], column + spans[1], 0],
                "strides": [1, *strides, 1],
                "begin_mask": 0b1001,
                "end_mask": 0b1001,
            }
            largest = tf.equal(tf.raw_ops.StridedSlice(input=padded, **place), outputs) & ~given
            given |= largest
            share = tf.where(largest, upstream, tf.zeros_like(upstream))
            total += tf.raw_ops.StridedSliceGrad(shape=tf.shape(padded), dy=share, **place)
    return total[:, top : top + height, left : left + width]


def synchronise(model: Any) -> None:
    """Let every batch norm of a network take its statistics from the whole batch, wherever its parts are."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@contextmanager
def statistics_kept(model: Any) -> Iterator[None]:
    """Let a network see batches in training mode, or be traced so, without moving its statistics."""
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, FusedBatchNormalization)]
    for norm in norms:
        norm.tracks = False
    try:
        yield
    finally:
        for norm in norms:
            norm.tracks = True
