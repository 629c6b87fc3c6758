"""A grid for a person: its plan before it runs, what every cell is doing while it does, and what came of it.

On a terminal that is a live table, elsewhere a line for each change.
"""

from __future__ import annotations

import math
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from simclr.grid.estimate import Estimate
from simclr.grid.plan import LEFT, Plan, State
from simclr.records import result
from simclr.records.status import OVER, Doing, Status, status
from simclr.records.summary import count_of

if TYPE_CHECKING:
    from simclr.grid.prepare import Grid

PLANNED_ROWS = 1000
"""Cells that are listed, of a larger grid the first ones."""

LIVE_ROWS = 30
"""Cells in the live table, those that run first: a taller one would leave the screen."""

ANEW_SECONDS = 30.0
"""How long an estimate of the time left stands."""

STATE_STYLES = {
    State.RUN: "bold",
    State.TAKES_OVER: "bold yellow",
    State.PROBE_ONLY: "cyan",
    State.WAITS_FOR: "yellow",
    State.DONE: "green",
    State.PRUNED: "dim",
}

DOING_STYLES = {
    Doing.RUNNING: "bold",
    Doing.WAITING: "yellow",
    Doing.FAILED: "bold red",
    Doing.ORPHANED: "yellow",
    Doing.PLANNED: "dim",
    Doing.FINISHED: "green",
    Doing.SKIPPED: "dim",
}
"""By what a cell is doing, what is most urgent first."""


def print_plan(plan: Plan, estimate: Estimate, console: Console | None = None) -> None:
    """Print each cell with its state and reason, then the counts and the estimate.

    On standard output, as wide as it needs where that is no terminal, unless there is a console. What does not fit is
    folded, never cut.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 500)
    table = Table(box=None, pad_edge=False)
    for heading in ("#", "state", "cell", "pretraining", "why"):
        table.add_column(heading, overflow="fold")
    for number, each in enumerate(plan.cells[:PLANNED_ROWS], start=1):
        merged = f" (named {len(each.points)} times in the grid)" if len(each.points) > 1 else ""
        reason = escape(each.reason + merged)
        table.add_row(
            str(number), f"[{STATE_STYLES[each.state]}]{each.state.value}[/]", escape(each.name), each.key, reason
        )
    console.print(table)
    if len(plan.cells) > PLANNED_ROWS:
        console.print(f".. and {len(plan.cells) - PLANNED_ROWS} more", highlight=False)
    console.print(_summary(plan, estimate), highlight=False, soft_wrap=True, markup=False)


def _summary(plan: Plan, estimate: Estimate) -> str:
    """The counts, and what the grid will take and how that is known, in a few lines."""
    counted = ", ".join(f"{count} {state.value}" for state, count in plan.counts.items()) or "no cell"
    lines = [f"{count_of(len(plan.cells), 'cell')}: {counted}", f"{count_of(plan.pretrainings, 'pretraining')} to make"]
    if not plan.left:
        return "\n".join(lines)
    if estimate.seconds is not None and estimate.machine_hours is not None and estimate.disk_bytes is not None:
        least = "at least " if estimate.unknown else ""
        lines[-1] += (
            f": {least}{duration(estimate.seconds)}, {estimate.machine_hours:.2g} machine-hours, "
            f"{estimate.disk_bytes / 2**20:.3g} MiB of disk"
        )
        shown = ", ".join(estimate.records[:3]) + (", .." if len(estimate.records) > 3 else "")
        lines.append(f"as measured in {shown}")
    if estimate.unknown:
        lines.append(f"not measured before: {'; '.join(estimate.unknown)}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A length of time as a person says it.

    >>> [duration(seconds) for seconds in (8.2, 200, 7300, 200_000)]
    ['8 s', '3 min 20 s', '2 h 1 min', '2 d 7 h']
    """
    whole = round(seconds)
    for large, small, unit, part in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= large:
            return f"{whole // large} {unit} {whole % large // small} {part}"
    return f"{whole} s"


