r"""What the images are, whoever has them and wherever they lie: a SHA-256 of the content.

For files it is the hash of the lines ``<sha256>  <relative path>\n`` in byte order of the paths, which a shell says
too: ``find train test -name '*.jpg' | LC_ALL=C sort | xargs sha256sum | sha256sum``. The hashes of single files are
remembered, since hashing all of a large set takes longer than starting a run: with their size, their time of
modification, and what no program sets at will, the inode and the time of its last change. An archive's tool gives
another file of one size the old time of modification; a link that leads elsewhere leads to another inode.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr.data import imagenet5
from simclr.data.listing import list_folder
from simclr.data.parts import Catalogue, path_order
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput
from simclr.foundation.files import make_folder, whole_file

MARK = ".unpacked.json"
SCHEMA = 3
SETTLED_NS = 2_000_000_000
CHUNK = 1 << 20
PART = 64

INODE = (1 << 63) - 1
"""The bits of an inode's number that are remembered."""


@dataclass(frozen=True)
class Content:
    """What a set of images is.

    Attributes:
        labelled: 64 hex digits that stand for the training and test images, what decides which questions are asked;
            where no image has a label, for all images.
        unlabeled: for those without a label that there are besides; None where there are none.
    """

    labelled: str
    unlabeled: str | None = None

    @property
    def whole(self) -> str:
        """64 hex digits that stand for all of it, and decide what a network has seen."""
        if self.unlabeled is None:
            return self.labelled
        return _hashed(f"{self.labelled} unlabeled {self.unlabeled}")


def digest(catalogue: Catalogue, cache: Path, *, remember: bool = True) -> str:
    """64 hex digits that stand for the content that :func:`simclr.data.load` will deliver, see :func:`content`."""
    return content(catalogue, cache, remember=remember).whole


def content(catalogue: Catalogue, cache: Path, *, remember: bool = True) -> Content:
    """What :func:`simclr.data.load` will deliver.

    Of images that are to be downloaded, or were downloaded into ``cache``, it is the one content that ``load`` accepts,
    and nothing is read: ``load`` replaces a download that went bad.

    Hashes of single files are remembered in ``cache``; where it cannot be written, they are computed each time.
    ``remember=False`` writes nothing.

    Raises:
        InvalidInput: a file cannot be read, or a local copy of ``imagenet5`` is not the published one.
    """
    if catalogue.known is not None:
        digest, count = of_part(catalogue, catalogue.known), len(catalogue.unlabeled)
        return Content(digest, _hashed(f"{catalogue.known} unlabeled {count}") if count else None)
    hashes = file_hashes(catalogue.whole or catalogue, cache, remember=remember)
    if catalogue.name == "imagenet5" and (files := combined(hashes.items())) != imagenet5.CONTENT:
        raise InvalidInput(
            f"{catalogue.root}: its content is {files[:12]}, not {imagenet5.CONTENT[:12]} of the published images; "
            "valid is an unchanged copy, or none, and it is downloaded"
        )
    return content_of(catalogue, hashes)


def of_part(catalogue: Catalogue, files: str) -> str:
    """The digest of a catalogue, from that of all the files that it, or what it was taken from, has."""
    parts = [f"classes {catalogue.class_pattern!r}"] if catalogue.class_pattern is not None else []
    parts += [f"labels {catalogue.labels}"] if catalogue.labels is not None else []
    parts += [f"test share {catalogue.test_share!r}"] if catalogue.test_share is not None else []
    parts += [f"validation {catalogue.validation!r}"] if catalogue.validation else []
    parts += [f"share {catalogue.share!r}"] if catalogue.share < 1 else []
    return _hashed(" ".join([files, *parts])) if parts else files


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(catalogue: Catalogue, cache: Path, *, remember: bool = True) -> str:
    """The digest of a catalogue's files as they are on disk now, expected or not.

    Raises:
        InvalidInput: a file cannot be read, named in one line.
    """
    return combined(file_hashes(catalogue, cache, remember=remember).items())


