"""What a folder of images holds, found from the names alone.

The tree is ``root/{train,test}``, and an image's class is

- the name of the folder it lies in directly below ``train`` or ``test``, however deep it lies in there:
  ``train/cat/1.jpg`` and ``train/cat/2019/may/1.jpg`` are cats;
- for an image directly in ``train`` or ``test``, what stands before the *first* underscore of its name:
  ``cat_1.jpg``, ``airplane_1038817887_adf7a57848.jpg``. (A class with an underscore in its name needs a folder.)

Images are JPEG, PNG, BMP and WebP, by their suffix in upper or lower case. Hidden files and folders and every other
file are foreign: passed over and counted. Names are compared in Unicode's NFC form, because some file systems store
an accent as a letter of its own and ``train`` and ``test`` may have come from two of them.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr.foundation.errors import InvalidInput, suggestion

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LAYOUT = "valid is a folder with train/ and test/, each with <class>/<image> or <class>_<id>.jpg in it"


@dataclass(frozen=True, eq=False)
class Split:
    """The training or the test images, in the order in which they are loaded.

    Attributes:
        paths: N paths relative to the catalogue's root, with ``/``; empty where the images are no files of their own
            (``digits``) or not there yet (a catalogue that ``needs_download``).
        labels: (N,) int32, indices into the catalogue's classes.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What there is to learn from: class names, labels and paths, without a pixel decoded.

    Attributes:
        name: the data option, ``digits``, ``imagenet5`` or ``folder``.
        classes: C names in NFC form, sorted by code point.
        train, test: the two splits. Every test class is among the training classes, not always the other way round.
        ignored: foreign files and hidden folders that were passed over.
        root: absolute folder that the paths are relative to; None where there is none.
        needs_download: the images are not on this machine yet; counts and labels are known all the same.
        validation: the share of the training images that stands in for the test's, see :mod:`simclr.data.validation`.
        share: of the training images that is trained with, likewise.
        whole: what it was taken from, where that is so.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    ignored: int = 0
    root: Path | None = None
    needs_download: bool = False
    validation: float = 0.0
    share: float = 1.0
    whole: Catalogue | None = None

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
        """The training images' paths, then the test images'."""
        return self.train.paths + self.test.paths


def list_folder(name: str, root: Path) -> Catalogue:
    """The catalogue of a tree of images, by the rules at the top of this module.

    Args:
        name: the data option that the catalogue is for.
        root: the folder that holds ``train/`` and ``test/``.

    Raises:
        InvalidInput: a folder is missing, empty or unreadable, an image has no class, there is only one class, or a
            test class has no training images.
    """
    if not root.is_dir():
        raise InvalidInput(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; {LAYOUT}")
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise InvalidInput(f"{root}: no {split}/ folder in it; {LAYOUT}")
    train, test = _list_split(root, "train"), _list_split(root, "test")
    trained, tested = set(train.classes), set(test.classes)
    classes = tuple(sorted(trained))
    if unknown := sorted(tested - trained):
        near = suggestion(unknown[0], classes)
        raise InvalidInput(f"{root}: test/ has the class {unknown[0]!r}, which train/ has not.{near}")
    if len(classes) < 2:
        raise InvalidInput(f"{root}: one class only, {classes[0]!r}; at least two are needed")
    return Catalogue(
        name=name,
        classes=classes,
        train=train.sorted_by_path(classes),
        test=test.sorted_by_path(classes),
        ignored=train.ignored + test.ignored,
        root=Path(os.path.abspath(root)),  # noqa: PTH100 - Path.absolute keeps '..', and two names would be two roots
    )


def path_order(path: str) -> tuple[bytes, bytes]:
    """The sort key of relative paths: the bytes of the NFC form, then those of the name as it is stored."""
    return stored_bytes(unicodedata.normalize("NFC", path)), stored_bytes(path)


def stored_bytes(path: str) -> bytes:
    """A path in UTF-8; bytes of a file name that are no UTF-8 come out as they are on disk."""
    return path.encode("utf-8", "surrogateescape")


@dataclass
class _Found:
    """The images of one split while its folder is walked."""

    paths: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    ignored: int = 0

    def sorted_by_path(self, classes: tuple[str, ...]) -> Split:
        index = {each: label for label, each in enumerate(classes)}
        pairs = sorted(zip(self.paths, self.classes, strict=True), key=lambda pair: path_order(pair[0]))
        labels = np.array([index[each] for _, each in pairs], np.int32)
        labels.flags.writeable = False
        return Split(tuple(path for path, _ in pairs), labels)


def _list_split(root: Path, split: str) -> _Found:
    found = _Found()
    folder = root / split
    for entry in _entries(folder):
        if entry.name.startswith("."):
            found.ignored += 1
        elif entry.is_dir():
            _list_class(entry, f"{split}/{entry.name}", found)
        elif _is_image(entry):
            label, underscore, _ = entry.name.partition("_")
            if not underscore or not label:
                raise InvalidInput(
                    f"{entry.path}: no class in its name; valid is {split}/<class>/{entry.name} or "
                    f"{split}/<class>_{entry.name.lstrip('_')}"
                )
            found.paths.append(f"{split}/{entry.name}")
            found.classes.append(unicodedata.normalize("NFC", label))
        else:
            found.ignored += 1
    if not found.paths:
        raise InvalidInput(f"{folder}: no images in it; {LAYOUT} ({', '.join(SUFFIXES)})")
    return found


def _list_class(folder: os.DirEntry[str], relative: str, found: _Found) -> None:
    before = len(found.paths)
    for path in _walk(folder.path, relative, found, ()):
        found.paths.append(path)
        found.classes.append(unicodedata.normalize("NFC", folder.name))
    if len(found.paths) == before:
        raise InvalidInput(
            f"{folder.path}: no images in this class folder; valid are files that end in {', '.join(SUFFIXES)}"
        )


def _walk(folder: str, relative: str, found: _Found, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    try:
        status = Path(folder).stat()
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read: {error.strerror}") from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        # A link to a folder is followed, as sets are often put together from links; one that leads upwards would
        # never end.
        found.ignored += 1
        return
    for entry in _entries(Path(folder)):
        if entry.name.startswith("."):
            found.ignored += 1
        elif entry.is_dir():
            yield from _walk(entry.path, f"{relative}/{entry.name}", found, (*above, here))
        elif _is_image(entry):
            yield f"{relative}/{entry.name}"
        else:
            found.ignored += 1


def _is_image(entry: os.DirEntry[str]) -> bool:
    # A link that leads nowhere counts as an image, so that whoever reads it says that it is missing.
    return entry.name.lower().endswith(SUFFIXES) and (entry.is_file() or entry.is_symlink())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read: {error.strerror}") from error
