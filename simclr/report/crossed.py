"""Variances and covariances of mean accuracies: seeds, label subsets and test images, all of which could be others.

``answers[r, k, s, i]`` says whether representation r (a cell's layer, the same before the first step, raw pixels) was
right about test image i, in the k-th seed, fitted to that seed's s-th label subset. Images are the same for all seeds
and subsets (crossed); subsets are drawn anew for each seed (nested):

    answer[k, s, i] = mean + seed[k] + subset[k, s] + image[i] + seed-image[k, i] + rest[k, s, i]

Averaged over its subsets this is the two-way table of :mod:`simclr.evaluation.accuracy` with seeds as its rows, and

    Var(mean) = (MS_seed + MS_image - MS_rest) / (K n).

All representations answer the same questions, so the mean squares are kept as matrices over representations. A mean
is one contrast of them, a paired difference another, and the ranking needs the whole covariance.

Two or three seeds say little about how much seeds differ: two that agree by chance would promise too much. So MS_seed
is never taken to be less than what label subsets alone would make of it, nor than its average over the grid (on the
scale of log odds, where effects are alike at different accuracies); unless it is far above that average, its degrees of
freedom are the average's.

With a single seed the subsets are the rows, and what is said holds for that seed's network only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """Mean squares and products over representations (R, R) of a table of ``rows`` x ``images`` answers.

    Attributes:
        means: (R,) accuracy.
        row, image, rest: of the two-way table.
        floor: what ``row`` would be if seeds differed no more than subsets make them; None with one seed.
        rows, images: the table's size; ``seeds``: how many there are.
        floor_freedom: degrees of freedom of ``floor``.
        network: (R,) equal numbers for representations of the same pretraining.
        spread: (R,) m (1 - m): how far an accuracy moves with its log odds.
    """

    means: NDArray[np.float64]
    row: Matrix
    image: Matrix
    rest: Matrix
    floor: Matrix | None
    rows: int
    images: int
    seeds: int
    floor_freedom: int
    network: NDArray[np.intp]
    spread: NDArray[np.float64]

    def variances(self) -> tuple[Matrix, Matrix]:
        """Of each mean: its variance and degrees of freedom, both (R,)."""
        row, image, rest = (np.diag(part) for part in (self.row, self.image, self.rest))
        floors = [] if self.floor is None else [(np.diag(self.floor), np.full(len(row), float(self.floor_freedom)))]
        averages = []
        if self.pools:
            scale = self.spread**2
            averages.append(_pooled(row, scale, np.ones(len(row), bool), (self.rows - 1) * self._networks()))
        return self._combine(row, image, rest, floors, averages)

    def difference_variances(self) -> tuple[Matrix, Matrix]:
        """Of each paired difference of means: its variance and degrees of freedom, both (R, R)."""
        row, image, rest = (_of_differences(part) for part in (self.row, self.image, self.rest))
        floors, averages = [], []
        if self.floor is not None:
            floors.append((_of_differences(self.floor), np.full(row.shape, float(self.floor_freedom))))
        if self.pools:
            scale = self.spread[:, None] ** 2 + self.spread[None, :] ** 2
            # Two layers of one network share its fate: their differences vary less than those of two networks.
            same = self.network[:, None] == self.network[None, :]
            apart = ~np.eye(len(row), dtype=bool)
            averages.append(_pooled(row, scale, same & apart, (self.rows - 1) * self._networks()))
            averages.append(_pooled(row, scale, ~same, (self.rows - 1) * max(self._networks() - 1, 1)))
        return self._combine(row, image, rest, floors, averages)

    def covariance(self) -> Matrix:
        """Of all means together, (R, R): positive semidefinite, with the variances that :meth:`variances` has."""
        excess = [_positive(part - self.rest) for part in (self.row, self.image)]
        joint = (sum(excess) + self.rest) / (self.rows * self.images)
        variances, _ = self.variances()
        # What floors add to a variance is taken to be the network's own.
        return joint + np.diag(np.maximum(variances - np.diag(joint), 0))

    @property
    def pools(self) -> bool:
        """Whether rows are seeds, whose spread several networks tell about."""
        return self.seeds > 1 and len(self.means) > 1

    def _networks(self) -> int:
        return len(np.unique(self.network))

    def _combine(
        self,
        row: Matrix,
        image: Matrix,
        rest: Matrix,
        floors: list[tuple[Matrix, Matrix]],
        averages: list[tuple[Matrix, Matrix]],
    ) -> tuple[Matrix, Matrix]:
        """Variance and Satterthwaite's degrees of freedom of a contrast, from its mean squares."""
        own, row_freedom = row, np.full(row.shape, float(max(self.rows - 1, 1)))
        for floor, freedom in floors:
            row_freedom = np.where(row < floor, row_freedom + freedom, row_freedom)
            row = np.maximum(row, floor)
        for average, freedom in averages:
            # Where seeds differ as they do in the rest of the grid, the grid says how sure that is (an F test).
            usual = (average > 0) & (own <= average * stats.f.ppf(0.95, max(self.rows - 1, 1), np.maximum(freedom, 1)))
            row_freedom = np.where(usual, np.maximum(freedom, row_freedom), row_freedom)
            row = np.maximum(row, average)
        # A variance component cannot be negative: without the bounds a lucky table would give too short an interval.
        row_part, image_part = np.maximum(row - rest, 0), np.maximum(image - rest, 0)
        total = row_part + image_part + rest
        image_freedom = max(self.images - 1, 1)
        squares = (
            row_part**2 / row_freedom
            + image_part**2 / image_freedom
            + rest**2 / (max(self.rows - 1, 1) * image_freedom)
        )
        freedom = np.divide(total**2, squares, out=np.full(total.shape, float(image_freedom)), where=squares > 0)
        return total / (self.rows * self.images), freedom


