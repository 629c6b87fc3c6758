"""Nearest neighbours by cosine similarity: a probe, and what a representation is described by. Memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simclr.data.labels import Labels, Positions, stratified_folds
from simclr.evaluation.judgement import Features, Fitted

SIMILARITIES = 1 << 24
"""Similarities that are in memory at a time, 64 MB of them."""


@dataclass(frozen=True)
class WeightedNeighbours:
    """Votes of the nearest images by cosine similarity s, each with weight exp(s / 0.07) (arXiv 1805.01978, sec. 3.4).

    The number of neighbours is chosen by cross-validation inside the labelled subset.
    """

    neighbours: tuple[int, ...]
    temperature: float = 0.07

    def __call__(
        self, features: Features, labels: Labels, test_features: Features, test_labels: Labels, seed: int
    ) -> Fitted:
        number, validation_accuracy = self.neighbours[0], None
        if folds := stratified_folds(labels, seed):
            hits = np.zeros(len(self.neighbours))
            for inside, outside in folds:
                found = self._votes(features[inside], labels[inside], features[outside], self.neighbours)
                hits += [(given == labels[outside]).sum() for given in found]
            best = int(hits.argmax())
            number, validation_accuracy = self.neighbours[best], float(hits[best] / len(labels))
        train = self.classify(features, labels, features, number)
        return Fitted(train, self.classify(features, labels, test_features, number), validation_accuracy)

    def classify(self, bank: Features, labels: Labels, queries: Features, number: int) -> Labels:
        """The class (m,) that the ``number`` nearest of the bank (n, D) give to each query (m, D)."""
        return self._votes(bank, labels, queries, (number,))[0]

    def _votes(self, bank: Features, labels: Labels, queries: Features, numbers: tuple[int, ...]) -> list[Labels]:
        """The same for several numbers, of which the largest has the others' neighbours among its own."""
        classes = int(labels.max()) + 1
        given: list[list[Labels]] = [[] for _ in numbers]
        for similarity, nearest in nearest_neighbours(bank, queries, max(numbers)):
            weights, rows = np.exp((similarity - 1) / self.temperature), np.arange(len(nearest))[:, None]
            for number, parts in zip(numbers, given, strict=True):
                votes = np.zeros((len(nearest), classes))
                np.add.at(votes, (rows, labels[nearest[:, :number]]), weights[:, :number])
                parts.append(votes.argmax(axis=1))
        return [np.concatenate(parts) for parts in given]


def nearest_neighbours(bank: Features, queries: Features, number: int) -> Iterator[tuple[Features, Positions]]:
    """The nearest of a bank (n, D), exactly, to some queries (m, D) at a time, in their order.

    Yields:
        Cosine similarities (b, k), the largest first, and places in the bank (b, k), k being ``number`` or n.
    """
    number, known = min(number, len(bank)), _unit(bank).T
    at_once = max(1, SIMILARITIES // len(bank))
    for start in range(0, len(queries), at_once):
        similarity = _unit(queries[start : start + at_once]) @ known
        some = np.argpartition(-similarity, number - 1, axis=1)[:, :number]
        of_some = np.take_along_axis(similarity, some, axis=1)
        order = np.argsort(-of_some, axis=1, kind="stable")
        yield np.take_along_axis(of_some, order, axis=1), np.take_along_axis(some, order, axis=1)


def _unit(features: Features) -> NDArray[np.float32]:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
