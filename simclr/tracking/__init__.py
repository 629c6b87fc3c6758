"""Weights & Biases: a cell as a run that is worth looking at, and pretrained networks as artifacts.

A cell's result never depends on it. What goes wrong here is told in one line, with the command that sends later what
was not sent now; every call that waits for a server waits for so long and no longer (:class:`Patience`); and a run that
cannot begin online is kept offline. The client is imported when a run starts, and never where ``tracking.mode`` is
``disabled``; nothing else of ours imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simclr.config import Config
from simclr.config.cell import Cell
from simclr.tracking.claims import Claim
from simclr.tracking.client import Patience
from simclr.tracking.content import Material, configuration
from simclr.tracking.tracker import Tracker

__all__ = ["Claim", "Material", "Patience", "Tracker", "skip", "start"]


def start(
    config: Config,
    cell: Cell,
    patience: Patience | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Tracker:
    """Begin the cell's run, or go on in it where it was resumed.

    Args:
        config: ``tracking`` says how and where, ``root`` below which folder.
        cell: what is run; the run is named after it, so that a resumed cell finds its run again.
        patience: how long a server may take.
        meanwhile: called while the client's process starts, where it does: something else that is to be done anyway.

    Returns:
        A tracker that takes all that it is told, whether or not there is anyone to pass it on to.
    """
    facts = {
        "cell": cell.name,
        "pretraining.key": cell.key,
        "data.digest": cell.digest,
        "layer.name": cell.layer.name,
        "layer.index": cell.layer.index,
        "layer.width": cell.layer.width,
    }
    group = f"{config.head.name}-{cell.key}"
    return _start(config, cell.name, facts, group, [cell.layer.name], patience, meanwhile)


def skip(config: Config, name: str, reason: str, patience: Patience | None = None) -> None:
    """A run for a cell that does not exist, so that a sweep shows why it has no number."""
    tracker = _start(config, name, {"cell": name}, None, ["skipped"], patience)
    tracker.summary({"status": "skipped", "error": reason})
    tracker.finish(0)


def _start(
    config: Config,
    name: str,
    facts: Mapping[str, Any],
    group: str | None,
    tags: Sequence[str],
    patience: Patience | None,
    meanwhile: Callable[[], object] | None = None,
) -> Tracker:
    tracker = Tracker(config, patience or Patience())
    asked = config.tracking.mode
    if asked != "disabled" and (asked, os.environ.get("WANDB_MODE")) != ("auto", "disabled"):
        identity = {
            "name": name,
            "group": config.tracking.group or group,
            "job_type": "cell",
            "tags": _distinct([config.data.name, config.encoder.name, config.head.name, *tags, *config.tracking.tags]),
        }
        tracker.begin(identity, {**configuration(config), **facts}, meanwhile)
    return tracker


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for name in names if name))
