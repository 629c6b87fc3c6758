"""Decoded images on disk: built once, checked at each start, mapped into memory.

``images/<digest>-<side>/`` holds an array of pixels and one of aspect ratios for each split, and a manifest with
their shapes and checksums. The folder appears by a rename when it is finished and does not change after that.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.data import publish
from simclr.data.content import file_digest, of_part
from simclr.data.decoding import PIXELS_MAX, decode_all, quiet_decoders
from simclr.data.listing import Catalogue
from simclr.data.progress import Report, progress
from simclr.foundation.errors import RunFailed, one_line

# What decoding makes of a file: to be raised when it changes, so that folders made before are made again.
DECODING = 2
MANIFEST = "manifest.json"
SUMMED_MAX = 64 << 20
CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Arrays:
    """The four arrays of a folder: (N, S, S, 3) uint8 pixels and (N,) float32 width / height, read-only."""

    train_pixels: NDArray[np.uint8]
    train_aspect: NDArray[np.float32]
    test_pixels: NDArray[np.uint8]
    test_aspect: NDArray[np.float32]


def decoded(
    catalogue: Catalogue, digest: str, side: int, cache: Path, report: Report, most: int = PIXELS_MAX
) -> Arrays:
    """The decoded images of a catalogue, decoding them where no start before this one has.

    A folder that is broken is set aside and built again. Two processes that build the same one at once both finish,
    and the second uses what the first has published.

    Args:
        catalogue: the files.
        digest: their content's digest.
        side: the side in pixels at which they are kept.
        cache: the folder below which the arrays are kept.
        report: takes progress lines where standard error is no terminal.
        most: pixels that an image may have.

    Raises:
        InvalidInput: images cannot be decoded; all of them are named, up to twenty.
        RunFailed: the cache cannot be written or read, or an image is no longer what the digest stands for.
    """
    place = place_of(cache, digest, side)
    shapes = _shapes(catalogue, side)
    try:
        publish.remove_stale(place.parent)
        if place.exists():
            try:
                return _open(place, shapes)
            except _BrokenError as broken:
                aside = publish.set_aside(place)
                report(f"{place}: {broken}: set aside as {aside.name}, and decoded again")
        with publish.unfinished_folder(place) as folder:
            _build(folder, catalogue, side, report, most)
            if of_part(catalogue, file_digest(catalogue.whole or catalogue, cache)) != digest:
                raise RunFailed(f"{catalogue.root}: an image has changed while they were decoded; run it again")
            publish.publish(folder, place)
        return _open(place, shapes)
    except _BrokenError as broken:
        raise RunFailed(f"{place}: {broken}, just after it was written; is the disk in order?") from broken
    except OSError as error:
        raise RunFailed(f"{place}: cannot be written: {one_line(error)}") from error


def place_of(cache: Path, digest: str, side: int) -> Path:
    """The folder of a set's arrays."""
    return cache / "images" / f"{digest}-{side}"


class _BrokenError(Exception):
    """What is wrong with a folder of arrays."""


def _shapes(catalogue: Catalogue, side: int) -> dict[str, tuple[int, ...]]:
    return {
        "train_pixels": (len(catalogue.train), side, side, 3),
        "train_aspect": (len(catalogue.train),),
        "test_pixels": (len(catalogue.test), side, side, 3),
        "test_aspect": (len(catalogue.test),),
    }


def _open(place: Path, shapes: dict[str, tuple[int, ...]]) -> Arrays:
    try:
        manifest: Any = json.loads((place / MANIFEST).read_bytes())
        if manifest["decoding"] != DECODING:
            raise _BrokenError("decoded by another version")
        files = manifest["files"]
        sizes = {name: int(files[name]["bytes"]) for name in shapes}
        checksums = {name: str(files[name]["sha256"]) for name in shapes}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _BrokenError(f"{MANIFEST} cannot be read") from error
    arrays = {}
    for name, shape in shapes.items():
        file = place / f"{name}.npy"
        try:
            size = file.stat().st_size
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            # A checksum of gigabytes at each start would cost more than it finds.
            checksum = _checksum(file) if sum(sizes.values()) <= SUMMED_MAX else checksums[name]
        except (OSError, ValueError, EOFError) as error:
            raise _BrokenError(f"{file.name} cannot be read") from error
        if size != sizes[name]:
            raise _BrokenError(f"{file.name} has {size:,} bytes, not {sizes[name]:,}")
        if array.shape != shape or array.dtype != (np.uint8 if name.endswith("pixels") else np.float32):
            raise _BrokenError(f"{file.name} holds {array.dtype} {array.shape}, not {shape}")
        if checksum != checksums[name]:
            raise _BrokenError(f"{file.name} has changed since it was written")
        arrays[name] = array
    return Arrays(**arrays)


def _build(folder: Path, catalogue: Catalogue, side: int, report: Report, most: int) -> None:
    assert catalogue.root is not None
    files: dict[str, dict[str, Any]] = {}
    # One pass over both splits, so that what cannot be decoded of either is named at once.
    decoding = decode_all([catalogue.root / path for path in catalogue.paths], side, most=most, name_all=True)
    total = len(catalogue.train) + len(catalogue.test)
    with quiet_decoders(), progress(f"decoding to {side} pixels", total, "images", report) as advance:
        for name, split in (("train", catalogue.train), ("test", catalogue.test)):
            aspects = []
            with _array_file(folder / f"{name}_pixels.npy", "|u1", (len(split), side, side, 3), files) as append:
                for pixels, aspect in islice(decoding, len(split)):
                    append(pixels.tobytes())
                    aspects.append(aspect)
                    advance(1)
            with _array_file(folder / f"{name}_aspect.npy", "<f4", (len(split),), files) as append:
                append(np.array(aspects, "<f4").tobytes())
        # What comes after the last image is its failures.
        next(decoding, None)
    manifest = {"decoding": DECODING, "classes": catalogue.classes, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="ascii")


@contextmanager
def _array_file(file: Path, descr: str, shape: tuple[int, ...], files: dict[str, dict[str, Any]]) -> Iterator[Any]:
    """An .npy file that is appended to and then entered in ``files``.

    Written, not mapped: a full disk is then an error that can be told, where a mapped page that finds no room ends
    the process.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    checksum = hashlib.sha256()
    with file.open("xb") as stream:

        def append(content: bytes) -> None:
            stream.write(content)
            checksum.update(content)

        append(header.getvalue())
        yield append
        stream.flush()
        os.fsync(stream.fileno())
    files[file.stem] = {"shape": shape, "bytes": file.stat().st_size, "sha256": checksum.hexdigest()}


def _checksum(file: Path) -> str:
    checksum = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            checksum.update(chunk)
    return checksum.hexdigest()
