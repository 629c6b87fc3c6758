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

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.evaluation.uncertainty import Matrix, TwoWay, Uncertainty, two_way

Answers = NDArray[np.bool_]

PRIOR_FREEDOM = 6
PRIOR_CAUTION = 3.0
USUAL_SPREAD = 0.12
"""Standard deviation, in log odds, between networks of one configuration: what grids on digits and photographs had."""


@dataclass(frozen=True, eq=False)
class MeanSquares(TwoWay):
    """Mean squares and products over representations (R, R) of a table of ``rows`` x ``images`` answers.

    Attributes:
        rows, images: the table's size; ``seeds``: how many there are.
        network: (R,) equal numbers for representations of the same pretrainings.
        slope: (R,) a (1 - a) at accuracy a: how far an accuracy moves with its log odds.
    """

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
        freedom = (self.rows - 1) * min(self.networks - 1, 1)
        return self._uncertainty(row, image, rest, self.slope**2, [(everyone, freedom)])

    def of_differences(self) -> Uncertainty:
        """Of each paired difference of means, row's minus column's, (R, R)."""
        row, image, rest = (difference_products(part) for part in (self.row, self.image, self.rest))
        scale = self.slope[:, None] ** 2 + self.slope[None, :] ** 2
        # Two layers of one network share its fate: their differences vary less than those of two networks.
        same = self.network[:, None] == self.network[None, :]
        layers = same & ~np.eye(len(row), dtype=bool)
        further_layers = len(row) - self.networks
        of_networks = (~same, (self.networks - 2) * (self.rows - 1))
        of_layers = (layers, (further_layers - 1) * (self.rows - 1))
        return self._uncertainty(row, image, rest, scale, [of_networks, of_layers])

    @property
    def networks(self) -> int:
        return len(np.unique(self.network))

    def reach(self, seeds: int, alpha: float) -> float:
        """What more seeds would tell: the difference between two networks' settings that they just tell from noise.

        Over all pairs of networks, with Bonferroni's correction; labels and images are taken to vary as with the one
        seed that there is.

        Args:
            seeds: how many there would be, two at least.
            alpha: how often at least one pair may be told apart that does not differ.
        """
        networks, degrees = self.networks, seeds - 1
        prior = max(min(PRIOR_FREEDOM, (networks - 2) * degrees), 0)
        caution = (PRIOR_CAUTION * prior + degrees) / (prior + degrees)
        apart = self.network[:, None] != self.network[None, :]
        now = self.of_differences()
        labels, images = np.median(now.row[apart]), np.median(now.image[apart])
        between = 2 * (USUAL_SPREAD * np.median(self.slope)) ** 2
        row, freedom = (between + labels) * caution / seeds, float(prior + degrees)
        later = Uncertainty(np.asarray(row), np.asarray(freedom), np.asarray(images))
        return min(float(later.halves(alpha / (networks * (networks - 1) / 2))), 1.0)

    def _uncertainty(
        self, row: Matrix, image: Matrix, rest: Matrix, scale: Matrix, kinds: list[tuple[NDArray[np.bool_], int]]
    ) -> Uncertainty:
        """Of estimates with these mean squares, all of one shape.

        ``kinds`` are the estimates that tell each other how much seeds differ, their mean squares divided by ``scale``
        to make them alike, and the degrees of freedom that the others of a kind bring to each.
        """
        size, degrees = self.rows * self.images, self.rows - 1
        if self.rows == 1:
            return Uncertainty(np.zeros_like(row), np.ones_like(row), image / size)
        # E[MS_row] is no less than E[MS_rest]: a table whose few rows agree by chance would promise too much.
        own = np.maximum(row, rest)
        row, freedom = own, np.full(own.shape, float(degrees))
        for of_kind, others in kinds if self.seeds > 1 else ():
            prior = min(PRIOR_FREEDOM, others)
            among = of_kind & (scale > 0)
            if prior > 0 and among.any():
                usual = PRIOR_CAUTION * (own[among] / scale[among]).mean() * scale
                row = np.where(among, (prior * usual + degrees * own) / (prior + degrees), row)
                freedom = np.where(among, float(prior + degrees), freedom)
        # A variance component cannot be negative.
        return Uncertainty(row / size, freedom, np.maximum(image - rest, 0) / size)


def mean_squares(
    answers: NDArray[Any], network: Iterable[Hashable] | None = None, slope: NDArray[np.float64] | None = None
) -> MeanSquares:
    """The mean squares of a crossed table.

    Args:
        answers: (R, K, S, n): representation, seed, label subset, test image; right or wrong, or the difference of
            two such tables.
        network: (R,) which pretrainings each is of, equal for the same ones; by default each is of its own.
        slope: (R,) as :class:`MeanSquares` has it; for differences it has to be given.
    """
    _, seeds, _, images = answers.shape
    tables = answers[:, 0].astype(np.float32) if seeds == 1 else answers.mean(axis=2, dtype=np.float32)
    found = two_way(tables)
    numbers: dict[Hashable, int] = {}
    named = range(len(answers)) if network is None else network
    return MeanSquares(
        **vars(found),
        rows=tables.shape[1],
        images=images,
        seeds=seeds,
        network=np.array([numbers.setdefault(each, len(numbers)) for each in named]),
        slope=found.means * (1 - found.means) if slope is None else slope,
    )


def difference_products(products: Matrix) -> Matrix:
    """The quadratic form of e_a - e_b for every pair (a, b)."""
    own = np.diag(products)
    return np.maximum(own[:, None] + own[None, :] - 2 * products, 0)
