"""The page: one self-contained HTML file with the answer, the pictures, the table and how each number was made."""

from __future__ import annotations

import shlex
from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from simclr.report.groups import HEAD_WORDS, shown
from simclr.report.palette import DARK, LIGHT
from simclr.report.pictures import Drawn
from simclr.report.records import Findings
from simclr.report.table import Table
from simclr.report.words import Answer


def render(
    answers: list[Answer], table: Table, pictures: list[Drawn], findings: Findings, asked: list[list[str]]
) -> str:
    """The page as HTML.

    Everything that comes from files is escaped, and the page forbids itself the network.
    """
    environment = Environment(
        loader=PackageLoader("simclr.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = lambda png: "data:image/png;base64," + b64encode(png).decode()
    environment.filters["listed"] = _listed
    shared, own = _settings(findings)
    return environment.get_template("page.html").render(
        answers=answers,
        asked=asked,
        table=table,
        pictures=pictures,
        findings=findings,
        counts=findings.count(),
        shared=shared,
        cells=list(zip(findings.cells, own, strict=True)),
        command=partial(command, findings.root),
        light=LIGHT,
        dark=DARK,
        head_words=HEAD_WORDS,
    )


def command(root: Path, cell: str) -> str:
    """What measures a cell again.

    >>> command(Path("runs"), "digits-small_cnn-none-encoder-s0-0123abcd")
    'python run.py --config-dir runs/results/digits-small_cnn-none-encoder-s0-0123abcd'
    """
    return shlex.join(["python", "run.py", "--config-dir", str(root / "results" / cell)])


def _settings(findings: Findings) -> tuple[list[tuple[str, str]], list[list[tuple[str, str]]]]:
    """The settings that all cells share, and each cell's own."""
    settings = [{(key, shown(value)) for key, value in cell.settings.items()} for cell in findings.cells]
    shared = set.intersection(*settings)
    return sorted(shared), [sorted(each - shared) for each in settings]


def _listed(value: Any) -> str:
    return ", ".join(f"{key} {shown(item)}" for key, item in value.items()) if isinstance(value, dict) else ""
