"""Images that stay in their files, for sets whose decoded pixels would be more than memory should hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simclr.data.decoding import decode_all
from simclr.foundation.errors import InvalidInput, RunFailed

Chunk = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Pixels (n, S, S, C) and aspects (n,) of some images of a split."""


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """N images that are decoded each time they are looked at, to the very pixels that an array would hold.

    Attributes:
        root: the folder that paths are relative to.
        side: S, the side in pixels at which images are kept.
        labels: (N,) int32, indices into the class names.
        paths: N paths.
        cache_gib: what decoded pixels may take where they are kept.
        most: pixels that an image may have in its file.
    """

    root: Path
    side: int
    labels: NDArray[np.int32]
    paths: tuple[str, ...]
    cache_gib: float
    most: int

    channels: ClassVar[int] = 3

    def __len__(self) -> int:
        return len(self.labels)

    def chunks(self, size: int, positions: NDArray[np.integer] | None = None) -> Iterator[Chunk]:
        """The images at these positions, or all, in order and ``size`` at a time; the next ones are decoded meanwhile.

        Raises:
            RunFailed: a file cannot be decoded, when its turn comes.
        """
        chosen = range(len(self)) if positions is None else positions
        files = (self.root / self.paths[position] for position in chosen)
        decoded = decode_all(files, self.side, 2 * size, self.most)
        try:
            while chunk := list(islice(decoded, size)):
                yield np.stack([pixels for pixels, _ in chunk]), np.array([aspect for _, aspect in chunk], np.float32)
        except InvalidInput as error:
            # The run is under way: this is no longer an input that it could have been refused for.
            raise RunFailed(str(error)) from error

    def at(self, positions: NDArray[np.integer]) -> Chunk:
        """The images at these positions, at least one.

        Raises:
            RunFailed: a file cannot be decoded.
        """
        return next(self.chunks(len(positions), positions))

    def may_keep(self, count: int) -> bool:
        """Whether the decoded pixels of so many of the images may be kept, as those of all may not."""
        return gib(count, self.side) <= self.cache_gib


def gib(count: int, side: int) -> float:
    """What the decoded RGB pixels of so many images take."""
    return count * side**2 * StreamedSplit.channels / 2**30
