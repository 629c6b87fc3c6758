"""Variances of mean accuracies and of their differences: seeds, label subsets and test images could all be others.

``answers[r, k, s, i]`` says whether representation r (a cell's layer, the same before the first step, raw pixels) was
right about test image i, in the k-th seed, fitted to that seed's s-th label subset. Images are the same for all seeds
and subsets (crossed); subsets are drawn anew for each seed (nested):

    answer[k, s, i] = mean + seed[k] + subset[k, s] + image[i] + seed-image[k, i] + rest[k, s, i]

Averaged over its subsets this is the two-way table of :mod:`simclr.evaluation.uncertainty` with seeds as its rows, and

    Var(mean) = MS_seed / (K n) + (MS_image - MS_rest) / (K n),

the first part with K - 1 degrees of freedom. All representations answer the same questions, so the mean squares are
kept as matrices over representations: a mean is one contrast of them, a paired difference another.

Two or three seeds say little about how much seeds differ. What the rest of the grid says about that is let in with the
weight of ``PRIOR_FREEDOM`` degrees of freedom, or as many as it has (the moderated t of Smyth 2004, "Linear models and
empirical Bayes methods for assessing differential expression in microarray experiments", with a prior that is given, as
a grid is too small to estimate one); and because one configuration may be noisier than the others, as if its variance
were ``PRIOR_CAUTION`` times theirs. Both numbers are what simulations ask for where one of six configurations has three
times the spread of the rest (``docs/statistics.md``). Spreads are compared on the scale of log odds, where effects are
alike at different accuracies.

With a single seed the subsets are the rows, and what is said holds for that seed's network only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.evaluation.uncertainty import Matrix, Uncertainty, two_way

PRIOR_FREEDOM = 6
PRIOR_CAUTION = 3.0


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """Mean squares and products over representations (R, R) of a table of ``rows`` x ``images`` answers.

    Attributes:
        means: (R,) of the answers.
        row, image, rest: of the two-way table.
        rows, images: the table's size; ``seeds``: how many there are.
        network: (R,) equal numbers for representations of the same pretrainings.
        slope: (R,) a (1 - a) at accuracy a: how far an accuracy moves with its log odds.
    """

    means: NDArray[np.float64]
    row: Matrix
    image: Matrix
    rest: Matrix
    rows: int
    images: int
    seeds: int
    network: NDArray[np.intp]
    slope: NDArray[np.float64]

    def of_means(self) -> Uncertainty:
        """Of each mean by itself, (R,)."""
        row, image, rest = (np.diag(part) for part in (self.row, self.image, self.rest))
        everyone = np.ones(len(row), dtype=bool)
        # The label subsets of a seed are all cells': many say hardly more of them than one.
        borrowed = Borrowed(self.slope**2, everyone, (self.rows - 1) * min(self.networks - 1, 1))
        return self._uncertainty(row, image, rest, [borrowed])

    def of_differences(self) -> Uncertainty:
        """Of each paired difference of means, row's minus column's, (R, R)."""
        row, image, rest = (difference_products(part) for part in (self.row, self.image, self.rest))
        scale = self.slope[:, None] ** 2 + self.slope[None, :] ** 2
        # Two layers of one network share its fate: their differences vary less than those of two networks.
        same = self.network[:, None] == self.network[None, :]
        layers = same & ~np.eye(len(row), dtype=bool)
        pairs_of_layers = int(layers.any(axis=1).sum()) - self.networks_with_layers
        borrowed = [
            Borrowed(scale, ~same, (self.networks - 2) * (self.rows - 1)),
            Borrowed(scale, layers, (pairs_of_layers - 1) * (self.rows - 1)),
        ]
        return self._uncertainty(row, image, rest, borrowed)

    @property
    def networks(self) -> int:
        return len(np.unique(self.network))

    @property
    def networks_with_layers(self) -> int:
        """How many networks are looked at in more than one layer."""
        return int((np.unique(self.network, return_counts=True)[1] > 1).sum())

    def _uncertainty(self, row: Matrix, image: Matrix, rest: Matrix, borrowed: list[Borrowed]) -> Uncertainty:
        size = self.rows * self.images
        if self.rows == 1:
            return Uncertainty(np.zeros_like(row), np.ones_like(row), image / size)
        # E[MS_row] is no less than E[MS_rest]: a table whose few rows agree by chance would promise too much.
        own = np.maximum(row, rest)
        row, freedom = own, np.full(own.shape, float(self.rows - 1))
        if self.seeds > 1:
            for each in borrowed:
                row, freedom = each.moderate(own, row, freedom, self.rows - 1)
        # A variance component cannot be negative.
        return Uncertainty(row / size, freedom, np.maximum(image - rest, 0) / size)


@dataclass(frozen=True, eq=False)
class Borrowed:
    """What some estimates of one kind tell each other about how much seeds differ.

    Attributes:
        scale: by which each one's mean square is divided to make them alike.
        among: which ones they are.
        freedom: degrees of freedom that the others bring.
    """

    scale: Matrix
    among: NDArray[np.bool_]
    freedom: int

    def moderate(self, own: Matrix, row: Matrix, freedom: Matrix, degrees: int) -> tuple[Matrix, Matrix]:
        """Mean squares and degrees of freedom, those of this kind moderated and the others as they were."""
        prior = min(PRIOR_FREEDOM, self.freedom)
        among = self.among & (self.scale > 0)
        if prior <= 0 or not among.any():
            return row, freedom
        usual = PRIOR_CAUTION * (own[among] / self.scale[among]).mean() * self.scale
        moderated = (prior * usual + degrees * own) / (prior + degrees)
        return np.where(among, moderated, row), np.where(among, float(prior + degrees), freedom)


def mean_squares(
    answers: NDArray[Any],
    network: Sequence[int] | NDArray[np.intp] | None = None,
    slope: NDArray[np.float64] | None = None,
) -> MeanSquares:
    """The mean squares of a crossed table.

    Args:
        answers: (R, K, S, n): representation, seed, label subset, test image; right or wrong, or the difference of
            two such tables.
        network: (R,) which pretrainings each is of; by default each is of its own.
        slope: (R,) as :class:`MeanSquares` has it; for differences it has to be given.
    """
    _, seeds, _, images = answers.shape
    tables = answers[:, 0].astype(np.float32) if seeds == 1 else answers.mean(axis=2, dtype=np.float32)
    found = two_way(tables)
    numbers = np.arange(len(answers)) if network is None else np.asarray(network)
    return MeanSquares(
        found.means,
        found.row,
        found.image,
        found.rest,
        tables.shape[1],
        images,
        seeds,
        numbers,
        found.means * (1 - found.means) if slope is None else slope,
    )


def difference_products(products: Matrix) -> Matrix:
    """The quadratic form of e_a - e_b for every pair (a, b)."""
    own = np.diag(products)
    return np.maximum(own[:, None] + own[None, :] - 2 * products, 0)
