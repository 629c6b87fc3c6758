"""Parts of a set that are drawn once and for good: the same on every machine and for every seed of an experiment."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simclr.data.parts import Catalogue, Split

TEST_SEED, VALIDATION_SEED, SHARE_SEED = 2400, 1250, 500


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
    order, chosen = order_for_good(len(labels), seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        size = max(1, round(share * len(members)))
        chosen[members[: min(size, len(members) - 1) if leave_one else size]] = True
    return chosen


def drawn(whole: Split, test_share: float) -> tuple[Split, Split]:
    """Both parts of images that have none: a share of each class becomes the test part."""
    tested = part_of_each_class(whole.labels, test_share, TEST_SEED, leave_one=True)
    return whole.part(np.flatnonzero(~tested)), whole.part(np.flatnonzero(tested))


def taken(whole: Catalogue, validation: float, share: float) -> Catalogue:
    """A catalogue with training images kept out and asked in place of the test's, or with fewer to train with.

    Settings are chosen without the test images when some of the training images take their place.

    Args:
        whole: what there is.
        validation: of each training class, rounded, one image at least, that stands in the test's place; 0: none. A
            class of one image keeps it.
        share: of each training class, of what is left of it, rounded, one image at least, that is trained with.
    """
    train, test = positions(whole.train.labels, validation, share)
    return replace(
        whole,
        train=whole.train.part(train),
        test=whole.train.part(test) if validation else whole.test,
        validation=validation,
        share=share,
        whole=whole,
    )


def positions(labels: NDArray[np.int32], validation: float, share: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which of the training images (N,) are trained with, and which are held out, see :func:`taken`."""
    none = np.zeros(len(labels), bool)
    held_out = part_of_each_class(labels, validation, VALIDATION_SEED, leave_one=True) if validation else none
    left = np.flatnonzero(~held_out)
    if share < 1:
        left = left[part_of_each_class(labels[left], share, SHARE_SEED)]
    return left, np.flatnonzero(held_out)
