"""A part of every class, drawn once and for good: the same on every machine and for every seed of an experiment."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray


def order_for_good(count: int, seed: int) -> NDArray[np.intp]:
    """An order of so many things that is the same on every machine: (count,) positions."""
    # Python promises the sequence of Random.random() for a seed for good; NumPy's generators do not promise theirs.
    generator = random.Random(seed)
    return np.argsort([generator.random() for _ in range(count)], kind="stable")


def part_of_each_class(
    labels: NDArray[np.int32], share: float, seed: int, *, leave_one: bool = False
) -> NDArray[np.bool_]:
    """Which of the images (N,) are drawn: of each class its ``share``, rounded, one at least.

    With ``leave_one`` a class that has but one image gives none.
    """
    # Python promises the sequence of Random.random() for a seed for good; NumPy's generators do not promise theirs.
    generator = random.Random(seed)
    draws = np.array([generator.random() for _ in labels])
    drawn = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        in_order = members[np.argsort(draws[members], kind="stable")]
        size = max(1, round(share * len(members)))
        drawn[in_order[: min(size, len(members) - 1) if leave_one else size]] = True
    return drawn
