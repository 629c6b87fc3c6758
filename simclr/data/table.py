"""Classes from a table: a CSV file with a line for each image, in place of class folders."""

from __future__ import annotations

import csv
import hashlib
import unicodedata
from collections.abc import Container
from pathlib import Path, PurePosixPath

from simclr.data.listing import TESTS, list_unlabeled
from simclr.data.parts import Catalogue, drawn, sorted_by_path, without_labels
from simclr.foundation.errors import InvalidInput

VALID = "valid is a CSV file with the columns path, label and, unless data.test_share is given, split (train or test)"


def list_table(root: Path, table: Path, test_share: float | None = None) -> Catalogue:
    """The catalogue of the images that a table names, and of those in ``unlabeled/``; no others are any of it.

    Args:
        root: the folder that the table's paths are relative to.
        table: a CSV file in UTF-8 whose first line names its columns, ``path``, ``label`` and perhaps ``split``; more
            columns are nobody's business. Relative to ``root``.
        test_share: of each class, drawn once and for good, where there is no ``split``.

    Raises:
        InvalidInput: the table cannot be read, a line of it is wrong, or there are fewer than two classes.
    """
    file = root / table
    rows = _rows(file)
    parted = "split" in rows[0][1]
    if parted == (test_share is not None):
        found = "has a column split" if parted else "has no column split"
        raise InvalidInput(f"data.labels={table}: {found}; {VALID}")
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    seen: set[str] = set()
    for line, row in rows:
        path, label = row["path"], unicodedata.normalize("NFC", row["label"].strip())
        part = row["split"].strip().lower() if parted else "train"
        if (wrong := _wrong(path, label, part, seen)) is not None:
            raise InvalidInput(f"{file}, line {line}: {wrong}; {VALID}")
        seen.add(path)
        parts["train" if part == "train" else "test"].append((path, label))
    classes = tuple(sorted({label for _, label in parts["train"]}))
    if unknown := sorted({label for _, label in parts["test"]} - set(classes)):
        raise InvalidInput(f"{file}: the class {unknown[0]!r} has test images and no training images")
    if len(classes) < 2:
        raise InvalidInput(f"{file}: training images of {len(classes)} classes; at least two are needed")
    splits = [sorted_by_path(parts[part], classes) for part in ("train", "test")]
    train, test = splits if test_share is None else drawn(splits[0], test_share)
    if not len(test):
        raise InvalidInput(f"{file}: no test images; {VALID}")
    extra = list_unlabeled(root)
    content = "".join(f"{part}\t{path}\t{label}\n" for part in parts for path, label in sorted(parts[part]))
    return Catalogue(
        name="folder",
        classes=classes,
        train=train,
        test=test,
        unlabeled=without_labels(path for path in extra.paths if path not in seen),
        passed_over=extra.passed_over,
        test_share=test_share,
        labels=hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest(),
        root=root.absolute(),
    )


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines with their numbers, the first one's names as keys; what a short line lacks is empty."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="", skipinitialspace=True)
            missing = [column for column in ("path", "label") if column not in (reader.fieldnames or ())]
            if missing:
                raise InvalidInput(f"{file}: no column {missing[0]} in its first line; {VALID}")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInput(f"data.labels={file}: cannot be read: {reason}; {VALID}") from error
    if not rows:
        raise InvalidInput(f"{file}: no line but the first; {VALID}")
    return rows


def _wrong(path: str, label: str, part: str, seen: Container[str]) -> str | None:
    if not path:
        return "no path"
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        return f"the path {path!r} leads out of the folder"
    if not label:
        return f"no label for {path!r}"
    if part not in ("train", *TESTS):
        return f"the split {part!r} of {path!r} is none"
    return f"{path!r} is there twice" if path in seen else None
