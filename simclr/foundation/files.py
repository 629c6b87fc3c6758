"""Files that are whole or not there, and folders whose content can be checked.

A *sealed* folder has a manifest, written last, with the size and SHA-256 of each file that belongs to it: without the
manifest the folder is unfinished, and with it any later change of a file is found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

MANIFEST = "manifest.json"
SET_ASIDE = ".set-aside-"


class Damaged(Exception):
    """A sealed folder is not what it was when it was sealed; says what is wrong with which file."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write, put in place by rename when the block ends well: readers see all of it or none.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def as_file_name(text: str) -> str:
    """A text as a part of a file's name; sets of the hub have a slash in theirs.

    >>> as_file_name("uoft-cs/cifar10"), as_file_name("~/my sets/one")
    ('uoft-cs-cifar10', 'my-sets-one')
    """
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file's whole content at once, see :func:`whole_file`."""
    with whole_file(path) as file:
        file.write(content)


def remove_stale(folder: Path, seconds: float = 3600) -> None:
    """Remove what killed processes left half-written in a folder: hidden files that are older than an hour."""
    for path in folder.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > seconds:
                path.unlink()


def now() -> str:
    """The time as files have it: ISO 8601, UTC, whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def seal(folder: Path, files: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Declare a folder finished: write its manifest, with ``facts`` and the size and SHA-256 of ``files``.

    Returns:
        The manifest as :func:`sealed` gives it.
    """
    sums = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in files}
    manifest = {**facts, "files": sums}
    # What the manifest itself says is checked as well; through JSON and back, so that it is what a reader will have.
    manifest = json.loads(json.dumps(manifest, allow_nan=False))
    manifest["seal"] = _seal_of(manifest)
    write_whole(folder / MANIFEST, (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode())
    del manifest["seal"]
    return manifest


def sealed(folder: Path, *, verify: bool = True) -> dict[str, Any] | None:
    """The manifest of a finished folder, after comparing every file with it; None where it is not finished.

    Args:
        folder: which may be missing.
        verify: False trusts the files.

    Raises:
        Damaged: the manifest cannot be read, or a file is missing or not the one that was sealed.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(f"{MANIFEST} cannot be read ({error.strerror})") from error
    try:
        manifest: Any = json.loads(content)
        sums = {str(name): (int(each["bytes"]), str(each["sha256"])) for name, each in manifest["files"].items()}
        changed = manifest.pop("seal") != _seal_of(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{MANIFEST} cannot be read") from error
    if changed:
        raise Damaged(f"{MANIFEST} has changed since it was written")
    for name, (size, checksum) in sums.items() if verify else ():
        try:
            actual = (folder / name).stat().st_size
            same = actual == size and sha256(folder / name) == checksum
        except OSError as error:
            raise Damaged(f"{name} cannot be read ({error.strerror})") from error
        if not same:
            found = f"has {actual:,} bytes, not {size:,}" if actual != size else "has changed since it was written"
            raise Damaged(f"{name} {found}")
    return dict(manifest)


def _seal_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def set_aside(folder: Path) -> Path:
    """Rename a folder out of the way, to where a person can look at it; earlier ones are kept.

    Returns:
        Where it is now.
    """
    stem = f"{folder.name}{SET_ASIDE}{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"
    aside, number = folder.with_name(stem), 1
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{stem}.{number}")
    return folder.rename(aside)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        checksum = hashlib.sha256()
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
        return checksum.hexdigest()
