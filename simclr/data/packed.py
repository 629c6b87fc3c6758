"""The field's standard sets that come as one archive of raw numbers: CIFAR-10, CIFAR-100, STL-10.

Their archives of pickles would execute what is in them; the binary ones hold pixels and labels and nothing else. An
archive is known by its SHA-256 and unpacked once, into a folder of BMP files like anyone's: ``train/<class>/``,
``test/<class>/`` and ``unlabeled/``, pixel by pixel what is in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simclr.data.archive import extract
from simclr.data.content import is_marked, mark
from simclr.data.listing import absolute, list_expected, shared
from simclr.data.parts import NO_CLASS, Catalogue, not_here
from simclr.data.progress import Report, progress
from simclr.foundation.errors import InvalidInput, RunFailed
from simclr.foundation.files import sha256

RAW = ".raw"
RAW_MAX = 1 << 32

Record = tuple[str, int, NDArray[np.uint8]]
"""Part, class (-1: none) and (S, S, 3) pixels of an image."""


@dataclass(frozen=True)
class Packed:
    """A set in an archive.

    Attributes:
        name: the data option.
        url: where the archive comes from; its last part is its name.
        sha256: of the archive.
        size: of the archive in bytes.
        side: S, of its images.
        classes: names, in the order of the archive's labels.
        train, test: images of each class.
        unlabeled: images without one.
        files: what is unpacked of the archive, by name.
        read: the images in these files, which lie in a folder.
    """

    name: str
    url: str
    sha256: str
    size: int
    side: int
    classes: tuple[str, ...]
    train: int
    test: int
    unlabeled: int
    files: tuple[str, ...]
    read: Callable[[Path, Packed], Iterator[Record]]

    @property
    def archive(self) -> str:
        """The archive's name."""
        return self.url.rpartition("/")[2]

    @property
    def advice(self) -> str:
        """What to do where it cannot be downloaded."""
        return f"set SIMCLR_DATA, or data.root, to a folder that holds {self.archive}"

    @property
    def images(self) -> int:
        """How many there are in all."""
        return len(self.classes) * (self.train + self.test) + self.unlabeled

    def cached(self, cache: Path) -> Path:
        """The folder that it is unpacked to."""
        return absolute(cache / self.name)

    def local(self, root: str | None) -> Path | None:
        """The archive where it lies on this machine: below ``$SIMCLR_DATA``, or at ``root``; None where it does not.

        Raises:
            InvalidInput: a ``root`` that was asked for has none.
        """
        if (found := shared(self.archive)) is not None or root is None:
            return found
        asked = Path(root).expanduser()
        found = asked / self.archive if asked.is_dir() else asked
        if not found.is_file():
            raise InvalidInput(f"data.root={asked}: no {self.archive} there; valid is its folder, or none at all")
        return found

    def catalogue(self, cache: Path) -> Catalogue:
        """The unpacked images; where they are not there, or not whole, the known ones, with ``needs_download``."""
        known = not_here(self.name, self.classes, self.train, self.test, self.unlabeled, known=self.sha256)
        return replace(list_expected(known, self.cached(cache)), passed_over={})

    def unpack(self, archive: Path, folder: Path, report: Report) -> None:
        """Write the archive's images below an empty folder.

        Raises:
            RunFailed: it is another archive, or broken.
            OSError: the folder cannot be written.
        """
        if (found := sha256(archive)) != self.sha256:
            raise RunFailed(f"wrong bytes: the archive is {found[:12]}, expected was {self.sha256[:12]}")
        raw = folder / RAW
        raw.mkdir()
        extract(archive, raw, lambda name: name.rpartition("/")[2] if name.endswith(self.files) else None, RAW_MAX)
        with progress(f"unpacking {self.archive}", self.images, "images", report) as advance:
            for number, (part, label, pixels) in enumerate(self.read(raw, self)):
                place = folder / part / (self.classes[label] if label != NO_CLASS else "")
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(place / f"{number:06}.bmp")
                advance(1)
        shutil.rmtree(raw)
        mark(self.name, folder, {"archive": self.sha256})

    def is_right(self, cache: Path) -> bool:
        """Whether the folder still holds what was unpacked to it."""
        return is_marked(self.name, self.cached(cache), {"archive": self.sha256}, cache)


def _cifar(raw: Path, packed: Packed) -> Iterator[Record]:
    """Records of one or two bytes of label, the finer one last, and the red, the green and the blue plane."""
    labels = 2 if "cifar-100" in packed.archive else 1
    for file in packed.files:
        name = file.rpartition("/")[2]
        records = _array(raw / name, labels + 3 * packed.side**2)
        for record in records:
            planes = record[labels:].reshape(3, packed.side, packed.side)
            label = _known(int(record[labels - 1]), packed, name)
            yield "test" if name.startswith("test") else "train", label, planes.transpose(1, 2, 0)


def _stl10(raw: Path, packed: Packed) -> Iterator[Record]:
    """Planes column by column; labels, which begin with 1, in files of their own."""
    for part in ("train", "test", "unlabeled"):
        images = _array(raw / f"{part}_X.bin", 3 * packed.side**2)
        of_part = np.fromfile(raw / f"{part}_y.bin", np.uint8) if part != "unlabeled" else None
        if of_part is not None and len(of_part) != len(images):
            raise RunFailed(f"the archive is broken: {len(of_part)} labels for {len(images)} images of {part}")
        for number, record in enumerate(images):
            label = NO_CLASS if of_part is None else _known(int(of_part[number]) - 1, packed, f"{part}_y.bin")
            yield part, label, np.ascontiguousarray(record.reshape(3, packed.side, packed.side).transpose(2, 1, 0))


def _array(file: Path, width: int) -> Any:
    """A file of records as (N, width) uint8, mapped."""
    if not file.exists():
        raise RunFailed(f"the archive is broken: no {file.name} in it")
    size = file.stat().st_size
    if size == 0 or size % width:
        raise RunFailed(f"the archive is broken: {file.name} has {size:,} bytes, not a multiple of {width:,}")
    return np.memmap(file, np.uint8, "r").reshape(-1, width)


def _known(label: int, packed: Packed, file: str) -> int:
    if not 0 <= label < len(packed.classes):
        raise RunFailed(f"the archive is broken: {file} has the label {label} of {len(packed.classes)} classes")
    return label


CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
CIFAR10 = Packed(
    name="cifar10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    size=170_052_171,
    side=32,
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    train=5000,
    test=1000,
    unlabeled=0,
    files=(*(f"/data_batch_{number}.bin" for number in range(1, 6)), "/test_batch.bin"),
    read=_cifar,
)
CIFAR100 = Packed(
    name="cifar100",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    size=168_513_733,
    side=32,
    classes=tuple(CIFAR100_CLASSES.split()),
    train=500,
    test=100,
    unlabeled=0,
    files=("/train.bin", "/test.bin"),
    read=_cifar,
)
STL10 = Packed(
    name="stl10",
    url="https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    sha256="f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
    size=2_640_397_119,
    side=96,
    classes=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    train=500,
    test=800,
    unlabeled=100_000,
    files=("/train_X.bin", "/train_y.bin", "/test_X.bin", "/test_y.bin", "/unlabeled_X.bin"),
    read=_stl10,
)
PACKED = {each.name: each for each in (CIFAR10, CIFAR100, STL10)}
