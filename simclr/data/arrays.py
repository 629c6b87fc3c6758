"""Decoded images on disk: built once, checked at each start, mapped into memory.

``images/<digest>-<side>/`` holds an array of pixels and one of aspect ratios for each part, and a manifest with
their shapes and checksums. The folder appears by a rename when it is finished and does not change after that. Images
without a label have a folder of their own: how many of them a network sees changes nothing about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr.data.decoding import decode_all, quiet_decoders
from simclr.data.parts import Split
from simclr.data.progress import Report, progress
from simclr.foundation.errors import RunFailed, one_line
from simclr.foundation.files import Damaged, array_file, mapped, remove_stale, seal, sealed, set_aside, whole_folder

# What decoding makes of a file: to be raised when it changes, so that folders made before are made again.
DECODING = 2
SUMMED_MAX = 64 << 20

Arrays = Mapping[str, tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""Of each part (N, S, S, 3) uint8 pixels and (N,) float32 width / height, read-only."""


def decoded(
    root: Path,
    parts: Mapping[str, Split],
    place: Path,
    side: int,
    unchanged: Callable[[], bool],
    report: Report,
    most: int,
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
        report: see :func:`.progress`.
        most: pixels that an image may have.

    Raises:
        InvalidInput: images cannot be decoded; all of them are named, up to twenty.
        RunFailed: the cache cannot be written or read, or an image is no longer what the digest stands for.
    """
    try:
        remove_stale(place.parent)
        try:
            if place.exists():
                return _open(place, parts, side)
        except Damaged as damage:
            report(f"{place}: {damage}: set aside as {set_aside(place).name}, and decoded again")
        with whole_folder(place) as folder:
            _build(folder, root, parts, side, report, most)
            if not unchanged():
                raise RunFailed(f"{root}: an image has changed while they were decoded; run it again")
        return _open(place, parts, side)
    except Damaged as damage:
        raise RunFailed(f"{place}: {damage}, just after it was written; is the disk in order?") from damage
    except OSError as error:
        raise RunFailed(f"{place}: cannot be written: {one_line(error)}") from error


def place_of(cache: Path, digest: str, side: int) -> Path:
    """The folder of a set's arrays."""
    return cache / "images" / f"{digest}-{side}"


def _open(place: Path, parts: Mapping[str, Split], side: int) -> Arrays:
    """The arrays of a folder.

    Raises:
        Damaged: they are not what they were, or not those of these images.
    """
    manifest = sealed(place, verify=False)
    if manifest is None or manifest.get("decoding") != DECODING:
        raise Damaged("decoded by another version" if manifest else "its manifest is missing")
    if sum(each["bytes"] for each in manifest["files"].values()) <= SUMMED_MAX:
        # A checksum of gigabytes at each start would cost more than it finds.
        sealed(place)
    arrays = {}
    for name, split in parts.items():
        pixels, aspect = (mapped(place / f"{name}_{kind}.npy") for kind in ("pixels", "aspect"))
        if pixels.shape != (len(split), side, side, 3) or pixels.dtype != np.uint8:
            raise Damaged(f"{name}_pixels.npy holds {pixels.dtype} {pixels.shape}")
        if aspect.shape != (len(split),) or aspect.dtype != np.float32:
            raise Damaged(f"{name}_aspect.npy holds {aspect.dtype} {aspect.shape}")
        arrays[name] = pixels, aspect
    return arrays


def _build(folder: Path, root: Path, parts: Mapping[str, Split], side: int, report: Report, most: int) -> None:
    # One pass over all parts, so that what cannot be decoded of any is named at once.
    paths = [root / path for split in parts.values() for path in split.paths]
    decoding = decode_all(paths, side, most=most, name_all=True)
    with quiet_decoders(), progress(f"decoding to {side} pixels", len(paths), "images", report) as advance:
        for name, split in parts.items():
            aspects = np.empty(len(split), np.float32)
            with array_file(folder / f"{name}_pixels.npy", "|u1", (len(split), side, side, 3)) as append:
                for number, (pixels, aspect) in enumerate(islice(decoding, len(split))):
                    append(pixels.tobytes())
                    aspects[number] = aspect
                    advance(1)
            with array_file(folder / f"{name}_aspect.npy", "<f4", (len(split),)) as append:
                append(aspects.tobytes())
        # What comes after the last image is its failures.
        next(decoding, None)
    seal(folder, [f"{name}_{kind}.npy" for name in parts for kind in ("pixels", "aspect")], {"decoding": DECODING})