class Watch:
    """Follows a grid's files from ``with`` to its end; :meth:`conclude` says what came of it."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._begun = time.monotonic()
        self._console = Console(stderr=True, highlight=False)
        self._known: dict[str, Status] = {each.name: Status(each.name, Doing.PLANNED) for each in grid.plan.left}
        self._records = {name: self._record(name) for name in self._known}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def conclude(self, *, interrupted: bool = False) -> tuple[int, int]:
        """Print the counts, and of what failed the reason and the command that runs it again.

        Args:
            interrupted: somebody asked for the end, and knows that not all is done.

        Returns:
            How many cells failed, and how many are left: not begun, or begun and not finished.
        """
        self._over.set()
        self._thread.join()
        self._look()  # what ended since the last time
        console = Console(highlight=False, soft_wrap=True)
        plan = self._grid.plan
        counts = Counter(each.doing for each in self._known.values())
        told = [f"{count} {doing.value}" for doing in Doing if (count := counts[doing])]
        before = [f"{count} {state.value}" for state, count in plan.counts.items() if state not in LEFT]
        cells, taken = count_of(len(plan.cells), "cell"), duration(time.monotonic() - self._begun)
        console.print(f"{cells}: {', '.join([*told, *before])}; {taken}", markup=False)
        failed = [each for each in self._known.values() if each.doing is Doing.FAILED]
        left = [each for each in self._known.values() if each.doing not in OVER]
        shown = failed if interrupted else [*failed, *(each for each in left if each.doing is not Doing.PLANNED)]
        overrides = {each.name: each.overrides for each in plan.cells}
        for each in shown:
            console.print(f"{each.doing.value}: {each.name}: {each.detail}", markup=False)
            console.print(f"  again: python run.py {shlex.join(overrides[each.name])}", markup=False)
            if each.log:
                console.print(f"  log:   {each.log}", markup=False)
        return len(failed), len(left)

    def _follow(self) -> None:
        pause = 0.5 + len(self._known) / 500  # longer where there are more files to look at
        table = Live(_urgent([*self._known.values()]), console=self._console, refresh_per_second=2, transient=True)
        with table if self._console.is_terminal else nullcontext() as live:
            while not self._over.wait(pause):
                self._look()
                if live is not None:
                    live.update(_urgent([*self._known.values()]))

    def _look(self) -> None:
        for name, before in self._known.items():
            if before.doing in OVER and self._is_new(name):
                continue
            after = status(self._grid.root, name)
            if after.doing in OVER and not self._is_new(name):
                after = Status(name, Doing.PLANNED)  # a record of an earlier run, which this one replaces
            self._known[name] = after
            # A table shows it and goes with the grid; lines stay.
            if not self._console.is_terminal and (after.doing, after.detail) != (before.doing, before.detail):
                self._say(after)

    def _is_new(self, name: str) -> bool:
        return self._record(name) not in (None, self._records[name])

    def _record(self, name: str) -> tuple[int, int] | None:
        """Which file a cell's record is: no clock is asked, as a file server has one of its own."""
        try:
            found = (result.folder(self._grid.root, name) / "result.json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _say(self, now: Status) -> None:
        over = sum(each.doing in OVER for each in self._known.values())
        if now.doing is Doing.FINISHED:
            text = f"finished, test accuracy {now.accuracy:.3f} ({over} of {len(self._known)})"
        elif now.doing is Doing.FAILED:
            text = f"FAILED: {now.detail}; log: {now.log or 'none'}"
        elif now.doing is Doing.RUNNING:
            text = f"{now.detail}, by {now.worker}"
        else:
            text = _said(now)
        self._console.print(f"{time.strftime('%H:%M:%S')} {now.name}: {text}", markup=False, soft_wrap=True)


def _urgent(cells: list[Status]) -> Table:
    """The most urgent cells, with how many there are of each kind below."""
    table = _table(sorted(cells, key=lambda each: list(DOING_STYLES).index(each.doing))[:LIVE_ROWS])
    table.caption = _counted(cells)
    return table


def _table(cells: list[Status]) -> Table:
    """Cells with their state, epoch, accuracy so far, time left and worker."""
    table = Table(box=None, pad_edge=False)
    for name in ("cell", "state", "epoch", "loss", "accuracy", "left", "worker"):
        table.add_column(name, overflow="fold", no_wrap=name in ("epoch", "loss", "accuracy"))
    for each in cells:
        detail = _said(each).removeprefix(each.doing.value)
        table.add_row(
            escape(each.name),
            f"[{DOING_STYLES[each.doing]}]{each.doing.value}[/]{escape(detail)}",
            f"{each.epoch}/{each.epochs}" if each.epochs else "",
            "" if each.loss is None else f"{each.loss:.3f}",
            "" if each.accuracy is None else f"{each.accuracy:.3f}",
            "" if each.seconds_left is None else duration(each.seconds_left),
            escape(each.worker),
        )
    return table


def _said(each: Status) -> str:
    """A cell's state with its detail, which may say the state itself: waiting for whom."""
    return each.detail if each.detail.startswith(each.doing.value) else f"{each.doing.value} {each.detail}".strip()


def print_status(root: str | Path, cells: list[Status]) -> None:
    """Print the state of every cell, and how many are in each."""
    console = Console(highlight=False, soft_wrap=True)
    if not cells:
        console.print(f"no cell below {root}; python run.py -m ... starts a grid", markup=False)
        return
    (console if console.is_terminal else Console(width=200, highlight=False)).print(_table(cells))
    console.print(_counted(cells), markup=False)


def watch_status(look: Callable[[], list[Status]], left: Callable[[int], float | None]) -> None:
    """Show the state of every cell that ``look`` gives, again and again, until nothing runs any more.

    With the seconds ``left`` to so many workers, as far as that is known. Finding out takes a whole plan, with a look
    at the data: it is asked for every :data:`ANEW_SECONDS` only, and counted down in between.
    """
    console = Console(highlight=False)
    end, asked = None, -math.inf
    with Live(console=console, auto_refresh=False, transient=console.is_terminal) as live:
        while True:
            cells = look()
            workers = {each.worker for each in cells if each.doing in (Doing.RUNNING, Doing.WAITING)}
            if not workers:
                return
            if (now := time.monotonic()) - asked >= ANEW_SECONDS:
                seconds, asked = left(len(workers)), now
                end = None if seconds is None else now + seconds
            table = _urgent(cells)
            if end is not None:
                table.caption = f"{table.caption}; about {duration(max(0.0, end - now))} left"
            live.update(table, refresh=True)
            time.sleep(2)


def _counted(cells: list[Status]) -> str:
    counts = Counter(each.doing.value for each in cells)
    return f"{count_of(len(cells), 'cell')}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
