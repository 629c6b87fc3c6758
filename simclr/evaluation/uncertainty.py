"""How far an estimate may be from what it estimates, where a few draws tell one part of that and many images another.

An accuracy varies with its rows (seeds, label subsets: two, three, five of them) and with the test images (hundreds).
Adding the two variances and looking for one number of degrees of freedom goes wrong with few rows: whenever they agree
by chance, Satterthwaite's formula takes the sum for well known. Each part therefore has Student's quantile of its own,

    half = sqrt(t(freedom)^2 row + z^2 image),

which holds at least as often as it says, whatever the two parts are (Banerjee 1960, "Approximate confidence interval
for linear functions of means of k populations when the population variances are not equal", Sankhya 22).

Both are told by the mean squares of crossed tables: rows that all answered the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Numbers = NDArray[np.float64]
Matrix = NDArray[np.float64]

HALVINGS = 26
SMALLEST = 1e-16
"""No p value is said to be less."""


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """The variance of estimates, all of one shape.

    Attributes:
        row: the part that rows tell of.
        freedom: its degrees of freedom.
        image: the part of the test images, taken to be known.
    """

    row: Numbers
    freedom: Numbers
    image: Numbers

    @property
    def variance(self) -> Numbers:
        return self.row + self.image

    def at(self, places: Any) -> Uncertainty:
        """Of the estimates at these places, as NumPy takes an index."""
        return Uncertainty(*(np.asarray(part[places]) for part in (self.row, self.freedom, self.image)))

    def halves(self, alpha: Numbers | float = 0.05) -> Numbers:
        """Half the width of each interval that misses the truth at most with probability ``alpha``."""
        student, normal = stdtrit(self.freedom, np.divide(alpha, 2)), ndtri(np.divide(alpha, 2))
        return np.asarray(np.sqrt(student**2 * self.row + normal**2 * self.image))

    def p_values(self, estimates: Numbers) -> Numbers:
        """Two-sided: the ``alpha`` whose interval just reaches from each estimate to zero.

        Where nothing varies, an estimate of zero is no difference and any other one is certain.
        """
        low, high = np.full(self.row.shape, np.log(SMALLEST)), np.zeros(self.row.shape)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            reaches = self.halves(np.exp(middle)) > np.abs(estimates)
            low, high = np.where(reaches, middle, low), np.where(reaches, high, middle)
        return np.where(self.variance > 0, np.exp(high), np.where(estimates == 0, 1.0, SMALLEST))


@dataclass(frozen=True, eq=False)
class TwoWay:
    """Mean squares, and mean products of pairs, of R tables of the same rows and images.

    Attributes:
        means: (R,) of the tables.
        row, image, rest: (R, R), of ``table[k, i] = mean + row[k] + image[i] + rest[k, i]``; zeros where there is but
            one row, of ``row`` and ``rest``.
    """

    means: Numbers
    row: Matrix
    image: Matrix
    rest: Matrix


def two_way(tables: NDArray[np.floating]) -> TwoWay:
    """The analysis of variance of tables (R, rows, images)."""
    representations, rows, images = tables.shape
    by_row, by_image = tables.mean(axis=2, dtype=float), tables.mean(axis=1, dtype=float)
    means = by_row.mean(axis=1)
    row = _products(by_row - means[:, None]) * images / max(rows - 1, 1)
    image = _products(by_image - means[:, None]) * rows / max(images - 1, 1)
    rest = np.zeros((representations, representations))
    if freedom := (rows - 1) * max(images - 1, 1):
        rest = _products(tables - by_row[:, :, None] - by_image[:, None, :] + means[:, None, None]) / freedom
    return TwoWay(means, row, image, rest)


def _products(deviations: NDArray[np.floating]) -> Matrix:
    """Sums of products over everything but the first axis, (R, R)."""
    rows = deviations.reshape(len(deviations), -1)
    return (rows @ rows.T).astype(float)
