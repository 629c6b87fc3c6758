"""The images as arrays: the end of the data's way, and the start of the experiment's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr.config import DataConfig
from simclr.data import digits, hub
from simclr.data.account import account, asked, passed_over
from simclr.data.arrays import decoded, place_of
from simclr.data.content import Content, content_of, digest, file_hashes, there_twice
from simclr.data.content import content as content_expected
from simclr.data.decoding import quiet_for_good
from simclr.data.packed import PACKED, Packed
from simclr.data.parts import Catalogue, order_for_good, positions
from simclr.data.progress import Report
from simclr.data.provision import ImageNet5, provide
from simclr.data.sources import catalogue
from simclr.data.stream import Chunk, StreamedSplit, gib
from simclr.foundation.errors import InvalidInput, RunFailed

LOG = logging.getLogger(__name__)
SOME = 5000
"""Images without a label, at most, that a representation is described on."""


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """N training or test images of S x S pixels; all arrays are read-only.

    Attributes:
        pixels: (N, S, S, C) uint8, the whole image squashed to a square; C is 3 (RGB) for files, where the array is
            mapped from disk, and 1 for the digits.
        labels: (N,) int32, indices into the class names; -1 for images that have none.
        aspect: (N,) float32, width / height of the upright image before it was squashed.
        paths: N paths relative to the data's folder; empty for the digits.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    aspect: NDArray[np.float32]
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        for array in (self.pixels, self.labels, self.aspect):
            array.flags.writeable = False

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
        classes: the class names, which labels are indices into; none where no image has a label.
        content: what the images are.
        train, test: the two splits.
        unlabeled: images without a label, which pretraining sees beside the training images.
        ignored: foreign files that were passed over.
        test_also_in_train: test images whose very file is a training image too.
        revision: the commit that they were taken at, of a set of the hub.
        hashes: the SHA-256 of each file by its path; of images that are no files, none.
        unchanged: looks whether the files are still what they were.
    """

    classes: tuple[str, ...]
    content: Content
    train: AnySplit
    test: AnySplit
    unlabeled: AnySplit
    ignored: int = 0
    test_also_in_train: int = 0
    revision: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    unchanged: Callable[[], bool] = lambda: True

    @property
    def digest(self) -> str:
        """64 hex digits that stand for all of the content."""
        return self.content.whole

    @cached_property
    def pretraining(self) -> AnySplit:
        """What a network is pretrained on: the training images, then those without a label."""
        return _together(self.train, self.unlabeled)

    @cached_property
    def described(self) -> tuple[AnySplit, AnySplit]:
        """The images that a representation is described on: the training images, and the test images beside them.

        Without any labels, twice the same images of those that it was trained on: :data:`SOME` at most, drawn for good.
        """
        if self.classes:
            return self.train, self.test
        some = part_of(self.unlabeled, np.sort(order_for_good(len(self.unlabeled), SOME)[:SOME]))
        return some, some

    def seen_by(self, trained: Images) -> int:
        """How many of its test images, to the byte, a network that was pretrained on others has seen."""
        paths = (*trained.train.paths, *trained.unlabeled.paths)
        seen = {trained.hashes[path] for path in paths if path in trained.hashes}
        return sum(self.hashes[path] in seen for path in self.test.paths if path in self.hashes)

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
        if not isinstance(self.train, StreamedSplit):
            return
        try:
            changed = "" if self.unchanged() else f"{self.train.root}: an image has changed"
        except InvalidInput as error:
            changed = str(error)
        if changed:
            raise RunFailed(f"{changed} since the run began; run it again, it is another data set now")


def load(config: DataConfig, cache: Path, report: Report = LOG.info, *, found: Catalogue | None = None) -> Images:
    """The configured images, downloaded where they are on no disk yet and decoded where they have not been before.

    Where the pixels would exceed ``data.cache_gib``, nothing is decoded now: they are streamed from their files.

    Args:
        config: which data, where, and the side S at which they are kept.
        cache: the folder ``<root>/data``, in which downloads and decoded images are kept.
        report: takes what there is to say while it lasts, a line at a time.
        found: what :func:`catalogue` listed, where that was asked just now: a million files are listed in seconds.

    Raises:
        InvalidInput: the data cannot be used as they are, with the folder, class or file, in one line.
        RunFailed: the download failed, or the cache cannot be written.
    """
    found = found or catalogue(config, cache)
    if config.name == "digits":
        return _digits(found, config.image_size, cache)
    published = PACKED.get(config.name) or (ImageNet5() if config.name == "imagenet5" else None)
    if published is not None and (found.needs_download or found.root == published.cached(cache)):
        provide(published, cache, report, published.local(config.root) if isinstance(published, Packed) else None)
        found = catalogue(config, cache)
    if hub.is_hub(config.name) and hub.renewed(config, cache, found, report):
        found = catalogue(config, cache)
    if found.ignored:
        report(f"{found.root}: passed over, as they are no images: {passed_over(found)}")
    # A hundred thousand files are looked at once, for all questions.
    hashes = file_hashes(found.whole or found, cache)
    files = content_of(found, hashes)
    unchanged = partial(_unchanged, found, files, cache)
    twice, of_two_classes = there_twice(found, hashes)
    own = config.name == "folder" or hub.is_hub(config.name)
    content = files if own else content_expected(found, cache)
    if not place_of(cache, content.labelled, config.image_size).exists():
        for line in account(found):
            report(line)
    if twice:
        report(
            f"{found.root}: {twice:,} of the {len(found.test):,} {asked(found)} images are training images too: "
            f"accuracies say more than is true; leave them in one part"
        )
    if of_two_classes:
        report(f"{found.root}: {of_two_classes:,} training images are in another class as well, to the byte")
    decoded_gib = gib(len(found.paths), config.image_size)
    if decoded_gib > config.cache_gib:
        limit = f"data.cache_gib={config.cache_gib:g}"
        report(f"{found.root}: images are decoded as they are used: {decoded_gib:.2g} GiB of pixels exceed {limit}")
        splits = _streamed(found, config)
    else:
        splits = _decoded(found, content, config, cache, unchanged, report)
    return Images(found.classes, content, *splits, found.ignored, twice, found.revision, hashes, unchanged)


def _unchanged(found: Catalogue, files: Content, cache: Path) -> bool:
    """Whether files are what they were; raises ``InvalidInput`` where one cannot be read any more."""
    return content_of(found, file_hashes(found.whole or found, cache)) == files


def _decoded(
    found: Catalogue, content: Content, config: DataConfig, cache: Path, unchanged: Callable[[], bool], report: Report
) -> tuple[AnySplit, AnySplit, AnySplit]:
    assert found.root is not None
    side = config.image_size
    folders = {content.labelled: {"train": found.train, "test": found.test}} if found.classes else {}
    if found.unlabeled:
        folders[content.unlabeled or content.labelled] = {"unlabeled": found.unlabeled}
    splits: dict[str, AnySplit] = {}
    failures = []
    for stands_for, parts in folders.items():
        place = place_of(cache, stands_for, side)
        try:
            arrays = decoded(found.root, parts, place, side, unchanged, report, config.most_pixels)
        except InvalidInput as failure:
            failures.append(str(failure))
            continue
        for name, (pixels, aspect) in arrays.items():
            splits[name] = ImageSplit(pixels, parts[name].labels, aspect, parts[name].paths)
    if failures:
        raise InvalidInput("; ".join(failures))
    none = ImageSplit(np.empty((0, side, side, 3), np.uint8), np.empty(0, np.int32), np.empty(0, np.float32), ())
    return splits.get("train", none), splits.get("test", none), splits.get("unlabeled", none)


def _streamed(found: Catalogue, config: DataConfig) -> tuple[AnySplit, AnySplit, AnySplit]:
    assert found.root is not None
    quiet_for_good()
    side, kept, most = config.image_size, config.cache_gib, config.most_pixels
    train, test, unlabeled = (
        StreamedSplit(found.root, side, each.labels, each.paths, kept, most)
        for each in (found.train, found.test, found.unlabeled)
    )
    return train, test, unlabeled


def part_of(split: AnySplit, places: NDArray[np.integer]) -> AnySplit:
    """The images at these places of a split."""
    labels, paths = split.labels[places], tuple(split.paths[place] for place in places) if split.paths else ()
    if isinstance(split, StreamedSplit):
        return replace(split, labels=labels, paths=paths)
    return ImageSplit(split.pixels[places], labels, split.aspect[places], paths)


def _together(first: AnySplit, second: AnySplit) -> AnySplit:
    """The images of two splits of one set, one after the other."""
    if not len(first) or not len(second):
        return first if len(first) else second
    labels, paths = np.concatenate([first.labels, second.labels]), first.paths + second.paths
    if isinstance(first, StreamedSplit) or isinstance(second, StreamedSplit):
        assert isinstance(first, StreamedSplit)
        return replace(first, labels=labels, paths=paths)
    pixels, aspect = np.concatenate([first.pixels, second.pixels]), np.concatenate([first.aspect, second.aspect])
    return ImageSplit(pixels, labels, aspect, paths)


def _digits(found: Catalogue, side: int, cache: Path) -> Images:
    bundled = digits.read()
    square = np.ones(len(bundled.labels), np.float32)
    whole = ImageSplit(digits.resized(bundled.pixels, side), bundled.labels, square, ())
    train, test = np.flatnonzero(~bundled.is_test), np.flatnonzero(bundled.is_test)
    if found.whole is not None:
        kept, held_out = positions(bundled.labels[train], found.validation, found.share)
        train, test = train[kept], train[held_out] if found.validation else test
    content, none = Content(digest(found, cache)), part_of(whole, np.arange(0))
    return Images(found.classes, content, part_of(whole, train), part_of(whole, test), none)
