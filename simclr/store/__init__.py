"""Pretrained networks: made once, verified, found again, taken along.

``python -m simclr.store`` lists them, says which one a configuration means and why, and more; :func:`load` gives one
in a notebook. From outside one uses what is named here, :mod:`explain <simclr.store.explain>` for the state of one, and
:mod:`inventory <simclr.store.inventory>` and :mod:`export <simclr.store.export>` for the command line. TensorFlow is
imported when a network is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simclr.foundation import guard, machine
from simclr.foundation.errors import InvalidInput
from simclr.foundation.files import Damaged
from simclr.foundation.work import Claim
from simclr.store.features import TRAINED, UNTRAINED, Features
from simclr.store.once import Place, Report, made_once, tidy
from simclr.store.pretraining import (
    CHECKPOINT,
    CONFIG,
    HISTORY,
    WEIGHTS,
    Pretraining,
    clear,
    every,
    find,
    folder,
    history,
    network,
    place,
    publish,
)
from simclr.training.checkpoint import Checkpoint

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "HISTORY",
    "TRAINED",
    "UNTRAINED",
    "WEIGHTS",
    "Claim",
    "Features",
    "Place",
    "Pretraining",
    "checkpoint",
    "clear",
    "every",
    "find",
    "folder",
    "history",
    "load",
    "made_once",
    "made_with_other_versions",
    "network",
    "place",
    "publish",
    "tidy",
]


def load(root: str | Path, key: str) -> Any:
    """A pretrained network, ready to be used elsewhere.

    Args:
        root: as given to the runs.
        key: of the pretraining, or as many of its first digits as tell it from the others.

    Returns:
        A ``keras.Model`` from images (B, H, W, C), values in [0, 1], to embeddings (B, D) float32;
        ``simclr.model.network.representation(model, "encoder")`` is the part of it that is usually wanted.

    Raises:
        InvalidInput: there is no such pretraining, or it is unfinished or damaged.
    """
    return network(named(root, key))


def named(root: str | Path, key: str) -> Pretraining:
    """The finished and intact pretraining whose key begins with ``key``.

    Raises:
        InvalidInput: there is none, more than one, or it is damaged.
    """
    matching = [path.name for path in every(root) if path.name.startswith(key)] if key else []
    if len(matching) != 1:
        known = ", ".join(path.name for path in every(root)) or "none"
        raise InvalidInput(
            f"KEY={key}: {'ambiguous' if matching else 'no such pretraining'} below {root}; known: {known}"
        )
    try:
        found = find(root, matching[0])
    except Damaged as damage:
        raise InvalidInput(f"KEY={key}: {folder(root, matching[0])} is damaged: {damage}") from damage
    if found is None:
        raise InvalidInput(f"KEY={key}: {folder(root, matching[0])} is not finished yet")
    return found


def checkpoint(where: Path, report: Report) -> Checkpoint | None:
    """The state that an unfinished pretraining goes on from; one that cannot be read is set aside."""
    try:
        return Checkpoint.load(where / CHECKPOINT)
    except Damaged as damage:
        aside = (where / CHECKPOINT).with_name(f"{CHECKPOINT}.set-aside")
        guard.ask(where)
        (where / CHECKPOINT).replace(aside)
        report(f"{where}: {damage}: set aside as {aside.name}; starting from the beginning")
        return None


def made_with_other_versions(pretraining: Pretraining) -> str:
    """A remark where a pretraining was made with another TensorFlow or Keras than is installed here, else empty."""
    here, there = machine.versions(), pretraining.manifest.get("versions", {})
    differing = [name for name in ("tensorflow", "keras") if there.get(name) != here[name]]
    return "".join(f", made with {name} {there.get(name)} (here: {here[name]})" for name in differing)
