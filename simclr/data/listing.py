"""What a folder of images holds, found from the names alone.

The tree is ``root/{train,test}``; ``val``, ``valid`` or ``validation`` where there is no ``test``; or no such parts at
all, of which one is drawn (``data.test_share``). Beside them ``unlabeled/`` has images without a class, at any depth;
in a folder that has neither parts nor a share to be drawn all images are of that kind. Where ``root`` holds nothing but
one folder, that one is meant. An image's class is

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
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from simclr.data.class_names import check_unmistakable, classes_of_names
from simclr.data.formats import suffixes
from simclr.data.parts import Catalogue, drawn, sorted_by_path, without_labels
from simclr.foundation.errors import InvalidInput, suggestion

LEFT_BEHIND = frozenset(
    {"@eadir", "@recycle", "#recycle", "$recycle.bin", "__macosx", "lost+found", "system volume information"}
)
"""Folders of thumbnails, of other systems' files and of deleted ones, in lower case."""
NAMED = 3
TESTS = ("test", "val", "valid", "validation")
"""Names of the test part, the first that there is."""
UNLABELED = "unlabeled"
LAYOUT = "valid is a folder with train/ and test/, each with <class>/<image> or <class>_<id>.jpg in it"
DRAWN = "or, without a test part, data.test_share=0.2"
CLASSLESS = f"no train/ folder in it; {LAYOUT}; {DRAWN}; or, without any labels, probe=none"


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
    check_folder(root, valid=f"; {LAYOUT}")
    root = _inner(root)
    extra = list_unlabeled(root)
    named = _parts(root, test_share)
    if not named:
        return _without_classes(name, root, extra)
    parts = [_list_part(root, part, class_pattern) for part in named]
    if class_pattern is None:
        check_unmistakable(root, [pair for part in parts for pair in part.named])
    trained, tested = set(parts[0].classes), set(parts[-1].classes)
    classes = tuple(sorted(trained))
    if unknown := sorted(tested - trained):
        near = suggestion(unknown[0], classes)
        raise InvalidInput(f"{root}: {named[1]}/ has the class {unknown[0]!r}, which train/ has not.{near}")
    if len(classes) < 2:
        raise InvalidInput(f"{root}: one class only, {classes[0]!r}; at least two are needed")
    splits = [sorted_by_path(zip(part.paths, part.classes, strict=True), classes) for part in parts]
    train, test = splits if test_share is None else drawn(splits[0], test_share)
    return Catalogue(
        name=name,
        classes=classes,
        train=train,
        test=test,
        unlabeled=without_labels(extra.paths),
        passed_over=sum((part.passed_over for part in [*parts, extra]), Counter[str]()),
        class_pattern=class_pattern,
        test_share=test_share,
        root=absolute(root),
    )


def list_unlabeled(root: Path) -> Found:
    """The images below ``root/unlabeled``, none where there is no such folder."""
    found, folder = Found(), root / UNLABELED
    if folder.is_dir():
        found.paths += _walk(str(folder), f"{UNLABELED}/", found)
        if not found.paths:
            raise InvalidInput(f"{folder}: no images in it; {_suffixed()}")
    return found


def list_images(root: Path) -> tuple[str, ...]:
    """Every image below a folder, relative to it, whatever it is of.

    Raises:
        InvalidInput: there is no such folder, none in it, or a part of it cannot be read.
    """
    check_folder(root)
    paths = without_labels(_walk(str(root), "", Found())).paths
    if not paths:
        raise InvalidInput(f"{root}: no images in it; {_suffixed()}")
    return paths


def check_folder(root: Path, key: str = "", valid: str = "") -> None:
    """Raise where there is no such folder, with the ``key=`` that asked for it, and what is valid."""
    if not root.is_dir():
        raise InvalidInput(f"{key}{root}: {'not a folder' if root.exists() else 'no such folder'}{valid}")


def _suffixed() -> str:
    return f"valid are files that end in {', '.join(suffixes())}"


def list_expected(known: Catalogue, folder: Path) -> Catalogue:
    """The catalogue of a folder that should hold known images; the known one where it holds others, or not all."""
    try:
        found = list_folder(known.name, folder)
    except InvalidInput:
        return known
    whole = (
        found.classes == known.classes
        and np.array_equal(found.train_counts, known.train_counts)
        and np.array_equal(found.test_counts, known.test_counts)
        and len(found.unlabeled) == len(known.unlabeled)
    )
    return replace(found, known=known.known) if whole else known


