"""Weights & Biases: a cell as a run that is worth looking at, and pretrained networks as artifacts.

A cell's result never depends on it. What goes wrong here is told in one line, with the command that sends later what
was not sent now; all that is waited for in vain takes its time from one budget (:class:`Patience`); and a run that
cannot begin online is kept offline. The client is imported when a run starts, and never where ``tracking.mode`` is
``disabled``; nothing else of ours imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simclr.config import TrackingConfig
from simclr.tracking.content import Material
from simclr.tracking.patience import Patience
from simclr.tracking.tracker import Tracker
from simclr.tracking.wishes import Wish

__all__ = ["Material", "Patience", "Tracker", "Wish", "skip", "start"]

_PATIENCE = Patience()


def start(settings: TrackingConfig, root: str, facts: Mapping[str, Any], patience: Patience | None = None) -> Tracker:
    """Begin a cell's run, or go on in it where it was resumed.

    Args:
        settings: how and where.
        root: everything is kept below it.
        facts: of the cell, as :attr:`simclr.config.cell.Cell.facts` has them, for the run's page; the run is named
            after it, so that a resumed cell finds its run again.
        patience: how long W&B may be waited for in vain; one for all runs of this process, where none is given.

    Returns:
        A tracker that takes all that it is told, whether or not there is anyone to pass it on to.
    """
    tracker = Tracker(settings, root, patience or _PATIENCE)
    group = f"{facts['head.name']}-{facts['pretraining.key']}"
    tracker.begin(_identity(settings, facts, group, facts["layer.name"]), facts)
    return tracker


def skip(
    settings: TrackingConfig, root: str, facts: Mapping[str, Any], reason: str, patience: Patience | None = None
) -> None:
    """A run for a cell that does not exist, so that a sweep shows why it has no number.

    Its ``facts`` are its name, as ``cell``, and what was :func:`configured <simclr.config.cell.configured>`.
    """
    tracker = Tracker(settings, root, patience or _PATIENCE)
    tracker.begin(_identity(settings, facts, None, "skipped"), facts)
    tracker.summary({"status": "skipped", "error": reason})
    tracker.finish(0)


def _identity(settings: TrackingConfig, facts: Mapping[str, Any], group: str | None, tag: str) -> dict[str, Any]:
    """The run as the client takes it."""
    tags = (facts["data.name"], facts["encoder.name"], facts["head.name"], tag, *settings.tags)
    return {
        "name": facts["cell"],
        "group": settings.group or group,
        "job_type": "cell",
        "tags": list(dict.fromkeys(name for name in tags if name)),
    }