def mark(name: str, folder: Path, facts: Mapping[str, str], test_share: float | None = None) -> None:
    """Write into a folder of images what they were unpacked from, and what they are."""
    found = list_folder(name, folder, test_share=test_share)
    files = file_digest(found, folder, remember=False)
    (folder / MARK).write_text(json.dumps({**facts, "files": files}))


def is_marked(name: str, folder: Path, facts: Mapping[str, str], cache: Path, test_share: float | None = None) -> bool:
    """Whether a folder still holds what was unpacked to it, and from where these facts say."""
    try:
        marked = json.loads((folder / MARK).read_bytes())
        files = file_digest(list_folder(name, folder, test_share=test_share), cache)
        return bool(marked == {**marked, **facts, "files": files})
    except (OSError, ValueError, TypeError):
        return False


def content_of(catalogue: Catalogue, hashes: Mapping[str, str]) -> Content:
    """What a catalogue's files are, expected or not, by the hash of each, as :func:`file_hashes` has them."""
    unlabeled = combined((path, hashes[path]) for path in catalogue.unlabeled.paths) if catalogue.unlabeled else None
    if not catalogue.classes and unlabeled is not None:
        return Content(unlabeled)
    whole = catalogue.whole or catalogue
    files = combined((path, hashes[path]) for path in whole.train.paths + whole.test.paths)
    return Content(of_part(catalogue, files), unlabeled)


def there_twice(catalogue: Catalogue, hashes: Mapping[str, str]) -> tuple[int, int]:
    """Files that are there twice, to the byte, where that makes a number wrong; by the hash of each.

    Returns:
        How many test images, or what stands in their place, are training images too, be it without a label; and how
        many training images are in another class as well.
    """
    classes: dict[str, set[int]] = {}
    for path, label in zip(catalogue.train.paths, catalogue.train.labels, strict=True):
        classes.setdefault(hashes[path], set()).add(int(label))
    seen = {*classes, *(hashes[path] for path in catalogue.unlabeled.paths)}
    return (
        sum(hashes[path] in seen for path in catalogue.test.paths),
        sum(len(classes[hashes[path]]) > 1 for path in catalogue.train.paths),
    )


def file_hashes(catalogue: Catalogue, cache: Path, *, remember: bool = True) -> dict[str, str]:
    """The SHA-256 of each of a catalogue's files as they are on disk now, by path.

    Raises:
        InvalidInput: a file cannot be read, named in one line.
    """
    assert catalogue.root is not None
    root, index, paths = catalogue.root, _index_of(catalogue.root, cache), catalogue.paths
    known, now = _read_index(index, root), _statuses(root, paths)
    rows = known.rows(paths)
    same = (rows >= 0) & (known.statuses[rows] == now).all(axis=1)
    hashes = known.hashes[rows]
    changed = np.flatnonzero(~same)
    parts = [changed[start : start + PART] for start in range(0, len(changed), PART)]
    with ThreadPoolExecutor(min(4, machine.cpus())) as pool:
        for part, found in zip(
            parts, pool.map(lambda part: _hashes(root, [paths[n] for n in part]), parts), strict=True
        ):
            hashes[part] = found
    # A file that was written a moment ago may be written again within the clock's resolution and keep its size and
    # time: it is hashed anew until it has settled.
    settled = now[:, [1, 3]].max(axis=1) < time.time_ns() - SETTLED_NS if len(now) else np.zeros(0, bool)
    kept = np.flatnonzero(settled)
    remembered = _Index(paths if len(kept) == len(paths) else tuple(paths[n] for n in kept), now[kept], hashes[kept])
    if remember and not (same[kept].all() and remembered.paths == known.paths):
        with contextlib.suppress(OSError):
            _write_index(index, root, remembered)
    text = hashes.tobytes().hex()
    return {path: text[start : start + 64] for path, start in zip(paths, range(0, len(text), 64), strict=True)}


def combined(hashes: Iterable[tuple[str, str]]) -> str:
    """The digest of pairs of relative path and SHA-256, in whatever order they come.

    >>> combined([("train/b.jpg", "02"), ("train/a.jpg", "01")]) == combined([("train/a.jpg", "01"),
    ...                                                                       ("train/b.jpg", "02")])
    True
    """
    content = hashlib.sha256()
    for (path, _), hashed in sorted((path_order(path), hashed) for path, hashed in hashes):
        content.update(hashed.encode() + b"  " + path + b"\n")
    return content.hexdigest()


