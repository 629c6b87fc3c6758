"""A part of the images: training images kept out and asked in place of the test's, or fewer to train with.

Settings are chosen without the test images when some of the training images take their place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simclr.data.partition import part_of_each_class
from simclr.data.parts import Catalogue

SEED, SHARE_SEED = 1250, 500


def taken(whole: Catalogue, validation: float, share: float) -> Catalogue:
    """A part of a catalogue.

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
    """Which of the training images (N,) are trained with, and which are held out."""
    none = np.zeros(len(labels), bool)
    held_out = part_of_each_class(labels, validation, SEED, leave_one=True) if validation else none
    left = np.flatnonzero(~held_out)
    if share < 1:
        left = left[part_of_each_class(labels[left], share, SHARE_SEED)]
    return left, np.flatnonzero(held_out)
