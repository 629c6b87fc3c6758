"""A network as a classifier of labelled images, and the views of them that it is trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from simclr.config import AugmentConfig
from simclr.training.augment import random_affine, random_resized_crop
from simclr.training.crop import chances

MOMENTUM = 0.9
"""Of every batch norm's moving statistics: a training of a few dozen steps has to forget those that it began with."""

_DRAWS = 11


class LabelledModel(keras.Model):  # type: ignore[misc]
    """A classifier of images whose training step makes its own views.

    A batch is (step's number, lines (N, S, C, S) uint8, aspects (N,), labels (N,)); ``views`` makes (N, H, W, C) of the
    first three.
    """

    views: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]

    def _maybe_symbolic_build(self, **_: Any) -> None:
        pass  # nothing is left to build, and Keras would take a batch for images and labels

    def train_step(self, batch: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Keras's step on views of the images."""
        *seen, labels = batch
        return super().train_step((self.views(*seen), labels))


def classifier(body: Any, classes: int) -> LabelledModel:
    """A linear classifier on a representation: a model from images (B, H, W, C) to logits (B, classes) float32.

    Features are standardised, by a batch norm without scale and shift (He et al. 2021, arXiv 2111.06377, appendix A.1),
    so that one learning rate suits every layer; the classifier is at zero, undecided.
    """
    for layer in body._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    standard = keras.layers.BatchNormalization(
        momentum=MOMENTUM, epsilon=1e-5, center=False, scale=False, dtype="float32", name="standardised"
    )(body.output)
    logits = keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32", name="classifier")(standard)
    return LabelledModel(body.input, logits, name="fine_tuned")


def labelled_views(
    augment: AugmentConfig,
    lines: tf.Tensor,
    aspect: tf.Tensor,
    size: int,
    seed: int,
    step: tf.Tensor,
    dtype: Any = tf.float32,
) -> tf.Tensor:
    """One view of each image of a batch, a function of (seed, step).

    Args:
        augment: of :func:`simclr.config.cell.labelled_augment`.
        lines: (N, S, C, S) uint8, in line order.
        aspect: (N,) float32, true width / height.
        size: side of a view in pixels.
        seed: of the experiment.
        step: scalar integer.
        dtype: of the views.

    Returns:
        (N, size, size, C) of ``dtype`` in [0, 1].
    """
    draws = iter(tf.unstack(chances(augment, (seed, step), aspect.shape[0], _DRAWS), axis=1))
    views = random_resized_crop(augment, lines, aspect, size, draws, dtype)
    if augment.rotation or augment.scale or augment.shear or augment.shift:
        views = random_affine(augment, views, draws)
    return tf.clip_by_value(tf.transpose(views, (0, 2, 3, 1)), tf.cast(0, dtype), tf.cast(1, dtype))
