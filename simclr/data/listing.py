"""What a folder of images holds, found from the names alone.

The tree is ``root/{train,test}``; ``val``, ``valid`` or ``validation`` where there is no ``test``; or no such parts at
all, of which one is drawn (``data.test_share``). Where ``root`` holds nothing but one folder, that one is meant. An
image's class is

- the name of the folder it lies in directly below ``train`` or ``test``, however deep it lies in there:
  ``train/cat/1.jpg`` and ``train/cat/2019/may/1.jpg`` are cats;
- where no class has a folder, what stands before the *first* underscore of the image's own name: ``cat_1.jpg``,
  ``airplane_1038817887_adf7a57848.jpg``; or before the numbers at its end, or what a pattern says
  (``data.class_pattern``). Where the first two group files differently, ``american_bulldog_1.jpg``, nobody is asked to
  guess.

Images are known by their suffix in upper or lower case, see :mod:`.formats`. Hidden files and folders, those that
systems and programs leave behind, and every other file are foreign: passed over and counted by kind. Names are compared
in Unicode's NFC form, because some file systems store an accent as a letter of its own and ``train`` and ``test`` may
have come from two of them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr.data.formats import suffixes
from simclr.data.partition import part_of_each_class
from simclr.foundation.errors import InvalidInput, suggestion

LEFT_BEHIND = frozenset(
    {"@eadir", "@recycle", "#recycle", "$recycle.bin", "__macosx", "lost+found", "system volume information"}
)
"""Folders of thumbnails, of other systems' files and of deleted ones, in lower case."""
FIRST_UNDERSCORE, NUMBER = "first_underscore", "number"
"""Names of two patterns, for ``data.class_pattern``: what stands before the first underscore, before the numbers."""
NAMED = 3
TESTS = ("test", "val", "valid", "validation")
"""Names of the test part, the first that there is."""
TEST_SEED = 2400
LAYOUT = "valid is a folder with train/ and test/, each with <class>/<image> or <class>_<id>.jpg in it"
DRAWN = "or, without a test part, data.test_share=0.2"


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

    def part(self, places: NDArray[np.intp]) -> Split:
        """The images at these places."""
        paths = tuple(self.paths[place] for place in places) if self.paths else ()
        return Split(paths, self.labels[places])


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What there is to learn from: class names, labels and paths, without a pixel decoded.

    Attributes:
        name: the data option, ``digits``, ``imagenet5`` or ``folder``.
        classes: C names in NFC form, sorted by code point.
        train, test: the two splits. Every test class is among the training classes, not always the other way round.
        passed_over: how many foreign files and folders there were, by kind: a suffix, ``hidden`` or a folder's name.
        class_pattern: what told the classes of file names; None for the usual one.
        test_share: of each class, what was drawn for the test part; None where there is one.
        labels: a hash of the table that tells the classes; None where names do.
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
    passed_over: Mapping[str, int] = field(default_factory=dict)
    class_pattern: str | None = None
    test_share: float | None = None
    labels: str | None = None
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
        """The training images' paths, then the test images'."""
        return self.train.paths + self.test.paths