def _statuses(root: Path, paths: Sequence[str]) -> NDArray[np.int64]:
    """Of files (n, 4): bytes, modified, inode, and when that last changed; times in nanoseconds."""
    found = []
    for path in paths:
        try:
            # Not Path.stat, nor Path.open below: of a hundred thousand small files, paths as objects take most of the
            # time.
            status = os.stat(f"{root}/{path}")  # noqa: PTH116
        except OSError as error:
            raise InvalidInput(f"{root / path}: cannot be read: {error.strerror}") from error
        found.append((status.st_size, status.st_mtime_ns, status.st_ino & INODE, status.st_ctime_ns))
    return np.array(found, np.int64).reshape(-1, 4)


def _hashes(root: Path, paths: Sequence[str]) -> NDArray[np.uint8]:
    """The SHA-256 of files (n, 32). A thread takes many at once: handing one over takes as long as hashing it."""
    hashes, buffer = np.empty((len(paths), 32), np.uint8), memoryview(bytearray(CHUNK))
    for number, path in enumerate(paths):
        content = hashlib.sha256()
        try:
            with open(f"{root}/{path}", "rb", buffering=0) as file:  # noqa: PTH123
                while size := file.readinto(buffer):
                    content.update(buffer[:size])
        except OSError as error:
            raise InvalidInput(f"{root / path}: cannot be read: {error.strerror}") from error
        hashes[number] = np.frombuffer(content.digest(), np.uint8)
    return hashes


@dataclass(frozen=True, eq=False)
class _Index:
    """What is remembered of K files: their paths, statuses (K, 4) and hashes (K, 32)."""

    paths: tuple[str, ...]
    statuses: NDArray[np.int64]
    hashes: NDArray[np.uint8]

    def rows(self, paths: Sequence[str]) -> NDArray[np.intp]:
        """Where each path is (n,), -1 where it is not; what is there then stands for nothing."""
        if self.paths == tuple(paths):
            return np.arange(len(paths))
        place = {path: row for row, path in enumerate(self.paths)}
        return np.fromiter((place.get(path, -1) for path in paths), np.intp, len(paths))


def _nothing() -> _Index:
    # One row, so that there is something for the place of a path that is not there.
    return _Index((), np.full((1, 4), -1, np.int64), np.zeros((1, 32), np.uint8))


def _index_of(root: Path, cache: Path) -> Path:
    # One file for each root, so that two sets that are hashed at once do not overwrite each other's.
    return cache / "hashes" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.npz"


def _read_index(index: Path, root: Path) -> _Index:
    """What was remembered for ``root``; nothing where the index is missing, broken, or of another root."""
    try:
        with np.load(index, allow_pickle=False) as stored:
            schema, of, paths, statuses, hashes = (
                stored[name] for name in ("schema", "root", "paths", "statuses", "hashes")
            )
        names = tuple(os.fsdecode(paths.tobytes()).split("\0"))
        count = len(names)
        right = (statuses.dtype, statuses.shape, hashes.dtype, hashes.shape) == (
            np.dtype(np.int64), (count, 4), np.dtype(np.uint8), (count, 32)
        )  # fmt: skip
        if schema != SCHEMA or os.fsdecode(of.tobytes()) != str(root) or not right:
            return _nothing()
        return _Index(names, statuses, hashes)
    except Exception:  # a zip file with a bit changed raises almost anything
        return _nothing()


def _write_index(index: Path, root: Path, known: _Index) -> None:
    make_folder(index.parent)
    with whole_file(index) as file:
        np.savez(
            file,
            schema=np.array(SCHEMA),
            root=np.frombuffer(os.fsencode(str(root)), np.uint8),
            # No file's name has a null byte, and one may have bytes that are no UTF-8.
            paths=np.frombuffer(os.fsencode("\0".join(known.paths)), np.uint8),
            statuses=known.statuses,
            hashes=known.hashes,
        )
