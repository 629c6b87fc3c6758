"""What every cell below a root is doing, from the small files that jobs write; from any machine, at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from simclr.foundation.work import Said, words
from simclr.records import result


class Doing(Enum):
    """What becomes of a cell at the moment."""

    PLANNED = "planned"
    RUNNING = "running"
    WAITING = "waiting"
    ORPHANED = "orphaned"
    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"


OVER = (Doing.FINISHED, Doing.SKIPPED, Doing.FAILED)


@dataclass(frozen=True)
class Status:
    """A cell as it is now.

    Attributes:
        name: the cell's.
        doing: its state.
        detail: in words: the part of the work, whom it waits for, or its error.
        epoch, epochs: of its pretraining, where that is under way.
        accuracy: on the test set where it is finished; its last contrastive accuracy while it is pretrained.
        loss: of its last epoch, likewise.
        seconds_left: of its pretraining, estimated from its speed so far.
        worker: the process that is, or was, at it.
        log: the file with its log, where it has one.
    """

    name: str
    doing: Doing
    detail: str = ""
    epoch: int | None = None
    epochs: int | None = None
    accuracy: float | None = None
    loss: float | None = None
    seconds_left: float | None = None
    worker: str = ""
    log: str = ""


def statuses(root: str | Path, planned: Iterable[str] = ()) -> dict[str, Status]:
    """Every cell that is planned, or of which there is a file, by name.

    Args:
        root: as given to the runs.
        planned: names of cells that somebody means to run, in the order in which they are to be listed.
    """
    try:  # names only: there can be a hundred thousand of them
        there = set(os.listdir(Path(root) / "results"))  # noqa: PTH208
    except OSError:
        there = set()
    names = dict.fromkeys([*planned, *sorted(there)])
    return {name: status(root, name) if name in there else Status(name, Doing.PLANNED) for name in names}


def status(root: str | Path, name: str) -> Status:
    """One cell: whoever is at it now, else its record, else nothing yet."""
    folder = result.folder(root, name)
    # Of two at one cell the one that trains says more than the one that waits for it.
    at_it = max(words(folder), key=lambda each: (each.alive, each.facts.get("epoch") or 0), default=None)
    recorded = _recorded(folder / "result.json", name)
    if at_it is not None and at_it.alive:
        return _under_way(name, at_it)
    if recorded is not None:
        return recorded
    if at_it is not None:
        left = _under_way(name, at_it)
        return replace(left, doing=Doing.ORPHANED, detail=f"{at_it.who} gives no sign of life; last: {left.detail}")
    return Status(name, Doing.PLANNED)


def _under_way(name: str, at_it: Said) -> Status:
    detail = str(at_it.facts.get("doing", "starting"))
    doing = Doing.WAITING if detail.startswith("waiting") else Doing.RUNNING
    facts = at_it.facts if detail == "pretraining" else {}
    return Status(
        name,
        doing,
        detail,
        facts.get("epoch"),
        facts.get("epochs"),
        facts.get("contrastive_accuracy"),
        facts.get("loss"),
        facts.get("seconds_left"),
        at_it.who,
    )


def _recorded(path: Path, name: str) -> Status | None:
    try:
        record: Any = json.loads(path.read_bytes())
        doing = Doing(record["status"])
        if doing is Doing.FINISHED:
            accuracy = record["probe"] and float(record["probe"]["test_accuracy"]["mean"])
            return Status(name, doing, accuracy=accuracy)
        return Status(name, doing, str(record["error"]), log=record.get("log") or "")
    except (OSError, ValueError, TypeError, KeyError):
        return None


def queued(root: str | Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The cells that are left of grids which are being run, or were killed and may go on.

    Yields:
        A cell's name, its pretraining's key and the overrides that were typed for it.
    """
    for path in sorted((Path(root) / "grids").glob("*/grid.json")):
        if any(path.parent.glob("*/job-*.json")):
            for cell in _cells_of(path):
                name, typed = str(cell["name"]), tuple(map(str, cell.get("overrides", ())))
                if not (result.folder(root, name) / "result.json").exists():
                    yield name, str(cell.get("key")), typed


def planned_cells(root: str | Path) -> Iterator[str]:
    """The names of the cells of every grid that was ever started below ``root``."""
    for path in sorted((Path(root) / "grids").glob("*/grid.json")):
        yield from (str(cell["name"]) for cell in _cells_of(path))


def _cells_of(path: Path) -> list[dict[str, Any]]:
    try:
        return [cell for cell in json.loads(path.read_bytes())["cells"] if "name" in cell]
    except (OSError, ValueError, TypeError, KeyError):
        return []
