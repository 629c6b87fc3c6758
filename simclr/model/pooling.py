"""Max pooling whose gradient needs no scatter: Keras's layer, on a GPU with the same bits every time and fast.

The gradient of max pooling gives each window's share to the window's largest value. XLA does that with a scatter, whose
sums come in any order; under its flags for the same bits it becomes a loop over every element, hours of a ResNet-50's
step. Here each of a window's few positions is a strided slice, and its share comes back as the gradient of that.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="simclr")
class MaxPooling(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """``keras.layers.MaxPooling2D``: the same arguments, outputs and gradients.

    The other gradient serves channels-last maps on a GPU; everything else goes Keras's own way.
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
        return outputs, lambda upstream: _gradient(inputs, outputs, upstream, size, strides)

    return pool(inputs)


def _gradient(
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
