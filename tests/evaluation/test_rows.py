"""Rows of arrays that may be larger than the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simclr.evaluation import rows
from tests.mounts import small_disk

ARRAY = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
PLACES = np.array([3, 8, 8, 40, 41])


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_some_are_the_same_in_memory_or_as_they_are_looked_at(monkeypatch, most):
    monkeypatch.setattr(rows, "IN_MEMORY", most)
    some = rows.rows(ARRAY, PLACES)
    assert isinstance(some, np.ndarray) is (most > 0)
    assert (len(some), some.shape, some.dtype) == (5, (5, 4), np.float32)
    for part in (slice(1, 4), np.array([4, 0]), slice(None)):
        np.testing.assert_array_equal(some[part], ARRAY[PLACES][part])
    np.testing.assert_array_equal(rows.rows(some, np.array([1, 3]))[:], ARRAY[[8, 40]])


def test_all_of_many_are_the_array_itself(monkeypatch):
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    assert rows.rows(ARRAY, np.arange(50)) is ARRAY
    assert rows.rows(ARRAY, np.arange(50)[::-1]) is not ARRAY


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_parts_are_gathered_in_memory_or_on_disk_where_nothing_is_left(monkeypatch, tmp_path, most):
    monkeypatch.setattr(rows, "IN_MEMORY", most)
    folder = tmp_path / "room"
    gathered = rows.gathered((ARRAY[start : start + 7] for start in range(0, 50, 7)), 50, folder)
    assert isinstance(gathered, np.memmap) is (most == 0)
    np.testing.assert_array_equal(gathered, ARRAY)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_disk_without_room_is_an_error_and_not_the_end_of_the_process(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    with small_disk(tmp_path, megabytes=2) as disk:
        disk.leave(20_000)
        with pytest.raises(OSError, match="No space left"):
            rows.gathered(iter([np.zeros((1000, 1000), np.float32)]), 1000, disk.path)
