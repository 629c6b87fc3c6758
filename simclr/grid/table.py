"""A plan for a person: the table that ``--dry-run`` prints, and what the grid will take."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simclr.grid.estimate import Estimate
from simclr.grid.plan import Plan, State
from simclr.records.summary import count_of

STYLES = {
    State.RUN: "bold",
    State.TAKES_OVER: "bold yellow",
    State.PROBE_ONLY: "cyan",
    State.WAITS_FOR: "yellow",
    State.DONE: "green",
    State.PRUNED: "dim",
}


ROWS = 1000
"""Cells that are listed, of a larger grid the first ones."""


def print_plan(plan: Plan, estimate: Estimate, console: Console | None = None) -> None:
    """Print each cell with its state and reason, then the counts and the estimate.

    Args:
        plan: the grid's.
        estimate: what it will take.
        console: standard output by default, as wide as it needs where that is no terminal. What does not fit is
            folded, never cut.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 500)
    table = Table(box=None, pad_edge=False)
    for heading in ("#", "state", "cell", "pretraining", "why"):
        table.add_column(heading, overflow="fold")
    for number, each in enumerate(plan.cells[:ROWS], start=1):
        merged = f" (named {len(each.points)} times in the grid)" if len(each.points) > 1 else ""
        reason = escape(each.reason + merged)
        table.add_row(str(number), f"[{STYLES[each.state]}]{each.state.value}[/]", escape(each.name), each.key, reason)
    console.print(table)
    if len(plan.cells) > ROWS:
        console.print(f".. and {len(plan.cells) - ROWS} more", highlight=False)
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
