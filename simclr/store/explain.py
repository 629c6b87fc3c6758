"""Which pretraining a configuration means, whether it is there, and if not, what it differs in from one that is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from simclr import data
from simclr.config import Config
from simclr.config.cell import Cell, describe, pretraining_identity
from simclr.foundation.files import Damaged
from simclr.foundation.work import Said, holder
from simclr.store.features import TRAINED
from simclr.store.pretraining import CHECKPOINT, Pretraining, every, find, folder, place
from simclr.training.checkpoint import Checkpoint


class Stage(Enum):
    """How far a pretraining is; of an unfinished one a checkpoint is left to go on from."""

    THERE = "there"
    MAKING = "being made"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"
    MISSING = "missing"


@dataclass(frozen=True)
class Availability:
    """Whether a pretraining is there to be used."""

    stage: Stage
    detail: str = ""
    """In words: by whom, since when, how far, or what is damaged."""
    by: str = ""
    """Who is at it, or was last."""
    epoch: int | None = None
    """The last one that was told of."""


def availability(root: str | Path, key: str, *, verify: bool = False) -> Availability:
    """Whether a pretraining is there, from files alone, with ``verify`` from their checksums; takes no claim."""
    last = holder(place(root, key).claim)
    by, epoch = (str(last.process), last.facts.get("epoch")) if last is not None else ("", None)
    try:
        found = find(root, key, verify=verify)
    except Damaged as damage:
        return Availability(Stage.DAMAGED, f"{damage}; it will be set aside and pretrained again")
    if found is not None:
        return Availability(Stage.THERE, _origin(found))
    if last is not None and last.alive:
        return Availability(Stage.MAKING, f"by {last}{_how_far(last.facts)}", by, epoch)
    checkpoint = folder(root, key) / CHECKPOINT
    if checkpoint.exists():
        return Availability(Stage.UNFINISHED, _left(checkpoint, last), by, epoch)
    return Availability(Stage.MISSING, "nobody has begun it")


def nearest(root: str | Path, identity: dict[str, Any]) -> tuple[Pretraining, dict[str, tuple[Any, Any]]] | None:
    """The finished pretraining that differs from ``identity`` in the fewest fields.

    Returns:
        It, and by field the value wanted and the value it has; None where there is no other one.
    """
    others = []
    for path in every(root):
        with contextlib.suppress(Damaged):
            if (found := find(root, path.name, verify=False)) is not None:
                has = found.manifest.get("identity", {})
                pairs = {name: (identity.get(name), has.get(name)) for name in sorted({*identity, *has})}
                others.append((found, {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}))
    return min(others, key=lambda other: len(other[1]), default=None)


def explain(config: Config) -> Iterator[str]:
    """Lines that say what a configuration's cell and pretraining are, and why it is, or is not, there.

    Raises:
        InvalidInput: the configuration or its data cannot be run.
    """
    cache = Path(config.root) / "data"
    transfers = config.transfer.name is not None
    asked = data.digest(data.catalogue(config.asked, cache), cache) if transfers else None
    cell = describe(config, data.digest(data.catalogue(config.data, cache), cache), asked)
    found = availability(config.root, cell.key, verify=True)
    yield f"cell         {cell.name}"
    recorded = Path(config.root) / "results" / cell.name / "result.json"
    yield f"result       {recorded if recorded.exists() else 'none yet'}"
    yield f"pretraining  {cell.key}"
    yield f"state        {found.stage.value}: {found.detail}"
    if found.stage is Stage.THERE:
        yield f"features     {_features(cell)}"
    if found.stage is Stage.MISSING:
        yield from _nearest_lines(cell)


def _features(cell: Cell) -> str:
    where = f"{cell.layer.name}, seen as {cell.seen}"
    pretraining = find(cell.config.root, cell.key, verify=False)
    try:
        kept = pretraining is not None and pretraining.features(cell.seen, TRAINED, cell.layer.name) is not None
    except Damaged as damage:
        return f"{where}: damaged ({damage}); they will be set aside and computed again"
    return f"{where}: {'there: the probe needs no network' if kept else 'to be computed from the weights'}"


def _nearest_lines(cell: Cell) -> Iterator[str]:
    close = nearest(cell.config.root, pretraining_identity(cell.config, cell.digest))
    if close is None:
        yield f"nearest      none: there is no finished pretraining below {cell.config.root}"
        return
    other, differing = close
    yield f"nearest      {other.key}, which differs in"
    for name, values in differing.items():
        wanted, has = ("nothing" if value is None else value for value in values)
        yield f"             {name}: {wanted} wanted, {has} there"


def _origin(found: Pretraining) -> str:
    facts = found.manifest
    host, versions = facts.get("host", {}), facts.get("versions", {})
    return (
        f"{facts['epochs']} epochs in {facts['seconds']:,.0f} s on {host.get('name', 'an unknown machine')}, "
        f"finished {facts['finished']}, with TensorFlow {versions.get('tensorflow')} and Keras {versions.get('keras')}"
    )


def _how_far(progress: dict[str, Any]) -> str:
    if "epochs" not in progress:
        return ""
    left = progress.get("seconds_left")
    return f", epoch {progress.get('epoch', 0)} of {progress['epochs']}" + (f", {left:,.0f} s left" if left else "")


def _left(checkpoint: Path, last: Said | None) -> str:
    who = "an unknown process" if last is None else f"{last.process}"
    dead = " (which gives no sign of life)" if last is not None and not last.facts.get("over") else ""
    try:
        saved = Checkpoint.load(checkpoint)
    except Damaged as damage:
        return f"left by {who}{dead}, but {damage}: it will start from the beginning"
    if saved is None:
        return f"left by {who}{dead}"
    total = f" of {last.facts['epochs']}" if last is not None and "epochs" in last.facts else ""
    return f"left by {who}{dead} after {len(saved.history)} epochs{total} (step {saved.step}); it will go on from there"
