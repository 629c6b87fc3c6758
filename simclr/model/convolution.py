"""A convolution whose kernel's gradient is fast where maps are small: Keras's layer, up to a tenth off a step on a CPU.

oneDNN takes three to six times the forward pass's time for the gradient of a 3x3 kernel once maps are a few pixels
wide and channels many, as in the last stage of a network. There it is a handful of matrix products instead.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

FEWEST_CHANNELS, LARGEST_SIDE = 128, 8
"""Where the products win: kernels of at least so many channels in and out, output maps of at most so many pixels."""

DTYPES = (tf.bfloat16,)
"""In float32 oneDNN's own way is the faster one."""


@keras.saving.register_keras_serializable(package="simclr")
class Convolution(keras.layers.Conv2D):  # type: ignore[misc]
    """``keras.layers.Conv2D``: the same arguments, weights, outputs and gradients, the latter up to rounding.

    The other gradient serves 3x3 kernels without dilation and groups, stride 1 or 2, on small maps of known and even
    (for stride 2) size, channels last, in bfloat16, on a CPU; everything else goes Keras's own way.
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
