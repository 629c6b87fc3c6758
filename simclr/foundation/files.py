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
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from simclr.foundation import guard

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANIFEST = "manifest.json"
SET_ASIDE = ".set-aside-"
CLOCK_SECONDS = 30.0

_clocks: dict[int, tuple[float, float]] = {}
"""By device, how far its clock is ahead of this process's, and when that was seen."""


class Damaged(Exception):
    """A sealed folder is not what it was when it was sealed; says what is wrong with which file."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write, put in place by rename when the block ends well: readers see all of it or none.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            share(temporary)
            yield file
            file.flush()
            os.fsync(file.fileno())
        guard.ask(path)
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(folder: Path) -> None:
    """Make sure that names which were given in a folder outlive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path) -> Path:
    """Make a folder where there is none, and those above it, for whoever may write above, see :func:`share`."""
    for attempt in range(100):
        try:
            _make_missing(path)
            break
        except (FileNotFoundError, FileExistsError):  # somebody lets go of it, and removes it, in this moment
            if attempt == 99:  # no: something else is in the way
                raise
    return path


def _make_missing(path: Path) -> None:
    if not path.is_dir():
        _make_missing(path.parent)
        try:
            path.mkdir()
            share(path)
        except FileExistsError:
            if not path.is_dir():
                raise


def share(path: Path) -> None:
    """Let a group write to what was made in a folder of its own (writable, with the setgid bit), whatever the umask."""
    above = path.parent.stat().st_mode
    if above & stat.S_ISGID and above & stat.S_IWGRP:
        mode = path.stat().st_mode
        path.chmod(stat.S_IMODE(mode) | (0o070 if stat.S_ISDIR(mode) else 0o060))


def server_time(folder: Path) -> float:
    """The time by the clock that stamps files in a folder, which is another machine's on a network file system.

    One's own where nothing can be written there. The difference to one's own is remembered for half a minute.
    """
    device = folder.stat().st_dev
    known = _clocks.get(device)
    if known is None or time.monotonic() - known[1] > CLOCK_SECONDS:
        path, ahead = folder / f".clock-{secrets.token_hex(4)}", time.time()
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                ahead = os.fstat(descriptor).st_mtime
            finally:
                os.close(descriptor)
                path.unlink(missing_ok=True)
        known = _clocks[device] = ahead - time.monotonic(), time.monotonic()
    return known[0] + time.monotonic()


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
    """Remove what killed processes left half-written in a folder: hidden files and folders unchanged for an hour.

    A live process adds to its folder all the time, and its age is the one sign of life that other machines see too.
    """
    for path in folder.glob(".*"):
        with contextlib.suppress(OSError):
            latest = max(each.stat().st_mtime for each in (path, *path.rglob("*")))
            if server_time(folder) - latest > seconds:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """An empty folder to fill, put in place by rename when the block ends well, unless another one was first.

    Raises:
        OSError: it cannot be written or renamed.
    """
    folder = make_folder(place.with_name(f".{place.name}.{secrets.token_hex(4)}"))
    try:
        yield folder
        try:
            folder.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        sync(place.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def array_file(path: Path, dtype: str, shape: tuple[int, ...]) -> Iterator[Callable[[bytes], object]]:
    """An ``.npy`` file that is written a few rows at a time, and is there when all have been: takes their bytes.

    Written, not mapped: a full disk is then an error that can be told, where a mapped page that finds no room ends
    the process.
    """
    import numpy as np

    with whole_file(path) as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file.write


def mapped(path: Path) -> NDArray[Any]:
    """An array of an ``.npy`` file, read from disk as it is used.

    Raises:
        Damaged: it cannot be read.
    """
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"{path.name} cannot be read") from error


def now() -> str:
    """The time as files have it: ISO 8601, UTC, whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def seal(folder: Path, files: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Declare a folder finished: write its manifest, with ``facts`` and the size and SHA-256 of ``files``.

    Returns:
        The manifest as :func:`sealed` gives it.
    """
    sums = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in files}
    # What the manifest itself says is checked as well; through JSON and back, so that it is what a reader will have.
    manifest: dict[str, Any] = json.loads(json.dumps({**facts, "files": sums}, allow_nan=False))
    content = json.dumps({**manifest, "seal": _seal_of(manifest)}, indent=1)
    write_whole(folder / MANIFEST, f"{content}\n".encode())
    return manifest


def sealed(folder: Path, *, verify: bool = True) -> dict[str, Any] | None:
    """The manifest of a finished folder, after comparing every file with it; None where it is not finished, or missing.

    Without ``verify`` the files are trusted.

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
    guard.ask(folder)
    return folder.rename(aside)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        checksum = hashlib.sha256()
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
        return checksum.hexdigest()
