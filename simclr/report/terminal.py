"""The answer as a terminal shows it, at the end of a grid and of ``python -m simclr.report``."""

from __future__ import annotations

from rich.console import Console

from simclr.report.table import terminal
from simclr.report.write import Report


def show(report: Report, console: Console) -> None:
    """The answer and the table, as a terminal shows them."""
    for first, *more in report.asked:
        console.print(first, markup=False, style="bold")
        for line in more:
            console.print(f"  {line}", markup=False)
    for answer in report.answers:
        console.print(f"{answer.title}: {answer.headline}", markup=False, style="bold")
        for sentence in answer.sentences:
            console.print(f"  {sentence}", markup=False)
    if report.table is not None:
        console.print("", terminal(report.table, console.width), "", sep="\n")
        for note in report.table.notes:
            console.print(note, markup=False, style="dim")
