"""A grid's cells before any of them runs: which are done, which are impossible, what is left and in which order.

Pure: points and facts in, a plan out. The facts are a snapshot that others read from files; the plan takes no lock and
writes nothing, so a dry run is the plan, printed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from simclr.config import Config
from simclr.config.cell import Cell, ImpossibleCell, describe, skipped_name
from simclr.foundation.errors import InvalidInput, one_line
from simclr.records import result
from simclr.store.explain import Availability, Stage


class State(Enum):
    """What will become of a cell."""

    RUN = "run"
    TAKES_OVER = "takes over"
    PROBE_ONLY = "probe only"
    WAITS_FOR = "waits for"
    DONE = "done"
    PRUNED = "pruned"


@dataclass(frozen=True)
class Point:
    """A point of a grid: its overrides, and the cell they mean, or the reason why there is none."""

    overrides: tuple[str, ...]
    name: str
    cell: Cell | None
    reason: str = ""

    @property
    def key(self) -> str:
        """The pretraining's; empty where the cell is impossible."""
        return self.cell.key if self.cell else ""


@dataclass(frozen=True)
class Facts:
    """What was there when somebody looked."""

    done: frozenset[str] = frozenset()
    """Names of the cells with a finished record of the same configuration."""
    pretrainings: Mapping[str, Availability] = field(default_factory=dict)
    """By key; one that is not named does not exist."""


@dataclass(frozen=True)
class Planned:
    """One cell of the plan; points that mean the same cell are merged, the first one's overrides run it."""

    state: State
    reason: str
    points: tuple[Point, ...]
    epoch: int | None = None

    @property
    def name(self) -> str:
        return self.points[0].name

    @property
    def overrides(self) -> tuple[str, ...]:
        return self.points[0].overrides

    @property
    def cell(self) -> Cell | None:
        return self.points[0].cell

    @property
    def key(self) -> str:
        return self.points[0].key


STARTS = (State.RUN, State.TAKES_OVER)
"""States of a cell that trains a network before it probes it."""

LEFT = (*STARTS, State.PROBE_ONLY, State.WAITS_FOR)
"""States of a cell that is still to be measured."""

CHUNK = 24
"""Cells of one pretraining in a job. A probe takes seconds: fewer would cost more in starting, many more would leave a
grid of one pretraining and hundreds of probes to a single worker."""

Job = tuple[Planned, ...]


@dataclass(frozen=True)
class Plan:
    """Cells in the order in which workers should take them, then the done ones, then the impossible ones."""

    cells: tuple[Planned, ...]

    @cached_property
    def left(self) -> tuple[Planned, ...]:
        return tuple(each for each in self.cells if each.state in LEFT)

    @cached_property
    def counts(self) -> dict[State, int]:
        """How many cells are in each state, in the order of the plan; states without any are left out."""
        found = Counter(each.state for each in self.cells)
        return {state: found[state] for state in State if state in found}

    @cached_property
    def pretrainings(self) -> int:
        """How many networks this grid trains, each counted once."""
        return sum(each.state in STARTS for each in self.cells)


def identify(
    overrides: Sequence[Sequence[str]],
    configs: Iterable[Config],
    digests: Callable[[Config], tuple[str, str | None]],
    check: Callable[[Config], None] | None = None,
) -> list[Point]:
    """The points of a grid with their cells, from the overrides and the configuration of each.

    Args:
        overrides: of each point.
        configs: likewise.
        digests: of the content of a configuration's data, see :func:`simclr.config.cell.describe`.
        check: raises :class:`ImpossibleCell` where the data do not allow the cell.
    """
    points = []
    for given, config in zip(overrides, configs, strict=True):
        try:
            if check:
                check(config)
            cell = describe(config, *digests(config))
            points.append(Point(tuple(given), cell.name, cell))
        except ImpossibleCell as impossible:
            name = skipped_name(config, *digests(config))
            points.append(Point(tuple(given), name, None, one_line(impossible)))
    return points


