"""From a root to its report, step by step; and the answer as a terminal shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from threadpoolctl import threadpool_limits

from simclr.foundation.files import write_whole
from simclr.report.answer import as_dictionary
from simclr.report.groups import group
from simclr.report.records import Findings, read
from simclr.report.statistics import panels
from simclr.report.table import Table, build, cells_csv, latex, markdown, terminal
from simclr.report.verdict import read as read_verdicts
from simclr.report.words import Answer, answers


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: ``index.html``; None where no cell has finished, and nothing was written.
        answers: the answer in words, one per set of comparable cells.
        table: one row per group of cells.
        findings: the cells that it is about, and what was left out.
        asked: of every grid that was asked a question (``seeds=auto``), how far it is and what it says.
    """

    page: Path | None
    answers: tuple[Answer, ...]
    table: Table | None
    findings: Findings
    asked: tuple[list[str], ...] = ()


@threadpool_limits.wrap(limits=1)  # matrices are small here: where a grid still runs, threads cost more than they save
def write(root: str | Path) -> Report:
    """Write ``<root>/report/``: the page, ``answer.json``, ``table.md``, ``table.tex``, ``cells.csv`` and the pictures.

    Args:
        root: as given to the runs.

    Returns:
        What was written; its ``page`` is None where no cell has finished.
    """
    findings = read(root)
    if not findings.cells:
        return Report(None, (), None, findings)
    grid = group(findings.cells)
    compared = panels(grid.groups)
    words = answers(grid, compared, findings)
    table = build(grid, compared)
    asked = read_verdicts(findings.root)

    from simclr.report.page import render
    from simclr.report.pictures import draw_all
    from simclr.report.scene import Scene

    drawn = list(draw_all(Scene(findings.root, grid, tuple(compared))))
    folder = findings.root / "report"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "table.md": _answer_lines(words, asked) + markdown(table),
        "table.tex": latex(table),
        "cells.csv": cells_csv(grid, findings),
        "answer.json": json.dumps(as_dictionary(compared, asked), indent=1, allow_nan=False) + "\n",
        "index.html": render(words, table, drawn, findings, asked),
    }
    pictures = {
        f"{each.picture.name}{'' if theme == 'light' else f'-{theme}'}.png": png
        for each in drawn
        for theme, png in each.png.items()
    }
    for name, png in pictures.items():
        write_whole(folder / name, png)
    for name, text in files.items():
        write_whole(folder / name, text.encode("utf-8", "replace"))
    for stale in set(folder.glob("*.png")) - {folder / name for name in pictures}:
        stale.unlink(missing_ok=True)
    return Report(folder / "index.html", tuple(words), table, findings, tuple(asked))


def show(report: Report, console: Console) -> None:
    """The answer and the table on a terminal, at the end of a grid and of ``python -m simclr.report``."""
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


def _answer_lines(words: list[Answer], asked: list[list[str]]) -> str:
    lines = []
    for first, *more in asked:
        lines += [f"**{first}**", *(f"- {line}" for line in more), ""]
    for answer in words:
        lines += [f"**{answer.title}.** {answer.headline}", *(f"- {sentence}" for sentence in answer.sentences), ""]
    return "\n".join(line.replace("_", "\\_") for line in lines) + "\n"