def mean_squares(answers: NDArray[Any], network: Sequence[int] | None = None) -> MeanSquares:
    """The mean squares of a crossed table.

    Args:
        answers: (R, K, S, n): representation, seed, label subset, test image; right or wrong, or the difference of
            two such tables.
        network: (R,) which pretraining each is of; by default each is of its own.
    """
    representations, seeds, subsets, images = answers.shape
    if seeds == 1:
        table = answers[:, 0].astype(np.float32)
        floor, floor_freedom = None, 0
    else:
        table = answers.mean(axis=2, dtype=np.float32)
        by_subset = answers.mean(axis=3, dtype=float)
        within = by_subset - by_subset.mean(axis=2, keepdims=True)
        floor_freedom = seeds * (subsets - 1)
        # In the units of MS_seed: a seed's mean over S subsets has 1 / S of a subset's variance.
        floor = _products(within) * images / (subsets * floor_freedom) if floor_freedom else None
    rows = table.shape[1]
    by_row, by_image = table.mean(axis=2, dtype=float), table.mean(axis=1, dtype=float)
    means = by_row.mean(axis=1)
    row = _products(by_row - means[:, None]) * images / max(rows - 1, 1)
    image = _products(by_image - means[:, None]) * rows / max(images - 1, 1)
    rest_freedom = (rows - 1) * max(images - 1, 1)
    if rest_freedom:
        rest = _products(table - by_row[:, :, None] - by_image[:, None, :] + means[:, None, None]) / rest_freedom
    else:
        rest = np.zeros((representations, representations))
    numbers = np.arange(representations) if network is None else np.asarray(network)
    return MeanSquares(
        means,
        row,
        image,
        rest,
        floor,
        rows,
        images,
        seeds,
        floor_freedom,
        numbers,
        table.std(axis=(1, 2), dtype=float) ** 2,
    )


def _products(deviations: NDArray[np.floating]) -> Matrix:
    """Sums of products over everything but the first axis, (R, R)."""
    rows = deviations.reshape(len(deviations), -1)
    return (rows @ rows.T).astype(float)


def _of_differences(products: Matrix) -> Matrix:
    """The quadratic form of e_a - e_b for every pair (a, b)."""
    own = np.diag(products)
    return np.maximum(own[:, None] + own[None, :] - 2 * products, 0)


def _pooled(row: Matrix, scale: Matrix, among: NDArray[np.bool_], freedom: int) -> tuple[Matrix, Matrix]:
    """The average of mean squares relative to their scale, for each of those it is taken over; else no floor."""
    among = among & (scale > 0)
    if not among.any():
        return np.zeros_like(row), np.zeros_like(row)
    average = (row[among] / scale[among]).mean()
    return np.where(among, average * scale, 0.0), np.where(among, float(freedom), 0.0)


def _positive(matrix: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T