def plan(points: Iterable[Point], facts: Facts, rerun: bool = False) -> Plan:
    """Every cell of a grid once, with what will become of it and why.

    The order is that of the points within each of these groups, which is what a launcher that takes jobs one after
    another should follow: first one cell of each pretraining that has to be made, so that every network is begun before
    any is looked at twice; then the probes of networks that are there; then those of networks that this grid makes;
    then what waits for somebody else, by when that may be there.

    Raises:
        InvalidInput: two different cells have one name (their hashes collide).
    """
    merged: dict[str, list[Point]] = {}
    for point in points:
        same = merged.setdefault(point.name, [])
        if same and same[0].key != point.key:
            one, other = (" ".join(each.overrides) for each in (same[0], point))
            raise InvalidInput(
                f"{one} and {other}: two cells of one name, {point.name}; "
                "run them in grids of their own, below different roots"
            )
        same.append(point)
    starters: dict[str, str] = {}
    cells = []
    for name, same in merged.items():
        if same[0].cell is None:
            cells.append(Planned(State.PRUNED, same[0].reason, tuple(same)))
        elif name in facts.done and not rerun:
            cells.append(Planned(State.DONE, "its result is there", tuple(same)))
        else:
            cells.append(_still_to_do(same[0].cell, tuple(same), facts.pretrainings.get(same[0].key), starters))
    return Plan(tuple(sorted(cells, key=lambda each: _turn(each, starters))))


def _still_to_do(
    cell: Cell, points: tuple[Point, ...], found: Availability | None, starters: dict[str, str]
) -> Planned:
    """What becomes of a cell; ``starters`` gets the cells that make pretrainings, by the key."""
    epochs = cell.config.pretrain.epochs
    if found is not None and found.stage is Stage.THERE:
        return Planned(State.PROBE_ONLY, f"pretraining {cell.key} is there", points)
    if found is not None and found.stage is Stage.MAKING:
        at = "" if found.epoch is None else f" (epoch {found.epoch} of {epochs})"
        return Planned(State.WAITS_FOR, f"pretraining {cell.key}, made by {found.by}{at}", points)
    first = starters.setdefault(cell.key, points[0].name)
    if first != points[0].name:
        return Planned(State.PROBE_ONLY, f"after {first}, which makes pretraining {cell.key}", points)
    if found is not None and found.stage is Stage.UNFINISHED and found.epoch:
        whose = f" of {found.by}" if found.by else ""
        reason = f"pretraining {cell.key} at epoch {found.epoch} of {epochs}, left{whose}"
        return Planned(State.TAKES_OVER, reason, points, found.epoch)
    return Planned(State.RUN, f"makes pretraining {cell.key}", points)


def _turn(cell: Planned, made_here: Container[str]) -> int:
    """Which group of the plan a cell belongs to, given the pretrainings that this grid makes."""
    if cell.state is State.PROBE_ONLY:
        return 2 if cell.key in made_here else 1
    return {State.RUN: 0, State.TAKES_OVER: 0, State.WAITS_FOR: 3, State.DONE: 4, State.PRUNED: 5}[cell.state]


def jobs(plan: Plan) -> list[Job]:
    """What is left of a plan, bundled: a pretraining and the probes of it are one job.

    So a probe follows on the worker that trained its network and has it at hand; of more than :data:`CHUNK` cells the
    rest are jobs of their own. Their order is that of the plan, by the first cell of each, so that no pretraining is
    unstarted when a second worker comes to one that is under way.
    """
    groups: dict[str, list[Planned]] = {}
    for each in plan.left:
        groups.setdefault(each.key, []).append(each)
    bundled = [
        tuple(cells[begin : begin + CHUNK]) for cells in groups.values() for begin in range(0, len(cells), CHUNK)
    ]
    made_here = {each.key for each in plan.left if each.state in STARTS}
    return sorted(bundled, key=lambda job: _turn(job[0], made_here))


def finished_cells(root: str | Path, points: Iterable[Point]) -> frozenset[str]:
    """Names of those cells whose record says that they finished, with the same pretraining."""
    try:  # names only: there can be a hundred thousand of them
        there = set(os.listdir(Path(root) / "results"))  # noqa: PTH208
    except OSError:
        return frozenset()
    wanted = {point.name: point.key for point in points if point.cell and point.name in there}
    return frozenset(name for name, key in wanted.items() if _is_finished(record_of(root, name), key))


def _is_finished(record: Mapping[str, Any], key: str) -> bool:
    return record.get("status") == "finished" and (record.get("pretraining") or {}).get("key") == key


def record_of(root: str | Path, name: str) -> Mapping[str, Any]:
    """A cell's record; empty where there is none that can be used."""
    try:
        record = json.loads((result.folder(root, name) / "result.json").read_bytes())
        return record if record["schema"] == result.SCHEMA else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
