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
from simclr.evaluation.rows import Rows
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

    def __init__(self, features: Rows, labels: Labels, classes: int, standard: Standard) -> None:
        """Keep what is needed; nothing is copied.

        Args:
            features: (N, D), as they are; may be mapped from disk.
            labels: (N,), from 0 to ``classes`` - 1.
            classes: C.
            standard: how features are standardised.
        """
        self._features, self._labels, self._classes, self._standard = features, labels, classes, standard
        self._at_once = max(1, NUMBERS // (features.shape[1] + 3 * classes))
        self._sums = _sums(classes)

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

    def logits(self, weights: Weights, places: Positions | None = None) -> NDArray[np.float32]:
        """(n, C), of the images at these places or of all."""
        return logits(self._features, weights, self._standard, self._classes, places)

    def _chunks(self, places: Positions | None) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Standardised features, labels and which of them count, all of one length: the last chunk is filled up."""
        for part, here in _parts(self._features, self._at_once, places):
            missing = self._at_once - len(here) if len(self._labels) > self._at_once else 0
            features = np.pad(part, [(0, missing), (0, 0)]) if missing else part
            labels = np.pad(self._labels[here], (0, missing))
            known = np.arange(len(labels)) < len(here)
            standardised = self._standardise(tf.constant(features))
            yield standardised, tf.constant(labels, tf.int32), tf.constant(known, tf.float32)

    def _standardise(self, features: tf.Tensor) -> tf.Tensor:
        return (features - _float32(self._standard.mean)) * _float32(self._standard.scale)


def standard_of(features: Rows) -> Standard:
    """The mean and spread of features (N, D), a few images at a time; a constant feature becomes zero."""
    at_once = max(1, NUMBERS // features.shape[1])
    mean = sum(part.sum(axis=0, dtype=float) for part, _ in _parts(features, at_once)) / len(features)
    squares = sum(((part - mean) ** 2).sum(axis=0) for part, _ in _parts(features, at_once)) / len(features)
    spread = np.sqrt(squares)
    return Standard(np.asarray(mean), np.where(spread > 1e-7, 1 / np.maximum(spread, 1e-7), 0.0))


def logits(
    features: Rows, weights: Weights, standard: Standard, classes: int, places: Positions | None = None
) -> NDArray[np.float32]:
    """What weights make of features (N, D), or of those at some places: (n, C)."""
    return np.concatenate(list(_logits(features, weights, standard, classes, places)))


def _logits(
    features: Rows, weights: Weights, standard: Standard, classes: int, places: Positions | None = None
) -> Iterator[NDArray[np.float32]]:
    kernel = _float32(weights.kernel * standard.scale[:, None])
    bias = _float32(weights.bias - (standard.mean * standard.scale) @ weights.kernel)
    at_once = max(1, NUMBERS // (features.shape[1] + classes))
    for part, _ in _parts(features, at_once, places):
        with exact_float32():
            found = tf.matmul(tf.constant(part), kernel) + bias
        yield found.numpy()


def given_classes(features: Rows, weights: Weights, standard: Standard, classes: int) -> Labels:
    """The position (n,) of the highest logit of each image, without keeping all of them."""
    return np.concatenate([each.argmax(axis=1) for each in _logits(features, weights, standard, classes)])


def _parts(features: Rows, at_once: int, places: Positions | None = None) -> Iterator[tuple[Features, Positions]]:
    """A few of the features (n, D) at a time, and where they are."""
    count = len(features) if places is None else len(places)
    for start in range(0, count, at_once):
        here = np.arange(start, min(start + at_once, count)) if places is None else places[start : start + at_once]
        part = features[start : start + at_once] if places is None else features[here]
        yield np.asarray(part, np.float32), here


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
