"""What a frozen network makes of images: features at its layers, and of pairs of views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr.config import AugmentConfig
from simclr.config.cell import View
from simclr.data import AnySplit, Chunk
from simclr.data.labels import Positions
from simclr.evaluation.judgement import Features
from simclr.evaluation.representation import distances
from simclr.model import network as networks
from simclr.training.augment import line_order, random_views, still_view
from simclr.training.runtime import compiles

BATCH = 128


class Eye:
    """What a model makes of images in inference mode, seen in one way; as it is then, also after further training."""

    def __init__(self, model: Any, view: View) -> None:
        """Look through ``model``.

        Args:
            model: from images (B, H, W, C) to a dictionary, name to (B, D) float32.
            view: how it looks at an image; of an image and its mirror image it gives the mean.
        """
        self._compiled = compiles()

        @tf.function(reduce_retracing=True, jit_compile=self._compiled or None)
        def look(lines: tf.Tensor, aspect: tf.Tensor) -> dict[str, tf.Tensor]:
            views = still_view(lines, aspect, view.size, view.centre)
            features = model(views, training=False)
            if view.mirror:
                mirrored = model(tf.reverse(views, [2]), training=False)
                features = {name: (features[name] + mirrored[name]) / 2 for name in features}
            return features

        self._look = look

    def __call__(self, split: AnySplit, positions: Positions | None = None) -> dict[str, Features]:
        """Features (n, D) of a split's images, or of those at some positions, by name."""
        parts: dict[str, list[Features]] = {}
        for some in self.at_a_time(split, positions):
            for name, features in some.items():
                parts.setdefault(name, []).append(features)
        return {name: np.concatenate(some) for name, some in parts.items()}

    def at_a_time(self, split: AnySplit, positions: Positions | None = None) -> Iterator[dict[str, Features]]:
        """The same, :data:`BATCH` images at a time, in their order."""
        for chunk in split.chunks(BATCH, positions):
            yield self.at(chunk)

    def at(self, chunk: Chunk) -> dict[str, Features]:
        """Features (n, D) of a few images, at most :data:`BATCH`, by name."""
        pixels, aspect = filled(chunk) if self._compiled else chunk
        found = self._look(line_order(pixels), tf.constant(aspect))
        return {name: features.numpy()[: len(chunk[1])] for name, features in found.items()}


def filled(chunk: Chunk) -> Chunk:
    """Images (n, ..) with their last one repeated up to a whole batch: one compiled function then serves them all."""
    missing = BATCH - len(chunk[1])
    pixels, aspect = (np.concatenate([each, np.repeat(each[-1:], missing, axis=0)]) for each in chunk)
    return pixels, aspect


def alignments(
    network: Any, layers: Sequence[str], split: AnySplit, augment: AugmentConfig, size: int, seed: int
) -> dict[str, float]:
    """How far apart each layer puts two augmented views of an image, the mean of :func:`.distances` over a split."""
    model, compiled = networks.representations(network, layers), compiles()

    def look(lines: tf.Tensor, aspect: tf.Tensor, drawn_by: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        return model(random_views(augment, lines, aspect, size, drawn_by, step), training=False)

    if compiled:
        look = tf.function(look, jit_compile=True)
    # No constant of what is compiled: one seed's serves them all.
    drawn_by = tf.constant(seed, tf.int64)
    apart: dict[str, list[NDArray[np.float64]]] = {name: [] for name in layers}
    for number, chunk in enumerate(split.chunks(BATCH)):
        pixels, aspect = filled(chunk) if compiled else chunk
        step = tf.constant(number * BATCH, tf.int64)
        for name, features in look(line_order(pixels), tf.constant(aspect), drawn_by, step).items():
            first, second = features.numpy().reshape(2, len(aspect), -1)[:, : len(chunk[1])]
            apart[name].append(distances(first, second))
    return {name: float(np.mean(np.concatenate(parts))) for name, parts in apart.items()}


def example_views(split: AnySplit, augment: AugmentConfig, size: int, seed: int, count: int = 8) -> NDArray[np.uint8]:
    """Pairs of views of the first few images, as the network sees them in training: (M, 2, size, size, C) uint8."""
    count = min(count, len(split.labels))
    pixels, aspect = split.at(np.arange(count))
    views = random_views(augment, line_order(pixels), tf.constant(aspect), size, seed, tf.constant(0, tf.int64)).numpy()
    pairs = np.clip(views, 0, 1).reshape(2, count, size, size, -1).swapaxes(0, 1)
    return np.rint(pairs * 255).astype(np.uint8)
