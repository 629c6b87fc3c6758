"""How far an estimate may be from what it estimates, where a few draws tell one part of that and many images another.

An accuracy varies with its rows (seeds, label subsets: two, three, five of them) and with the test images (hundreds).
Adding the two variances and looking for one number of degrees of freedom goes wrong with few rows: whenever they agree
by chance, Satterthwaite's formula takes the sum for well known. Each part therefore has Student's quantile of its own,

    half = sqrt(t(freedom)^2 row + z^2 image),

which holds at least as often as it says, whatever the two parts are (Banerjee 1960, "Approximate confidence interval
for linear functions of means of k populations when the population variances are not equal", Sankhya 22).

Both are told by the mean squares of crossed tables: rows that all answered the same images. The accuracy of a probe is
the mean of such a table, several label subsets and one finite test set.
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


def summary(correct: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean accuracy with a 95 % interval that counts both the choice of labels and the choice of test images.

    ``correct`` (subsets S, images n) is a crossed design: accuracy[s, i] = mean + subset[s] + image[i] + rest[s, i].
    With the mean squares of a two-way table, E[MS_subset] = n V_subset + V_rest and E[MS_image] = S V_image + V_rest:

        Var(mean) = MS_subset / (S n) + (MS_image - MS_rest) / (S n),

    the first part with S - 1 degrees of freedom (:class:`Uncertainty`). The interval is Wilson's at the
    effective sample size m (1 - m) / Var(mean), so it stays within [0, 1] and is not empty where every answer is right
    (Franco, Little, Louis and Slud 2019, "Comparative study of confidence intervals for proportions in complex
    sample surveys"). It is about one network: other seeds are not in it; and one subset tells nothing of the choice of
    labels.

    Returns:
        ``mean``, ``std`` (over subsets, 0 for one), ``ci95`` [low, high], ``values`` [one per subset], ``counts``: what
        the interval is over, ``["labels", "images"]``, or ``["images"]`` of one subset.
    """
    values = correct.mean(axis=1)
    mean = float(values.mean())
    low, high = interval(mean, of_table(correct), correct.shape[1])
    return {
        "mean": mean,
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "ci95": [low, high],
        "values": [float(value) for value in values],
        "counts": ["labels", "images"] if len(values) > 1 else ["images"],
    }


def of_table(correct: NDArray[np.bool_]) -> Uncertainty:
    """The uncertainty of the mean of a table (S, n), each part a scalar array."""
    subsets, images = correct.shape
    size, found = subsets * images, two_way(correct[None].astype(float))
    row, image, rest = (part[0, 0] for part in (found.row, found.image, found.rest))
    if subsets == 1:
        return Uncertainty(np.zeros(()), np.ones(()), np.asarray(image / size))
    # The subsets' expectation is no less than the rest's: a table whose subsets agree by chance promises too much.
    return Uncertainty(
        np.asarray(max(row, rest) / size), np.asarray(subsets - 1.0), np.asarray(max(image - rest, 0.0) / size)
    )


def interval(mean: float, uncertainty: Uncertainty, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a mean; where nothing varies, that of so many images with one answer each."""
    variance = float(uncertainty.variance)
    size = mean * (1 - mean) / variance if variance > 0 and 0 < mean < 1 else float(images)
    quantile = float(uncertainty.halves()) / np.sqrt(variance) if variance > 0 else -ndtri(0.025)
    spread = quantile**2 / size
    centre = (mean + spread / 2) / (1 + spread)
    half = quantile / (1 + spread) * np.sqrt(mean * (1 - mean) / size + spread / (4 * size))
    # At 0 and 1 the bound is the mean itself, but for rounding.
    return float(min(max(centre - half, 0.0), mean)), float(max(min(centre + half, 1.0), mean))
