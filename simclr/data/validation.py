"""Training images kept out of pretraining and asked in place of the test's, so that settings are chosen without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simclr.data.listing import Catalogue, Split
from simclr.data.partition import part_of_each_class

SEED = 1250


def held_out(whole: Catalogue, share: float) -> Catalogue:
    """A catalogue of training images alone: most are trained on, the rest takes the test's place.

    Args:
        whole: what there is.
        share: of each class, rounded, one at least; more than 0.
    """
    members = chosen(whole.train.labels, share)
    return replace(
        whole,
        train=_part(whole.train, ~members),
        test=_part(whole.train, members),
        validation=share,
        whole=whole,
    )


def chosen(labels: NDArray[np.int32], share: float) -> NDArray[np.bool_]:
    """Which of the training images (N,) are held out."""
    return part_of_each_class(labels, share, SEED)


def _part(split: Split, members: NDArray[np.bool_]) -> Split:
    paths = tuple(path for path, member in zip(split.paths, members, strict=True) if member) if split.paths else ()
    return Split(paths, split.labels[members])
