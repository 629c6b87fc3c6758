"""What lies in a store, what of it is used, and what may go."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simclr import result
from simclr.files import SET_ASIDE, Damaged
from simclr.store.claim import holder
from simclr.store.explain import HERE, MAKING, UNFINISHED, State, state
from simclr.store.pretraining import Pretraining, every, find, place


@dataclass(frozen=True)
class Item:
    """A pretraining in the store.

    Attributes:
        key: of it.
        what: data, encoder, head and seed; empty where that is not known.
        state: how far it is.
        size: bytes of its folder.
        changed: seconds since anything in it changed.
        results: names of the cells that were measured on it.
    """

    key: str
    what: str
    state: State
    size: int
    changed: float
    results: tuple[str, ...]


def inventory(root: str | Path) -> Iterator[Item]:
    """Every pretraining below ``root``, by key."""
    used = _users(root)
    for path in every(root):
        size, latest = _extent(path)
        found = state(root, path.name)
        what = ""
        with contextlib.suppress(Damaged):
            pretraining = find(root, path.name, verify=False)
            what = _what(pretraining) if pretraining else ""
        yield Item(path.name, what, found, size, time.time() - latest, tuple(used[path.name]))


def verify(root: str | Path) -> Iterator[tuple[Path, str | None]]:
    """Compare every file of every finished pretraining, and of its features, with its checksum.

    Yields:
        Each folder, and what is wrong with it, None where all is well.
    """
    for path in every(root):
        try:
            pretraining = find(root, path.name)
        except Damaged as damage:
            yield path, str(damage)
            continue
        if pretraining is None:
            continue
        yield path, None
        for features in sorted((path / "features").glob("[!.]*")):
            if SET_ASIDE in features.name:
                continue
            try:
                pretraining.features(features.name)
                yield features, None
            except Damaged as damage:
                yield features, str(damage)


def prunable(root: str | Path, *, unfinished: bool = False) -> Iterator[tuple[Path, str, int]]:
    """What no result uses: finished pretrainings, and folders that were set aside; never one that is being made.

    Args:
        root: as given to the runs.
        unfinished: also what is left of pretrainings that nobody is at, which could go on from there.

    Yields:
        Each folder, why it may go, and its bytes.
    """
    for item in inventory(root):
        path = place(root, item.key).progress.parent
        if item.state.name == MAKING or item.results:
            continue
        if item.state.name == HERE:
            yield path, "no result uses it", item.size
        elif unfinished or item.state.name != UNFINISHED:
            yield path, item.state.name, item.size
    for path in sorted((Path(root) / "pretrained").glob(f"*{SET_ASIDE}*")):
        yield path, "set aside as damaged", _extent(path)[0]


def remove(path: Path) -> bool:
    """Delete a folder that :func:`prunable` named; False where somebody has begun to use it in the meantime."""
    at_it = holder(place(path.parents[1], path.name))
    if at_it is not None and at_it.alive:
        return False
    doomed = path.with_name(f".{path.name}.removed")
    path.rename(doomed)  # at once out of the way of everyone who looks for it
    shutil.rmtree(doomed)
    return True


def _users(root: str | Path) -> dict[str, list[str]]:
    users: dict[str, list[str]] = defaultdict(list)
    for path, record in result.records(root):
        if record.get("status") == "finished" and isinstance(record.get("pretraining"), dict):
            users[str(record["pretraining"].get("key"))].append(path.parent.name)
    return users


def _what(pretraining: Pretraining) -> str:
    identity = pretraining.manifest.get("identity", {})
    data = str(pretraining.manifest.get("name", "")).partition("-")[0]
    return f"{data}, {identity.get('encoder.name')}, {identity.get('head.name')}, seed {identity.get('seed')}"


def _extent(path: Path) -> tuple[int, float]:
    """Bytes of a folder, and the time of the last change in it."""
    status = [each.stat() for each in (path, *path.rglob("*"))]
    return sum(each.st_size for each in status[1:]), max(each.st_mtime for each in status)
