"""How far a long step is: a bar on a terminal, a line now and then elsewhere, so that log files stay readable."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Report = Callable[[str], None]
Advance = Callable[[int], None]

LINE_SECONDS = 5.0


def progress(title: str, total: int | None, unit: str, report: Report) -> AbstractContextManager[Advance]:
    """Show the progress of a step while it runs: a context whose value is called with each amount that is done.

    Args:
        title: what is done, say ``decoding``.
        total: how much there is to do, in ``unit``; None where that is not known.
        unit: ``images`` or ``bytes``.
        report: takes the plain lines where standard error is no terminal.
    """
    return _bar(title, total, unit) if sys.stderr.isatty() else _lines(title, total, unit, report)


@contextmanager
def _lines(title: str, total: int | None, unit: str, report: Report) -> Iterator[Advance]:
    done, told = 0, time.monotonic()

    def advance(amount: int) -> None:
        nonlocal done, told
        done += amount
        if time.monotonic() - told > LINE_SECONDS:
            told = time.monotonic()
            report(f"{title}: {_amount(done, unit)}{'' if total is None else f' of {_amount(total, unit)}'}")

    report(f"{title}{'' if total is None else f': {_amount(total, unit)}'}")
    yield advance
    report(f"{title}: {_amount(done, unit)}, done")


@contextmanager
def _bar(title: str, total: int | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


def _amount(number: int, unit: str) -> str:
    return f"{number / 1e6:.1f} MB" if unit == "bytes" else f"{number:,} {unit}"
