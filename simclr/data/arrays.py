"""Decoded images on disk: built once, checked at each start, mapped into memory.

``images/<digest>-<side>/`` holds an array of pixels and one of aspect ratios for each part, and a manifest with
their shapes and checksums. The folder appears by a rename when it is finished and does not change after that. Images
without a label have a folder of their own: how many of them a network sees changes nothing about the others.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.data import publish
from simclr.data.decoding import PIXELS_MAX, decode_all, quiet_decoders
from simclr.data.parts import Split
from simclr.data.progress import Report, progress
from simclr.foundation.errors import RunFailed, one_line

# What decoding makes of a file: to be raised when it changes, so that folders made before are made again.
DECODING = 2
MANIFEST = "manifest.json"
SUMMED_MAX = 64 << 20
CHUNK = 1 << 20


Arrays = Mapping[str, tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""Of each part (N, S, S, 3) uint8 pixels and (N,) float32 width / height, read-only."""


def decoded(
    root: Path,
    parts: Mapping[str, Split],
    place: Path,
    side: int,
    unchanged: Callable[[], bool],
    report: Report,
    most: int = PIXELS_MAX,
) -> Arrays:
    """The decoded images of some parts of a set, decoding them where no start before this one has.

    A folder that is broken is set aside and built again. Two processes that build the same one at once both finish,
    and the second uses what the first has published.

    Args:
        root: the folder that paths are relative to.
        parts: the files, by the name of their part.
        place: the folder of their arrays, see :func:`place_of`.
        side: the side in pixels at which they are kept.
        unchanged: looks whether the files are still what the folder's name stands for.
        report: takes progress lines where standard error is no terminal.
        most: pixels that an image may have.

    Raises:
        InvalidInput: images cannot be decoded; all of them are named, up to twenty.
        RunFailed: the cache cannot be written or read, or an image is no longer what the digest stands for.
    """
    shapes = _shapes(parts, side)
    try:
        publish.remove_stale(place.parent)
        if place.exists():
            try:
                return _open(place, shapes)
            except _BrokenError as broken:
                aside = publish.set_aside(place)
                report(f"{place}: {broken}: set aside as {aside.name}, and decoded again")
        with publish.unfinished_folder(place) as folder:
            _build(folder, root, parts, side, report, most)
            if not unchanged():
                raise RunFailed(f"{root}: an image has changed while they were decoded; run it again")
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


def _shapes(parts: Mapping[str, Split], side: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, split in parts.items():
        shapes |= {f"{name}_pixels": (len(split), side, side, 3), f"{name}_aspect": (len(split),)}
    return shapes


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
    return {
        name.removesuffix("_pixels"): (array, arrays[name.replace("_pixels", "_aspect")])
        for name, array in arrays.items()
        if name.endswith("_pixels")
    }


def _build(folder: Path, root: Path, parts: Mapping[str, Split], side: int, report: Report, most: int) -> None:
    files: dict[str, dict[str, Any]] = {}
    # One pass over all parts, so that what cannot be decoded of any is named at once.
    paths = [root / path for split in parts.values() for path in split.paths]
    decoding = decode_all(paths, side, most=most, name_all=True)
    with quiet_decoders(), progress(f"decoding to {side} pixels", len(paths), "images", report) as advance:
        for name, split in parts.items():
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
    manifest = {"decoding": DECODING, "files": files}
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
