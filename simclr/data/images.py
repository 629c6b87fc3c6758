"""The images as arrays: the end of the data's way, and the start of the experiment's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr.config import DataConfig
from simclr.data import digits, imagenet5
from simclr.data.account import account, asked, passed_over
from simclr.data.arrays import decoded, place_of
from simclr.data.content import combined, digest, file_digest, file_hashes, of_part, there_twice
from simclr.data.listing import Catalogue
from simclr.data.progress import Report
from simclr.data.provision import obtain
from simclr.data.sources import catalogue
from simclr.data.stream import Chunk, StreamedSplit, gib, quiet_for_good
from simclr.data.validation import positions
from simclr.foundation.errors import InvalidInput, RunFailed

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """N training or test images of S x S pixels; all arrays are read-only.

    Attributes:
        pixels: (N, S, S, C) uint8, the whole image squashed to a square; C is 3 (RGB) for files, where the array is
            mapped from disk, and 1 for the digits.
        labels: (N,) int32, indices into the class names.
        aspect: (N,) float32, width / height of the upright image before it was squashed.
        paths: N paths relative to the data's folder; empty for the digits.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    aspect: NDArray[np.float32]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """C."""
        return self.pixels.shape[-1]

    @property
    def side(self) -> int:
        """S."""
        return self.pixels.shape[1]

    def chunks(self, size: int, positions: NDArray[np.integer] | None = None) -> Iterator[Chunk]:
        """The images at these positions, or all, in order and ``size`` at a time."""
        for start in range(0, len(self) if positions is None else len(positions), size):
            part = slice(start, start + size)
            chosen = part if positions is None else positions[part]
            yield self.pixels[chosen], self.aspect[chosen]

    def at(self, positions: NDArray[np.integer]) -> Chunk:
        """The images at these positions."""
        return self.pixels[positions], self.aspect[positions]


AnySplit = ImageSplit | StreamedSplit
"""Images, wherever their pixels are; ``chunks``, ``at``, ``labels``, ``paths`` and ``channels`` do not tell."""


@dataclass(frozen=True, eq=False)
class Images:
    """A data set, ready to be used.

    Attributes:
        classes: the class names, which labels are indices into.
        digest: 64 hex digits that stand for the content, see :func:`simclr.data.digest`.
        train, test: the two splits.
        ignored: foreign files that were passed over.
        test_also_in_train: test images whose very file is a training image too.
        files: of streamed images, where they are and where their hashes are remembered.
    """

    classes: tuple[str, ...]
    digest: str
    train: AnySplit
    test: AnySplit
    ignored: int = 0
    test_also_in_train: int = 0
    files: tuple[Catalogue, Path] | None = None

    @property
    def counts(self) -> dict[str, list[int]]:
        """Of each class, how many training and how many test images there are."""
        parts = [np.bincount(split.labels, minlength=len(self.classes)) for split in (self.train, self.test)]
        return {name: [int(part[label]) for part in parts] for label, name in enumerate(self.classes)}

    def check(self) -> None:
        """Make sure that what was streamed is what the digest stands for: files may change while they are in use.

        Raises:
            RunFailed: one has changed since the images were loaded, or is gone.
        """
        if self.files is None:
            return
        try:
            found, cache = self.files
            now = of_part(found, file_digest(found.whole or found, cache))
            changed = "" if now == self.digest else f"{found.root}: an image has changed"
        except InvalidInput as error:
            changed = str(error)
        if changed:
            raise RunFailed(f"{changed} since the run began; run it again, it is another data set now")


def load(config: DataConfig, cache: Path, report: Report = LOG.info) -> Images:
    """The configured images, downloaded where they are on no disk yet and decoded where they have not been before.

    Where the pixels would exceed ``data.cache_gib``, nothing is decoded now: they are streamed from their files.

    Args:
        config: which data, where, and the side S at which they are kept.
        cache: the folder ``<root>/data``, in which downloads and decoded images are kept.
        report: takes what there is to say while it lasts, a line at a time.

    Raises:
        InvalidInput: the data cannot be used as they are, with the folder, class or file, in one line.
        RunFailed: the download failed, or the cache cannot be written.
    """
    found = catalogue(config, cache)
    if config.name == "digits":
        return _digits(found, config.image_size, cache)
    if config.name == "imagenet5" and (found.needs_download or found.root == imagenet5.cached(cache)):
        obtain(cache, report)
        found = catalogue(config, cache)
    if found.ignored:
        report(f"{found.root}: passed over, as they are no images: {passed_over(found)}")
    twice = of_two_classes = 0
    if config.name == "folder":
        # A hundred thousand files are looked at once, for both questions.
        hashes = file_hashes(found.whole or found, cache)
        content = of_part(found, combined(hashes.items()))
        twice, of_two_classes = there_twice(found, hashes)
    else:
        content = digest(found, cache)
    if not place_of(cache, content, config.image_size).exists():
        for line in account(found):
            report(line)
    if twice:
        report(
            f"{found.root}: {twice:,} of the {len(found.test):,} {asked(found)} images are training images too: "
            f"accuracies say more than is true; leave them in one part"
        )
    if of_two_classes:
        report(f"{found.root}: {of_two_classes:,} training images are in another class as well, to the byte")
    decoded_gib = gib(len(found.train) + len(found.test), config.image_size)
    if decoded_gib > config.cache_gib:
        limit = f"data.cache_gib={config.cache_gib:g}"
        report(f"{found.root}: images are decoded as they are used: {decoded_gib:.2g} GiB of pixels exceed {limit}")
        return replace(_streamed(found, content, config, cache), test_also_in_train=twice)
    arrays = decoded(found, content, config.image_size, cache, report, config.most_pixels)
    train = ImageSplit(arrays.train_pixels, found.train.labels, arrays.train_aspect, found.train.paths)
    test = ImageSplit(arrays.test_pixels, found.test.labels, arrays.test_aspect, found.test.paths)
    return Images(found.classes, content, train, test, found.ignored, twice)


def _streamed(found: Catalogue, content: str, config: DataConfig, cache: Path) -> Images:
    assert found.root is not None
    quiet_for_good()
    train, test = (
        StreamedSplit(found.root, config.image_size, each.labels, each.paths, config.cache_gib, config.most_pixels)
        for each in (found.train, found.test)
    )
    return Images(found.classes, content, train, test, found.ignored, files=(found, cache))


def _digits(found: Catalogue, side: int, cache: Path) -> Images:
    bundled = digits.read()
    pixels = digits.resized(bundled.pixels, side)

    def split(positions: NDArray[np.integer]) -> ImageSplit:
        arrays = (pixels[positions], bundled.labels[positions], np.ones(len(positions), np.float32))
        for array in arrays:
            array.flags.writeable = False
        return ImageSplit(*arrays, ())

    train, test = np.flatnonzero(~bundled.is_test), np.flatnonzero(bundled.is_test)
    if found.whole is not None:
        kept, held_out = positions(bundled.labels[train], found.validation, found.share)
        train, test = train[kept], train[held_out] if found.validation else test
    return Images(found.classes, digest(found, cache), split(train), split(test))
