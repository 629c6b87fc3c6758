"""Softmax regression on any number of images: L-BFGS over sums that are added up a few images at a time.

The objective is scikit-learn's, ``sum of losses + |kernel|^2 / (2 C)``, and so is its minimum; what differs is that
loss and gradient are computed in chunks, by TensorFlow on its device, in float32, and added up in float64, and that
steps are taken along the features' principal directions, scaled by their curvature: features of a network repeat each
other, and a search along them as they are takes many times as many looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr.data.labels import Labels, Positions
from simclr.evaluation.judgement import Features
from simclr.evaluation.rows import Rows, Taken
from simclr.training.runtime import exact_float32

NUMBERS = 1 << 23
"""Features and logits of a chunk together, 32 MB of each kind that a step makes of them."""
GRADIENT = 1e-4
"""Largest part of the mean loss's gradient at which a minimum counts as found, as scikit-learn has it."""
KEPT = 1 << 27
"""Features that are kept standardised during a fit, half a gigabyte; of more they are made anew for each step."""
ITERATIONS = 1000


@dataclass(frozen=True, eq=False)
class Standard:
    """What standardises features: (x - ``mean``) * ``scale``, both (D,) float64."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


@dataclass(eq=False)
class Weights:
    """Logits of standardised features (n, D) are features @ ``kernel`` (D, C) + ``bias`` (C,)."""

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]


class Softmax:
    """The images that a classifier is fitted to, and the fit."""

    def __init__(self, features: Rows, labels: Labels) -> None:
        """Keep what is needed; nothing is copied.

        Args:
            features: (N, D), as they are; may be mapped from disk.
            labels: (N,), from 0 to C - 1.
        """
        self._features, self._labels, self._classes = features, labels, int(labels.max()) + 1
        self.standard = standard_of(features)
        self._at_once = max(1, NUMBERS // (features.shape[1] + 3 * self._classes))
        self._sums = _sums(self._classes)

    def fit(self, strength: float, start: Weights | None = None, places: Positions | None = None) -> Weights:
        """The weights of least loss, from those of another strength on.

        Args:
            strength: C of the objective.
            start: where to begin; None for zero.
            places: of the images to fit to; None for all.
        """
        from scipy.optimize import minimize

        width, count = self._features.shape[1], len(self._labels if places is None else places)
        shape, split = (width, self._classes), width * self._classes
        axes, spread = self._directions
        # Curvature where all chances are alike: in steps by its square root every direction is as steep as the others.
        alike = (1 - 1 / self._classes) / self._classes
        along, of_bias = 1 / np.sqrt(alike * spread + 1 / (strength * count))[:, None], 1 / np.sqrt(alike)
        kept = list(self._chunks(places)) if count * width <= KEPT else None
        steepest = np.inf

        def weights(flat: NDArray[np.float64]) -> Weights:
            return Weights(axes @ (along * flat[:split].reshape(shape)), of_bias * flat[split:])

        def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            nonlocal steepest
            now, loss, by_kernel, by_bias = weights(flat), 0.0, np.zeros(shape), np.zeros(self._classes)
            for features, labels, known in kept or self._chunks(places):
                sums = self._sums(features, labels, known, *map(_float32, (now.kernel, now.bias)))
                loss += float(sums[0])
                by_kernel += sums[1].numpy()
                by_bias += sums[2].numpy()
            by_kernel = (by_kernel + now.kernel / strength) / count
            by_bias /= count
            loss += 0.5 / strength * float((now.kernel**2).sum())
            steepest = max(np.abs(by_kernel).max(), np.abs(by_bias).max())
            return loss / count, np.concatenate([(along * (axes.T @ by_kernel)).ravel(), of_bias * by_bias])

        def enough(_: NDArray[np.float64]) -> None:
            if steepest < GRADIENT:
                raise StopIteration

        begun = np.zeros(split + self._classes)
        if start is not None:
            begun = np.concatenate([(axes.T @ start.kernel / along).ravel(), start.bias / of_bias])
        options = {"maxiter": ITERATIONS, "gtol": 0.0, "ftol": 64 * np.finfo(np.float32).eps ** 2}
        with exact_float32():
            found = minimize(objective, begun, jac=True, method="L-BFGS-B", options=options, callback=enough).x
        return weights(found)

    @cached_property
    def _directions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The principal directions (D, D) of the standardised features, and their mean squares along each (D,)."""
        products = np.zeros((self._features.shape[1],) * 2)
        with exact_float32():
            for features, _, known in self._chunks(None):
                some = features * known[:, None]
                products += tf.matmul(some, some, transpose_a=True).numpy()
        spread, axes = np.linalg.eigh(products / len(self._labels))
        return axes, np.maximum(spread, 0)

    def logits(self, weights: Weights, features: Rows) -> Iterator[NDArray[np.float32]]:
        """What weights make of any features (n, D), a few images at a time, in their order: (b, C)."""
        kernel = _float32(weights.kernel * self.standard.scale[:, None])
        bias = _float32(weights.bias - (self.standard.mean * self.standard.scale) @ weights.kernel)
        for part in _parts(features, max(1, NUMBERS // (features.shape[1] + self._classes))):
            with exact_float32():
                found = tf.matmul(tf.constant(part), kernel) + bias
            yield found.numpy()

    def _chunks(self, places: Positions | None) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Standardised features, labels and which of them count, all of one length: the last chunk is filled up."""
        features = self._features if places is None else Taken(self._features, places)
        labels = self._labels if places is None else self._labels[places]
        mean, scale = _float32(self.standard.mean), _float32(self.standard.scale)
        for number, part in enumerate(_parts(features, self._at_once)):
            missing = self._at_once - len(part) if len(self._labels) > self._at_once else 0
            filled = np.pad(part, [(0, missing), (0, 0)]) if missing else part
            here = np.pad(labels[number * self._at_once :][: len(part)], (0, missing))
            known = np.arange(len(here)) < len(part)
            yield (tf.constant(filled) - mean) * scale, tf.constant(here, tf.int32), tf.constant(known, tf.float32)


def standard_of(features: Rows) -> Standard:
    """The mean and spread of features (N, D), a few images at a time; a constant feature becomes zero."""
    at_once = max(1, NUMBERS // features.shape[1])
    mean = sum(part.sum(axis=0, dtype=float) for part in _parts(features, at_once)) / len(features)
    squares = sum(((part - mean) ** 2).sum(axis=0) for part in _parts(features, at_once)) / len(features)
    spread = np.sqrt(squares)
    return Standard(np.asarray(mean), np.where(spread > 1e-7, 1 / np.maximum(spread, 1e-7), 0.0))


def _parts(features: Rows, at_once: int) -> Iterator[Features]:
    """A few of the features (n, D) at a time."""
    for start in range(0, len(features), at_once):
        yield np.asarray(features[start : start + at_once], np.float32)


def _sums(classes: int) -> Any:
    @tf.function(reduce_retracing=True)
    def sums(features: tf.Tensor, labels: tf.Tensor, known: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
        """The sum of the losses, and its gradient by kernel and bias."""
        chances = tf.nn.log_softmax(tf.matmul(features, kernel) + bias)
        losses = -tf.gather(chances, labels, batch_dims=1) * known
        rest = (tf.exp(chances) - tf.one_hot(labels, classes)) * known[:, None]
        of_bias = tf.reduce_sum(tf.cast(rest, tf.float64), axis=0)
        return tf.reduce_sum(tf.cast(losses, tf.float64)), tf.matmul(features, rest, transpose_a=True), of_bias

    return sums


def _float32(numbers: NDArray[np.float64]) -> tf.Tensor:
    return tf.constant(numbers, tf.float32)
