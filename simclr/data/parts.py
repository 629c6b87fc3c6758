"""What there is to learn from: names, labels and paths of images, without a pixel decoded, and parts of them.

A part is drawn once and for good: the same on every machine and for every seed of an experiment.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NO_CLASS = -1
TEST_SEED, VALIDATION_SEED, SHARE_SEED = 2400, 1250, 500


@dataclass(frozen=True, eq=False)
class Split:
    """The training or the test images, in the order in which they are loaded.

    Attributes:
        paths: N paths relative to the catalogue's root, with ``/``; empty where the images are no files of their own
            (``digits``) or not there yet (a catalogue that ``needs_download``).
        labels: (N,) int32, indices into the catalogue's classes; -1 for images that have none.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, places: NDArray[np.intp]) -> Split:
        """The images at these places."""
        paths = tuple(self.paths[place] for place in places) if self.paths else ()
        return Split(paths, self.labels[places])


def without_labels(paths: Iterable[str] = ()) -> Split:
    """Images that have no class, in order of their paths."""
    ordered = tuple(sorted(paths, key=path_order))
    labels = np.full(len(ordered), NO_CLASS, np.int32)
    labels.flags.writeable = False
    return Split(ordered, labels)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What there is to learn from: class names, labels and paths, without a pixel decoded.

    Attributes:
        name: the data option, ``digits``, ``imagenet5`` or ``folder``.
        classes: C names in NFC form, sorted by code point; none where no image has a label.
        train, test: the two splits. Every test class is among the training classes, not always the other way round.
        unlabeled: images without a class, for pretraining alone; as many of them as ``data.unlabeled`` asks for.
        passed_over: how many foreign files and folders there were, by kind: a suffix, ``hidden`` or a folder's name.
        class_pattern: what told the classes of file names; None for the usual one.
        test_share: of each class, what was drawn for the test part; None where there is one.
        labels: a hash of the table that tells the classes; None where names do.
        revision: the commit that it was taken at, of a set of the hub.
        known: 64 hex digits that it is known by without a look at its files, those of its archive or of its published
            content; None where the files say what it is.
        root: absolute folder that the paths are relative to; None where there is none.
        needs_download: the images are not on this machine yet; counts and labels are known all the same.
        validation: the share of the training images that stands in for the test's, see :func:`taken`.
        share: of the training images that is trained with, likewise.
        whole: what it was taken from, where that is so.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    unlabeled: Split = field(default_factory=without_labels)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    class_pattern: str | None = None
    test_share: float | None = None
    labels: str | None = None
    known: str | None = None
    revision: str | None = None
    root: Path | None = None
    needs_download: bool = False
    validation: float = 0.0
    share: float = 1.0
    whole: Catalogue | None = None

    @property
    def ignored(self) -> int:
        """Foreign files and folders that were passed over."""
        return sum(self.passed_over.values())

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """(C,) int64: training images per class."""
        return np.bincount(self.train.labels, minlength=len(self.classes)).astype(np.int64)

    @property
    def test_counts(self) -> NDArray[np.int64]:
        """(C,) int64: test images per class, 0 for a class that only training has."""
        return np.bincount(self.test.labels, minlength=len(self.classes)).astype(np.int64)

    @property
    def paths(self) -> tuple[str, ...]:
        """The training images' paths, then the test images', then those without a label."""
        return self.train.paths + self.test.paths + self.unlabeled.paths


def not_here(name: str, classes: Iterable[str], train: int, test: int, unlabeled: int = 0, *, known: str) -> Catalogue:
    """Published images before they are on this machine, so many of each class: names, counts and labels, no paths."""
    order = tuple(sorted(classes))
    labels = np.arange(len(order), dtype=np.int32)
    return Catalogue(
        name=name,
        classes=order,
        train=Split((), np.repeat(labels, train)),
        test=Split((), np.repeat(labels, test)),
        unlabeled=Split((), np.full(unlabeled, NO_CLASS, np.int32)),
        known=known,
        needs_download=True,
    )


def sorted_by_path(pairs: Iterable[tuple[str, str]], classes: tuple[str, ...]) -> Split:
    """Pairs of relative path and class as a split, its labels indices into ``classes``."""
    index = {each: label for label, each in enumerate(classes)}
    ordered = sorted(pairs, key=lambda pair: path_order(pair[0]))
    labels = np.array([index[each] for _, each in ordered], np.int32)
    labels.flags.writeable = False
    return Split(tuple(path for path, _ in ordered), labels)


def path_order(path: str) -> tuple[bytes, bytes]:
    """The sort key of relative paths: the UTF-8 bytes of the NFC form, then those of the name as it is on disk."""
    normal = unicodedata.normalize("NFC", path)
    return normal.encode("utf-8", "surrogateescape"), path.encode("utf-8", "surrogateescape")


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
    in_order = labels[order]
    for label in np.unique(labels):
        members = order[in_order == label]
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