def list_folder(name: str, root: Path, class_pattern: str | None = None, test_share: float | None = None) -> Catalogue:
    """The catalogue of a tree of images, by the rules at the top of this module.

    Args:
        name: the data option that the catalogue is for.
        root: the folder that holds ``train/`` and ``test/``.
        class_pattern: how file names tell classes: ``first_underscore``, ``number``, or a regular expression for the
            whole name without its suffix, whose first group is the class; None for the first where it cannot be
            mistaken.
        test_share: of each class, drawn once and for good, of a folder without a test part.

    Raises:
        InvalidInput: a folder is missing, empty or unreadable, an image has no class or one of two, layouts are mixed,
            a link leads nowhere, there is only one class, or a test class has no training images.
    """
    if not root.is_dir():
        raise InvalidInput(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; {LAYOUT}")
    root = _inner(root)
    parts = [_list_part(root, part, class_pattern) for part in _parts(root, test_share)]
    if class_pattern is None:
        _check_unmistakable(root, [pair for part in parts for pair in part.named])
    trained, tested = set(parts[0].classes), set(parts[-1].classes)
    classes = tuple(sorted(trained))
    if unknown := sorted(tested - trained):
        near = suggestion(unknown[0], classes)
        raise InvalidInput(f"{root}: {parts[1].name}/ has the class {unknown[0]!r}, which train/ has not.{near}")
    if len(classes) < 2:
        raise InvalidInput(f"{root}: one class only, {classes[0]!r}; at least two are needed")
    splits = [sorted_by_path(zip(part.paths, part.classes, strict=True), classes) for part in parts]
    train, test = splits if test_share is None else drawn(splits[0], test_share)
    return Catalogue(
        name=name,
        classes=classes,
        train=train,
        test=test,
        passed_over=sum((part.passed_over for part in parts), Counter[str]()),
        class_pattern=class_pattern,
        test_share=test_share,
        root=Path(os.path.abspath(root)),  # noqa: PTH100 - Path.absolute keeps '..', and two names would be two roots
    )


def _inner(root: Path) -> Path:
    """The folder that holds the parts or classes: where ``root`` holds one folder and nothing else, that one."""
    inside = [entry for entry in _entries(root) if _foreign_kind(entry) is None]
    single = len(inside) == 1 and inside[0].is_dir() and inside[0].name not in ("train", *TESTS)
    if single and any(entry.is_dir() for entry in _entries(Path(inside[0].path))):
        return Path(inside[0].path)
    return root


def _parts(root: Path, test_share: float | None) -> list[str]:
    """The folders of a set's parts: training and test; or the one that both are drawn from, ``""`` for the root."""
    tests = [part for part in TESTS if (root / part).is_dir()]
    if not (root / "train").is_dir():
        if tests:
            raise InvalidInput(f"{root}: no train/ folder in it; {LAYOUT}")
        if test_share is None:
            raise InvalidInput(f"{root}: no train/ folder in it; {LAYOUT}; {DRAWN}")
        return [""]
    if test_share is not None:
        if tests:
            raise InvalidInput(f"data.test_share={test_share:g}: {root} has a test part of its own, {tests[0]}/")
        return ["train"]
    if not tests:
        raise InvalidInput(f"{root}: no test/ folder in it; {LAYOUT}; {DRAWN}")
    if tests[0] != TESTS[0] and len(tests) > 1:
        raise InvalidInput(
            f"{root}: {' and '.join(f'{part}/' for part in tests)}, but no test/: which of them is asked?"
        )
    return ["train", tests[0]]


def drawn(whole: Split, test_share: float) -> tuple[Split, Split]:
    """Both parts of images that have none: a share of each class becomes the test part."""
    tested = part_of_each_class(whole.labels, test_share, TEST_SEED, leave_one=True)
    return whole.part(np.flatnonzero(~tested)), whole.part(np.flatnonzero(tested))


def sorted_by_path(pairs: Iterable[tuple[str, str]], classes: tuple[str, ...]) -> Split:
    """Pairs of relative path and class as a split, its labels indices into ``classes``."""
    index = {each: label for label, each in enumerate(classes)}
    ordered = sorted(pairs, key=lambda pair: path_order(pair[0]))
    labels = np.array([index[each] for _, each in ordered], np.int32)
    labels.flags.writeable = False
    return Split(tuple(path for path, _ in ordered), labels)


def path_order(path: str) -> tuple[bytes, bytes]:
    """The sort key of relative paths: the bytes of the NFC form, then those of the name as it is stored."""
    return stored_bytes(unicodedata.normalize("NFC", path)), stored_bytes(path)


def stored_bytes(path: str) -> bytes:
    """A path in UTF-8; bytes of a file name that are no UTF-8 come out as they are on disk."""
    return path.encode("utf-8", "surrogateescape")


@dataclass
class _Found:
    """The images of one part while its folder is walked."""

    name: str = ""
    paths: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    named: list[tuple[str, str]] = field(default_factory=list)  # files whose names tell their classes, and these
    passed_over: Counter[str] = field(default_factory=Counter)

    def foreign(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry is passed over whatever it holds; counts it."""
        kind = _foreign_kind(entry)
        if kind is not None:
            self.passed_over[kind] += 1
        return kind is not None

    def no_image(self, entry: os.DirEntry[str]) -> None:
        """Count a file that is none.

        Raises:
            InvalidInput: it may be a folder of images for all that can be known, as it is a link that leads nowhere.
        """
        suffix = Path(entry.name).suffix.lower()
        if not suffix and entry.is_symlink() and not entry.is_file():
            raise InvalidInput(f"{entry.path}: a link that leads nowhere")
        self.passed_over[suffix or "no suffix"] += 1


def _foreign_kind(entry: os.DirEntry[str]) -> str | None:
    """What an entry is called that is passed over whatever it holds; None for any other."""
    if entry.name.startswith("."):
        return "hidden"
    return entry.name if entry.name.lower() in LEFT_BEHIND and entry.is_dir() else None


def _list_part(root: Path, part: str, class_pattern: str | None) -> _Found:
    found, loose = _Found(part), []
    folder, above = root / part, f"{part}/" if part else ""
    for entry in _entries(folder):
        if found.foreign(entry):
            continue
        if entry.is_dir():
            _list_class(entry, f"{above}{entry.name}", found)
        elif _is_image(entry):
            loose.append(entry.name)
        else:
            found.no_image(entry)
    if loose and found.paths:
        names = ", ".join(loose[:NAMED]) + (", .." if len(loose) > NAMED else "")
        raise InvalidInput(
            f"{folder}: images lie beside the class folders: {len(loose)} ({names}); valid is a folder for every "
            "class, or none at all"
        )
    labels = _classes_of_names(folder, loose, class_pattern)
    found.named += zip(loose, labels, strict=True)
    found.paths += [f"{above}{name}" for name in loose]
    found.classes += labels
    if not found.paths:
        raise InvalidInput(f"{folder}: no images in it; {LAYOUT} ({', '.join(suffixes())})")
    return found


def _classes_of_names(folder: Path, names: list[str], class_pattern: str | None) -> list[str]:
    """The class of each image by its name, in NFC form."""
    chosen = _rule(class_pattern)
    classes = []
    for name in names:
        label = chosen(name)
        if not label:
            by = f"data.class_pattern={class_pattern} finds " if class_pattern else ""
            raise InvalidInput(
                f"{folder / name}: {by}no class in its name; valid is {folder.name}/<class>/{name} or "
                f"{folder.name}/<class>_{name.lstrip('_')}"
            )
        classes.append(unicodedata.normalize("NFC", label))
    return classes


def _rule(class_pattern: str | None) -> Callable[[str], str | None]:
    """What tells the class of a file's name, None where it has none."""
    if class_pattern in (None, FIRST_UNDERSCORE):
        return _before_underscore
    if class_pattern == NUMBER:
        return _before_numbers
    wrong = f"data.class_pattern={class_pattern}: valid is {FIRST_UNDERSCORE}, {NUMBER}, or a regular expression"
    try:
        expression = re.compile(class_pattern)
    except re.error as error:
        raise InvalidInput(f"{wrong}: {error}") from error
    if expression.groups == 0:
        raise InvalidInput(f"{wrong} with a group, in (), that is the class")

    def first_group(name: str) -> str | None:
        match = expression.fullmatch(Path(name).stem)
        return match[1] if match else None

    return first_group


def _before_underscore(name: str) -> str | None:
    label, underscore, _ = name.partition("_")
    return label if underscore else None


def _before_numbers(name: str) -> str | None:
    """Without the parts at its end that have a digit in them; of a name that has none there, all of it."""
    parts = Path(name).stem.split("_")
    while len(parts) > 1 and any(letter.isdecimal() for letter in parts[-1]):
        parts.pop()
    return "_".join(parts)


def _check_unmistakable(root: Path, named: list[tuple[str, str]]) -> None:
    """Raise where the numbers at the end of the names tell of other classes than their first underscores."""
    others: dict[str, tuple[str, str]] = {}
    for name, label in named:
        other = unicodedata.normalize("NFC", _before_numbers(name) or "")
        if other == Path(name).stem:
            continue  # no number at its end
        known, first = others.setdefault(label, (other, name))
        if known != other:
            raise InvalidInput(
                f"{root}: {first} and {name} are both {label!r} by what stands before the first underscore, and "
                f"{known!r} and {other!r} by what stands before the number; data.class_pattern={FIRST_UNDERSCORE} or "
                f"data.class_pattern={NUMBER} says which"
            )


def _list_class(folder: os.DirEntry[str], relative: str, found: _Found) -> None:
    before = len(found.paths)
    for path in _walk(folder.path, relative, found, ()):
        found.paths.append(path)
        found.classes.append(unicodedata.normalize("NFC", folder.name))
    if len(found.paths) == before:
        raise InvalidInput(
            f"{folder.path}: no images in this class folder; valid are files that end in {', '.join(suffixes())}"
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
        found.passed_over["a link upwards"] += 1
        return
    for entry in _entries(Path(folder)):
        if found.foreign(entry):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, f"{relative}/{entry.name}", found, (*above, here))
        elif _is_image(entry):
            yield f"{relative}/{entry.name}"
        else:
            found.no_image(entry)


def _is_image(entry: os.DirEntry[str]) -> bool:
    # A link that leads nowhere counts as an image, so that whoever reads it says that it is missing.
    return entry.name.lower().endswith(suffixes()) and (entry.is_file() or entry.is_symlink())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read: {error.strerror}") from error
