"""Mean squares of crossed tables: rows (seeds, label subsets) that all answered the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TwoWay:
    """Mean squares, and mean products of pairs, of R tables of the same rows and images.

    Attributes:
        means: (R,) of the tables.
        row, image, rest: (R, R), of ``table[k, i] = mean + row[k] + image[i] + rest[k, i]``; zeros where there is but
            one row, of ``row`` and ``rest``.
    """

    means: NDArray[np.float64]
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
