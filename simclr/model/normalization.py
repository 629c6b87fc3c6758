"""Batch normalisation as one kernel: Keras's layer, and a fifth to a third off a training step on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


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


def synchronise(model: Any) -> None:
    """Let every batch norm of a network take its statistics from the whole batch, wherever its parts are."""
    for layer in every_layer(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@contextmanager
def statistics_kept(model: Any) -> Iterator[None]:
    """Let a network see batches in training mode, or be traced so, without moving its statistics."""
    norms = [layer for layer in every_layer(model) if isinstance(layer, FusedBatchNormalization)]
    for norm in norms:
        norm.tracks = False
    try:
        yield
    finally:
        for norm in norms:
            norm.tracks = True


def every_layer(model: Any) -> Iterator[Any]:
    """The layers of a network, with those of the networks that are layers of it in their place."""
    for layer in model.layers:
        yield from every_layer(layer) if isinstance(layer, keras.Model) else (layer,)