def _without_classes(name: str, root: Path, extra: Found) -> Catalogue:
    """The catalogue of a folder that says nothing of classes: those of ``unlabeled/``, else all that there are."""
    if not extra.paths:
        extra.paths += _walk(str(root), "", extra)
    if not extra.paths:
        raise InvalidInput(f"{root}: no images in it; {LAYOUT} ({', '.join(suffixes())})")
    return Catalogue(
        name=name,
        classes=(),
        train=without_labels(),
        test=without_labels(),
        unlabeled=without_labels(extra.paths),
        passed_over=extra.passed_over,
        root=absolute(root),
    )


def shared(name: str) -> Path | None:
    """What lies below ``$SIMCLR_DATA`` by that name; None where nothing does."""
    folder = os.environ.get("SIMCLR_DATA")
    found = Path(folder).expanduser() / name if folder else None
    return found if found is not None and found.exists() else None


def absolute(root: Path) -> Path:
    """The one name of a folder of images: Path.absolute keeps '..', and two names would be two roots."""
    return Path(os.path.abspath(root))  # noqa: PTH100 - see above


def _inner(root: Path) -> Path:
    """The folder that holds the parts or classes: where ``root`` holds one folder and nothing else, that one."""
    inside = [entry for entry in _entries(root) if _foreign_kind(entry) is None]
    single = len(inside) == 1 and inside[0].is_dir() and inside[0].name not in ("train", *TESTS, UNLABELED)
    if single and any(entry.is_dir() for entry in _entries(Path(inside[0].path))):
        return Path(inside[0].path)
    return root


def _parts(root: Path, test_share: float | None) -> list[str]:
    """The folders of a set's parts: training and test; or the one that both are drawn from, ``""`` for the root.

    None at all where nothing says that the images have classes.
    """
    tests = [part for part in TESTS if (root / part).is_dir()]
    if not (root / "train").is_dir():
        if tests:
            raise InvalidInput(f"{root}: no train/ folder in it; {LAYOUT}")
        return [] if test_share is None else [""]
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


@dataclass
class Found:
    """The images of one part while its folder is walked."""

    paths: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    named: list[tuple[str, str]] = field(default_factory=list)  # files whose names tell their classes, and these
    passed_over: Counter[str] = field(default_factory=Counter)

    def entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """The folders and the images in a folder; whatever else is there is counted.

        Raises:
            InvalidInput: a link leads nowhere and may have led to a folder of images for all that can be known.
        """
        for entry in _entries(folder):
            kind = _foreign_kind(entry)
            if kind is None and (entry.is_dir() or _is_image(entry)):
                yield entry
                continue
            if kind is None:
                kind = Path(entry.name).suffix.lower() or "no suffix"
                if kind == "no suffix" and entry.is_symlink() and not entry.is_file():
                    raise InvalidInput(f"{entry.path}: a link that leads nowhere")
            self.passed_over[kind] += 1


def _foreign_kind(entry: os.DirEntry[str]) -> str | None:
    """What an entry is called that is passed over whatever it holds; None for any other."""
    if entry.name.startswith("."):
        return "hidden"
    return entry.name if entry.name.lower() in LEFT_BEHIND and entry.is_dir() else None


def _list_part(root: Path, part: str, class_pattern: str | None) -> Found:
    found, loose = Found(), []
    folder, above = root / part, f"{part}/" if part else ""
    for entry in found.entries(folder):
        if not entry.is_dir():
            loose.append(entry.name)
        elif part or entry.name != UNLABELED:
            paths = list(_walk(entry.path, f"{above}{entry.name}/", found))
            if not paths:
                raise InvalidInput(f"{entry.path}: no images in this class folder; {_suffixed()}")
            found.paths += paths
            found.classes += [unicodedata.normalize("NFC", entry.name)] * len(paths)
    if loose and found.paths:
        names = ", ".join(loose[:NAMED]) + (", .." if len(loose) > NAMED else "")
        raise InvalidInput(
            f"{folder}: images lie beside the class folders: {len(loose)} ({names}); valid is a folder for every "
            "class, or none at all"
        )
    labels = classes_of_names(folder, loose, class_pattern)
    found.named += zip(loose, labels, strict=True)
    found.paths += [f"{above}{name}" for name in loose]
    found.classes += labels
    if not found.paths:
        raise InvalidInput(f"{folder}: no images in it; {LAYOUT} ({', '.join(suffixes())})")
    return found


def _walk(folder: str, prefix: str, found: Found, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Every image below a folder that lies below others; the ``prefix`` is that of its name."""
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
    for entry in found.entries(Path(folder)):
        if entry.is_dir():
            yield from _walk(entry.path, f"{prefix}{entry.name}/", found, (*above, here))
        else:
            yield f"{prefix}{entry.name}"


def _is_image(entry: os.DirEntry[str]) -> bool:
    # A link that leads nowhere counts as an image, so that whoever reads it says that it is missing.
    return entry.name.lower().endswith(suffixes()) and (entry.is_file() or entry.is_symlink())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read: {error.strerror}") from error
