"""What lies in a store, what of it is used, and what may go."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from simclr.foundation.files import SET_ASIDE, Damaged, sealed
from simclr.foundation.work import WORDS, holder, said
from simclr.records import result
from simclr.records.status import queued
from simclr.store.explain import Stage, availability
from simclr.store.features import FEATURES
from simclr.store.once import CLAIM, Place, at_rest
from simclr.store.pretraining import Pretraining, every, find, folder, folders

BEING_MEASURED = " (being measured)"
STALE_SECONDS = 3600.0
"""What is half-written and has not changed for so long was left by a process that is no more."""


@dataclass(frozen=True)
class Removable:
    """What may go, why, and its bytes."""

    path: Path
    reason: str
    size: int


@dataclass(frozen=True)
class Item:
    """A pretraining in the store."""

    key: str
    what: str
    """Data, encoder, head and seed; empty where that is not known."""
    stage: Stage
    size: int
    """Bytes of its folder."""
    features: int
    """Bytes of those that are features, which can be made again."""
    changed: float
    """Seconds since anything in it changed."""
    results: tuple[str, ...]
    """Names of the cells that were measured on it, are being measured, or are to be."""


def inventory(root: str | Path) -> Iterator[Item]:
    """Every pretraining below ``root``, by key."""
    used = _users(root)
    for path in every(root):
        size, latest = _extent(path)
        found = availability(root, path.name).stage
        what = ""
        with contextlib.suppress(Damaged):
            pretraining = find(root, path.name, verify=False)
            what = _what(pretraining) if pretraining else ""
        features, _ = _extent(path / FEATURES)
        yield Item(path.name, what, found, size, features, time.time() - latest, tuple(used[path.name]))


def verify(root: str | Path) -> Iterator[tuple[Path, str | None]]:
    """Compare every file of every finished pretraining, of its features and of every baseline with its checksum.

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
        for view in folders(path / FEATURES):
            yield from _verified(view)
    yield from _verified(Path(root) / "baselines")


def prunable(root: str | Path, *, unfinished: bool = False, features: bool = False) -> Iterator[Removable]:
    """What no result uses, and no cell that is being measured: pretrainings, baselines, and what was left over.

    Args:
        root: as given to the runs.
        unfinished: also what is left of pretrainings and baselines that nobody is at, which could go on from there.
        features: also those of networks that results use, but for cells that are being measured: whoever asks for them
            again waits until they are made again.
    """
    found = [*_of_pretrainings(root, unfinished, features), *_unused_baselines(root, unfinished)]
    yield from found
    whole = {each.path for each in found}
    yield from (each for each in leftovers(root) if whole.isdisjoint(each.path.parents))


def leftovers(root: str | Path) -> Iterator[Removable]:
    """What nothing ever looks at again: set aside as damaged, or left half-written by a process that was killed."""
    for part in ("pretrained", "baselines"):
        for path in sorted((Path(root) / part).rglob("*")):
            if any(_is_aside(name) or name.startswith(".") for name in path.relative_to(root).parts[1:-1]):
                continue  # goes with the folder that it is in
            size, changed = _extent(path)
            if _is_aside(path.name):
                yield Removable(path, "set aside as damaged", size)
            elif path.name.startswith(".") and path.suffix != CLAIM and time.time() - changed > STALE_SECONDS:
                yield Removable(path, "left half-written", size)


def _of_pretrainings(root: str | Path, unfinished: bool, features: bool) -> Iterator[Removable]:
    for item in inventory(root):
        path, there = folder(root, item.key), item.stage is Stage.THERE
        if item.stage is Stage.MAKING or _busy(path):
            continue
        if there and not item.results:
            yield Removable(path, "no result uses it", item.size)
        elif not item.results and (unfinished or item.stage is not Stage.UNFINISHED):
            yield Removable(path, item.stage.value, item.size)
        elif features and there and item.features and not _being_measured(item.results):
            yield Removable(path / FEATURES, "can be made again", item.features)


def _unused_baselines(root: str | Path, unfinished: bool) -> Iterator[Removable]:
    used = _users(root)
    for path in folders(Path(root) / "baselines"):
        if _busy(path):
            continue
        try:
            manifest = sealed(path, verify=False)
            reason = "unfinished" if manifest is None else "no result uses its data"
            needed = not unfinished if manifest is None else str(manifest.get("data")) in used
        except Damaged as damage:
            reason, needed = str(damage), False
        if not needed:
            yield Removable(path, reason, _extent(path)[0])


def remove(path: Path) -> bool:
    """Delete what :func:`prunable` named; False where somebody has begun to make it, or to use it, in the meantime."""
    owner = path.parent if path.name == FEATURES else path
    with at_rest(Place("", owner)) as nobody:
        if not nobody or (owner.parent.name == "pretrained" and _has_come_into_use(path, owner)):
            return False
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return True
        doomed = path.with_name(f".{path.name.lstrip('.')}.removed-{secrets.token_hex(4)}")
        path.rename(doomed)  # at once out of the way of everyone who looks for it
    shutil.rmtree(doomed)
    return True


def _has_come_into_use(path: Path, owner: Path) -> bool:
    """Whether some cell wants a network that none wanted, or is being measured on features, since that was asked."""
    names = _users(owner.parents[1])[owner.name]
    return _being_measured(names) if path.name == FEATURES else bool(names)


def _being_measured(names: Iterable[str]) -> bool:
    return any(name.endswith(BEING_MEASURED) for name in names)


def _verified(parent: Path) -> Iterator[tuple[Path, str | None]]:
    for path in folders(parent):
        try:
            if sealed(path) is not None:
                yield path, None
        except Damaged as damage:
            yield path, str(damage)


def _is_aside(name: str) -> bool:
    return SET_ASIDE in name or name.endswith(SET_ASIDE.rstrip("-"))


def _busy(path: Path) -> bool:
    last = holder(Place("", path).claim)
    return last is not None and last.alive


def _users(root: str | Path) -> dict[str, list[str]]:
    """By pretraining and by digest of data, the cells that were measured on it, are being measured, or are to be."""
    users: dict[str, list[str]] = defaultdict(list)
    for path, record in result.records(root):
        if record.get("status") == "finished" and isinstance(record.get("pretraining"), dict):
            users[str(record["pretraining"].get("key"))].append(path.parent.name)
            for images in ("data", "transfer"):  # whose digest is that of the images with labels
                users[str((record.get(images) or {}).get("digest"))].append(path.parent.name)
    for path in sorted(Path(root).glob(f"results/*/{WORDS}*")):
        at_it = said(path)
        if at_it is not None and at_it.alive:
            for used in ("pretraining", "data", "transfer"):
                users[str(at_it.facts.get(used))].append(f"{path.parent.name}{BEING_MEASURED}")
    for name, key, _ in queued(root):
        users[key].append(f"{name} (of a grid that is not over)")
    return users


def _what(pretraining: Pretraining) -> str:
    identity = pretraining.manifest.get("identity", {})
    data = str(pretraining.manifest.get("name", "")).partition("-")[0]
    return f"{data}, {identity.get('encoder.name')}, {identity.get('head.name')}, seed {identity.get('seed')}"


def _extent(path: Path) -> tuple[int, float]:
    """Bytes of a file or folder, and the time of the last change in it."""
    size, latest = 0, 0.0
    for each in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):  # what is being written comes and goes
            status = each.stat()
            size += 0 if each.is_dir() else status.st_size
            latest = max(latest, status.st_mtime)
    return size, latest
