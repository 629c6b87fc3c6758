"""What a network makes of every image at one layer: arrays on disk, mapped into memory, in a folder sealed by itself.

They are computed for the layers that somebody asks for, and can be made again to the bit: whoever needs the room takes
them away (``python -m simclr.store prune --features``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.foundation.files import Damaged, array_file, make_folder, mapped, seal, sealed, set_aside, whole_file
from simclr.store.once import Report

Array = NDArray[np.float32]

FEATURES = "features"
TRAINED, UNTRAINED = "trained", "untrained"
SCHEMA = 2
"""Before it, one file held every layer and stage of both networks."""


@dataclass(frozen=True)
class Features:
    """What a network makes of every image at one layer."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def train(self) -> Array:
        """(N, D) of the training images, mapped from disk.

        Raises:
            Damaged: the file cannot be read.
        """
        return mapped(self.folder / "train.npy")

    @property
    def test(self) -> Array:
        """(M, D) of the test images, likewise."""
        return mapped(self.folder / "test.npy")

    @property
    def example_views(self) -> NDArray[np.uint8]:
        """Pairs of views of a few training images, as the network saw them in training: (P, 2, H, W, C)."""
        return mapped(self.folder / "views.npy")

    @property
    def alignment(self) -> float:
        """Mean squared distance of two views' unit features over the test images."""
        return float(self.manifest["alignment"])


def find(folder: Path) -> Features | None:
    """The features in a folder, every file compared with its checksum; None where they are not there.

    Raises:
        Damaged: they are, and something is wrong with them.
    """
    manifest = sealed(folder)
    return None if manifest is None else Features(folder, manifest)


def cleared(folder: Path, report: Report) -> Features | None:
    """The same by whoever holds the claim: what is damaged is set aside."""
    try:
        return find(folder)
    except Damaged as damage:
        report(f"{folder}: {damage}: set aside as {set_aside(folder).name}, and computed again")
        return None


@contextmanager
def writing(folders: Mapping[str, Path], part: str, count: int) -> Iterator[Callable[[Mapping[str, Array]], None]]:
    """Write the features of a part of the images at several layers, a few images at a time.

    Args:
        folders: by layer, where.
        part: ``train`` or ``test``.
        count: of images N.

    Yields:
        Takes by layer the features (n, D) of the next images; the files are there, whole, when all have been given.

    Raises:
        OSError: they cannot be written; nothing is left of them.
    """
    with ExitStack() as stack:
        files: dict[str, Callable[[bytes], object]] = {}

        def append(some: Mapping[str, Array]) -> None:
            for layer, folder in folders.items():
                rows = np.ascontiguousarray(some[layer], "<f4")
                if layer not in files:  # how wide they are is known now
                    shape = (count, rows.shape[1])
                    files[layer] = stack.enter_context(array_file(make_folder(folder) / f"{part}.npy", "<f4", shape))
                files[layer](rows.tobytes())

        yield append


def publish(folder: Path, facts: Mapping[str, Any], views: NDArray[np.uint8] | None = None) -> Features:
    """Seal features that were written, with a few pairs of views (P, 2, H, W, C) beside them where there are such.

    ``facts`` are what else is worth keeping, with views their ``alignment``.

    Raises:
        OSError: it cannot be written.
    """
    files = ["train.npy", "test.npy"]
    if views is not None:
        files.append("views.npy")
        with whole_file(folder / "views.npy") as file:
            np.save(file, views, allow_pickle=False)
    return Features(folder, seal(folder, files, {"schema": SCHEMA, **facts}))
