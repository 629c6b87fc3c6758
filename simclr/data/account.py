"""What a set holds, in words and in pictures, and what of it looks like a mistake."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from simclr.data.content import file_hashes
from simclr.data.decoding import decode, quiet_decoders
from simclr.data.formats import SUFFIXES, formats, suffixes
from simclr.data.parts import NO_CLASS, Catalogue
from simclr.data.progress import Report, progress
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput

NAMED = 10
"""Classes, at most, of which a line names each."""
SIDE, PER_CLASS, CLASSES = 96, 8, 100
"""Of the sheet of pictures: pixels of each, how many of a class, and of how many classes at most."""
MARGIN, LINE = 4, 14


def account(found: Catalogue) -> list[str]:
    """A line for each part and its classes, and one for those that only one part has."""
    without = [f"unlabeled: {len(found.unlabeled):,} images"] if found.unlabeled else []
    if not found.classes:
        return without
    return [
        f"train: {_counts(found.train_counts, found.classes)}",
        f"{asked(found)}: {_counts(found.test_counts, found.classes)}",
        *without,
        *unasked(found),
    ]


def unasked(found: Catalogue) -> list[str]:
    """A line for the classes that only training has; none where every class is asked about."""
    names = [name for name, count in zip(found.classes, found.test_counts, strict=True) if not count]
    if not names:
        return []
    more = f", .. ({len(names)} classes)" if len(names) > NAMED else ""
    why = "too few to give any" if found.validation else "accuracy says nothing of them"
    return [f"no {asked(found)} images of {', '.join(names[:NAMED])}{more}: {why}"]


def asked(found: Catalogue) -> str:
    """What the images are called that are asked about: test, or validation where some stand in their place."""
    return "validation" if found.validation else "test"


def passed_over(found: Catalogue) -> str:
    """How many of which kind, the most frequent first; and of images that could be read, what they need."""
    kinds = sorted(found.passed_over.items(), key=lambda kind: (-kind[1], kind[0]))
    said = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    readable = {suffix for of_format in SUFFIXES.values() for suffix in of_format} - set(suffixes())
    needed = [kind for kind, _ in kinds if kind in readable]
    return said + (f" (pip install 'simclr[heic]' reads {', '.join(needed)})" if needed else "")


def _counts(counts: NDArray[np.int64], classes: tuple[str, ...]) -> str:
    present = np.flatnonzero(counts)
    if len(present) <= NAMED:
        return ", ".join(f"{counts[label]:,} {classes[label]}" for label in present)
    least, most = present[counts[present].argmin()], counts.argmax()
    return (
        f"{counts.sum():,} images of {len(present):,} classes, from {counts[least]:,} ({classes[least]}) "
        f"to {counts[most]:,} ({classes[most]})"
    )


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found in the files of a catalogue.

    Attributes:
        sizes: (N, 2) int: width and height of those that can be read, as they are stored.
        kinds: how many there are of each format and colour mode, ``JPEG RGB``.
        damaged: of each file that cannot be used a line that names it.
        twice: paths of the same content, two or more together.
        across: how many of these are of several classes or parts.
    """

    sizes: NDArray[np.int64]
    kinds: Counter[str]
    damaged: list[str]
    twice: list[list[str]]
    across: int


def inspect(found: Catalogue, cache: Path, most: int, report: Report) -> Inspection:
    """Decode every file once, and keep nothing; ``most`` are the pixels that an image may have.

    Raises:
        InvalidInput: a file cannot be opened at all.
    """
    assert found.root is not None
    root, paths = found.root, found.paths
    by_hash = defaultdict(list)
    for path, hashed in file_hashes(found.whole or found, cache).items():
        by_hash[hashed].append(path)
    twice = [sorted(same) for same in by_hash.values() if len(same) > 1]
    sizes, kinds, damaged = [], Counter[str](), []
    with (
        quiet_decoders(),
        progress("looking at", len(paths), "images", report) as advance,
        ThreadPoolExecutor(machine.cpus()) as pool,
    ):
        for seen in pool.map(lambda path: _seen(root / path, most), paths):
            advance(1)
            if isinstance(seen, str):
                damaged.append(seen)
            else:
                sizes.append(seen[:2])
                kinds[seen[2]] += 1
    parts = (("train", found.train), ("test", found.test), ("unlabeled", found.unlabeled))
    place = {
        path: (part, label) for part, split in parts for path, label in zip(split.paths, split.labels, strict=True)
    }
    across = sum(len({place.get(path) for path in same}) > 1 for same in twice)
    return Inspection(np.array(sizes, int).reshape(-1, 2), kinds, damaged, sorted(twice), across)


def _seen(path: Path, most: int) -> tuple[int, int, str] | str:
    """Width, height and kind of an image; or why it cannot be used."""
    try:
        decode(path, SIDE, most)
        with Image.open(path, formats=formats()) as image:
            return image.width, image.height, f"{image.format} {image.mode}"
    except InvalidInput as error:
        return str(error)


def sheet(found: Catalogue, most: int) -> Image.Image:
    """A row of the first pictures of each class, training and test, in their own aspect; those that can be read.

    Below them, or where there are no classes, those that have none.
    """
    assert found.root is not None
    rows = list(enumerate(found.classes))[:CLASSES]
    rows += [(NO_CLASS, "unlabeled")] if found.unlabeled else []
    width, height = PER_CLASS * (SIDE + MARGIN) + MARGIN, SIDE + LINE + 2 * MARGIN
    whole = Image.new("RGB", (width, height * len(rows)), "white")
    drawing = ImageDraw.Draw(whole)
    for row, (label, name) in enumerate(rows):
        drawing.text((MARGIN, row * height + MARGIN), name, fill="black")
        for column, picture in enumerate(islice(_pictures(found, label, most), PER_CLASS)):
            left = MARGIN + column * (SIDE + MARGIN) + (SIDE - picture.width) // 2
            whole.paste(picture, (left, row * height + MARGIN + LINE + (SIDE - picture.height) // 2))
    return whole


def _pictures(found: Catalogue, label: int, most: int) -> Iterator[Image.Image]:
    assert found.root is not None
    parts = (found.train, found.test, found.unlabeled)
    for path in (split.paths[place] for split in parts for place in np.flatnonzero(split.labels == label)):
        with suppress(InvalidInput):
            pixels, aspect = decode(found.root / path, SIDE, most)
            size = round(SIDE * min(1.0, aspect)) or 1, round(SIDE / max(1.0, aspect)) or 1
            yield Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
