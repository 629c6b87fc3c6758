"""Nearest neighbours by cosine similarity: a probe, and what a representation is described by. Memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from simclr.data.labels import Labels, Positions, stratified_folds
from simclr.evaluation.judgement import Features, Fitted, best_classes
from simclr.evaluation.rows import Rows, rows
from simclr.training.runtime import exact_float32

SIMILARITIES = 1 << 24
"""Similarities that are in memory at a time, 64 MB of them."""
QUERIES = 2048
"""Of many, those that are compared at a time."""
MANY = 1 << 27
"""Similarities in all; of more, TensorFlow is quicker even where it has to be started for that."""


@dataclass(frozen=True)
class WeightedNeighbours:
    """Votes of the nearest images by cosine similarity s, each with weight exp(s / 0.07) (arXiv 1805.01978, sec. 3.4).

    The number of neighbours is chosen by cross-validation inside the labelled subset.
    """

    neighbours: tuple[int, ...]
    temperature: float = 0.07

    def __call__(self, features: Rows, labels: Labels, test_features: Rows, test_labels: Labels, seed: int) -> Fitted:
        number, validation_accuracy = self.neighbours[0], None
        if folds := stratified_folds(labels, seed):
            hits = np.zeros(len(self.neighbours))
            for inside, outside in folds:
                found, _ = self._votes(rows(features, inside), labels[inside], rows(features, outside), self.neighbours)
                hits += [(given == labels[outside]).sum() for given in found]
            chosen = int(hits.argmax())
            number, validation_accuracy = self.neighbours[chosen], float(hits[chosen] / len(labels))
        train = self.classify(features, labels, features, number)
        (test,), best = self._votes(features, labels, test_features, (number,))
        return Fitted(train, test, validation_accuracy, best)

    def classify(self, bank: Rows, labels: Labels, queries: Rows, number: int) -> Labels:
        """The class (m,) that the ``number`` nearest of the bank (n, D) give to each query (m, D)."""
        return self._votes(bank, labels, queries, (number,))[0][0]

    def _votes(
        self, bank: Rows, labels: Labels, queries: Rows, numbers: tuple[int, ...]
    ) -> tuple[list[Labels], Labels | None]:
        """The same for several numbers, of which the largest has the others' neighbours among its own.

        Returns:
            The classes (m,) for each number, and for the last one those with most votes, see :func:`best_classes`.
        """
        classes = int(labels.max()) + 1
        given: list[list[Labels]] = [[] for _ in numbers]
        best: list[Labels | None] = []
        for similarity, nearest in nearest_neighbours(bank, queries, max(numbers)):
            weights, rows = np.exp((similarity - 1) / self.temperature), np.arange(len(nearest))[:, None]
            for number, parts in zip(numbers, given, strict=True):
                votes = np.zeros((len(nearest), classes))
                np.add.at(votes, (rows, labels[nearest[:, :number]]), weights[:, :number])
                parts.append(votes.argmax(axis=1))
            best.append(best_classes(votes, np.arange(classes)))
        some = [each for each in best if each is not None]
        return [np.concatenate(parts) for parts in given], np.concatenate(some) if some else None


def nearest_neighbours(bank: Rows, queries: Rows, number: int) -> Iterator[tuple[Features, Positions]]:
    """The nearest of a bank (n, D), exactly, to some queries (m, D) at a time, in their order.

    Yields:
        Cosine similarities (b, k), the largest first, and places in the bank (b, k), k being ``number`` or n.
    """
    number = min(number, len(bank))
    return (_of_many if are_many(bank, queries) else _of_few)(bank, queries, number)


def are_many(bank: Rows, queries: Rows) -> bool:
    """Whether so many are compared that TensorFlow does it, a few of both at a time and on its device."""
    return len(bank) * len(queries) > MANY


def _of_few(bank: Rows, queries: Rows, number: int) -> Iterator[tuple[Features, Positions]]:
    known = _unit(bank[:]).T
    at_once = max(1, SIMILARITIES // len(bank))
    for start in range(0, len(queries), at_once):
        similarity = _unit(queries[start : start + at_once]) @ known
        some = np.argpartition(-similarity, number - 1, axis=1)[:, :number]
        of_some = np.take_along_axis(similarity, some, axis=1)
        order = np.argsort(-of_some, axis=1, kind="stable")
        yield np.take_along_axis(of_some, order, axis=1), np.take_along_axis(some, order, axis=1)


def _of_many(bank: Rows, queries: Rows, number: int) -> Iterator[tuple[Features, Positions]]:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def nearer(asked: tf.Tensor, some: tf.Tensor, first: tf.Tensor, best: tf.Tensor, where: tf.Tensor) -> Any:
        """The nearest so far and some more of the bank, which begin at the place ``first``: the nearest of both."""
        similarity = tf.matmul(asked, some, transpose_b=True)
        here, place = tf.math.top_k(similarity, tf.minimum(number, tf.shape(some)[0]))
        best, chosen = tf.math.top_k(tf.concat([best, here], 1), number)
        return best, tf.gather(tf.concat([where, place + first], 1), chosen, batch_dims=1)

    for start in range(0, len(queries), QUERIES):
        asked = _unit(queries[start : start + QUERIES])
        best, where = tf.fill((len(asked), number), -np.inf), tf.zeros((len(asked), number), tf.int32)
        for first in range(0, len(bank), SIMILARITIES // QUERIES):
            some = _unit(bank[first : first + SIMILARITIES // QUERIES])
            with exact_float32():
                best, where = nearer(tf.constant(asked), tf.constant(some), tf.constant(first), best, where)
        yield best.numpy(), where.numpy()


def _unit(features: Features) -> Features:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12), np.float32)
