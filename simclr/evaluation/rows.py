"""Rows of arrays that may be larger than the memory: taken as they are used, or written to disk as they are made."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.data.labels import Positions

IN_MEMORY = 1 << 28
"""Bytes of rows that are taken at once, a quarter of a gigabyte."""


class Taken:
    """Some rows of an array, taken as they are looked at."""

    def __init__(self, array: Rows, places: Positions) -> None:
        self._array, self._places = array, places

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._places), *self._array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, places: Any, /) -> NDArray[Any]:
        return self._array[self._places[places]]


Rows = NDArray[Any] | Taken
"""An array (n, D) of which a few rows are looked at a time."""


def rows(array: Rows, places: Positions) -> Rows:
    """The rows of an array at these places: in memory where they are few, else as they are looked at."""
    size = len(places) * array.dtype.itemsize * int(np.prod(array.shape[1:]))
    if size <= IN_MEMORY:
        return array[places]
    whole = len(places) == len(array) and bool((places == np.arange(len(array))).all())
    return array if whole else Taken(array, places)


def gathered(parts: Iterable[NDArray[Any]], count: int, folder: Path) -> NDArray[Any]:
    """Parts of an array, one after another: in memory where it is small, else in a file below a folder.

    The file has no name: it is gone with the last use of the array, or with the process.

    Args:
        parts: (n, ..) each, at least one.
        count: rows in all, or more than that.
        folder: on a disk with room for them.

    Raises:
        OSError: there is not.
    """
    array: NDArray[Any] | None = None
    begun = 0
    for part in parts:
        if array is None:
            shape = (count, *part.shape[1:])
            size = part.itemsize * int(np.prod(shape))
            if size <= IN_MEMORY:
                array = np.empty(shape, part.dtype)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=folder) as file:
                    os.posix_fallocate(file.fileno(), 0, size)  # a full disk is met here, where it can be said
                    array = np.memmap(file, part.dtype, "w+", shape=shape)
        array[begun : begun + len(part)] = part
        begun += len(part)
    assert array is not None
    return array[:begun]
