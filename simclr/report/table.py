"""The table: one row per group, in Markdown, LaTeX, on the terminal and on the page; and one row per cell as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from simclr.report import documents
from simclr.report.groups import Grid, shown
from simclr.report.records import CellRecord, Findings
from simclr.report.standing import PIXELS, UNTRAINED, Panel, Standing, Statement
from simclr.report.words import MINUS, signed, with_interval

ACCURACY = (
    "Accuracy: mean over seeds and label subsets, with a 95 % interval over {seeds}labels and {part} images; intervals "
    "are not adjusted for being many. Gains are paired, over the same subsets and images; n.s.: within noise, once all "
    "gains over that baseline are taken together (Holm, 5 %)."
)
RANKING = (
    "P(best): the means shrunk towards each other as far as their noise asks for. Rank: what the comparisons between "
    "cells leave open, all of them taken together (Holm, 5 %)."
)
ABSENT = "\u2013"
MOST_ROWS, GAP = 40, 3
"""On a terminal: rows, and the spaces between two columns."""
TOP5 = {"top 5": "probe.top5_accuracy"}
"""Further accuracies, where records have them: heading, and where."""
SUPERVISED = {
    "supervised, same labels": "baselines.supervised_subset",
    "supervised, all labels": "baselines.supervised_all",
}


@dataclass(frozen=True)
class Field:
    """One entry: what is shown, and the number or name that it is sorted by."""

    text: str
    order: float | str


@dataclass(frozen=True)
class Column:
    """A heading, what stands below it for a group, and whether that is a number."""

    heading: str
    field: Callable[[Standing], Field]
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Headings and rows, for whatever shows them."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Field, ...], ...]
    standings: tuple[Standing, ...]
    notes: tuple[str, ...]


def build(grid: Grid, panels: Sequence[Panel]) -> Table:
    """The table of all groups, panel by panel, the best first."""
    standings = tuple(standing for panel in panels for standing in panel.standings)
    columns = [
        Column("head", lambda each: _name(each.group.head), numeric=False),
        Column("layer", lambda each: _name(_layer(each)), numeric=False),
        *(_axis(axis, grid) for axis in grid.axes),
        Column("accuracy", lambda each: Field(with_interval(each.accuracy), each.accuracy.mean)),
        *_further(TOP5, standings),
        Column("over untrained", lambda each: _gain(each.over.get(UNTRAINED))),
        Column("over pixels", lambda each: _gain(each.over.get(PIXELS))),
    ]
    if any(each.best is not None for each in standings):
        columns.append(Column("P(best)", lambda each: _rounded(each.best, 2)))
        columns.append(Column("rank", lambda each: _ranks(each.ranks)))
    columns.append(Column("seeds", lambda each: Field(str(len(each.group.seeds)), len(each.group.seeds))))
    columns += _further(SUPERVISED, standings)
    notes = [_reading(panels)]
    if any(documents.reported(each.group) for each in standings):
        columns.append(Column("documents*", lambda each: _name(documents.reported(each.group))))
        notes.append(f"* {documents.footnote(grid.groups)}")
    rows = tuple(tuple(column.field(each) for column in columns) for each in standings)
    return Table(tuple(columns), rows, standings, tuple(notes))


def _reading(panels: Sequence[Panel]) -> str:
    """How the numbers are to be read."""
    seeds = {len(each.group.seeds) for panel in panels for each in panel.standings}
    which = {(True, True): "seeds (where there are several), ", (True, False): "seeds, ", (False, True): ""}
    parts = sorted({panel.first.part for panel in panels})
    note = ACCURACY.format(seeds=which[max(seeds) > 1, 1 in seeds], part=" or ".join(parts))
    ranked = any(each.best is not None for panel in panels for each in panel.standings)
    return f"{note} {RANKING}" if ranked else note


def markdown(table: Table) -> str:
    """As GitHub's Markdown."""
    lines = [
        _pipes(column.heading for column in table.columns),
        _pipes("--:" if column.numeric else "---" for column in table.columns),
        *(_pipes(field.text for field in row) for row in table.rows),
    ]
    return "\n".join([*lines, "", *(note.replace("*", "\\*") + "\n" for note in table.notes)])


def latex(table: Table) -> str:
    """As LaTeX for the booktabs package."""
    kinds = "".join("r" if column.numeric else "l" for column in table.columns)
    heading = " & ".join(_latex(column.heading) for column in table.columns)
    rows = [" & ".join(_latex(field.text) for field in row) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            heading + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
            *(rf"\par\smallskip{{\footnotesize {_latex(note)}}}" for note in table.notes),
            "",
        ]
    )


def terminal(table: Table, width: int) -> RichTable:
    """For rich, the first rows, and as many columns as a terminal of that width has room for."""
    left_out = _left_out(table, width)
    kept = [place for place, column in enumerate(table.columns) if column.heading not in left_out]
    missing = [column.heading for column in table.columns if column.heading in left_out]
    more = [f"the first {MOST_ROWS} of {len(table.rows)} groups"] if len(table.rows) > MOST_ROWS else []
    more += [f"{', '.join(missing)}: in table.md and on the page"] if missing else []
    rich = RichTable(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, caption="; ".join(more) or None, caption_justify="left"
    )
    for place in kept:
        column = table.columns[place]
        rich.add_column(_broken(column.heading), justify="right" if column.numeric else "left", overflow="fold")
    for row in table.rows[:MOST_ROWS]:
        rich.add_row(*(Text(row[place].text) for place in kept))
    return rich


def _broken(heading: str) -> str:
    """A heading on several short lines: what stands below it decides how wide its column is."""
    return re.sub(r" |(?<=[._])", "\n", heading)


def _left_out(table: Table, width: int) -> list[str]:
    """The headings that a terminal can do without, as many as are needed."""
    widths = {}
    for place, column in enumerate(table.columns):
        texts = [*_broken(column.heading).splitlines(), *(row[place].text for row in table.rows[:MOST_ROWS])]
        widths[column.heading] = max(map(len, texts)) + GAP
    dispensable = ["documents*", "rank", "seeds", "P(best)", *SUPERVISED, *TOP5]
    left_out: list[str] = []
    for heading in dispensable:
        if sum(widths.values()) - GAP > width and heading in widths:
            del widths[heading]
            left_out.append(heading)
    return left_out


CSV_FIELDS = {
    "data": "cell.data",
    "encoder": "cell.encoder",
    "head": "cell.head",
    "layer": "cell.layer.name",
    "layer_index": "cell.layer.index",
    "layer_width": "cell.layer.width",
    "probe": "cell.probe",
    "label_fraction": "cell.label_fraction",
    "seed": "cell.seed",
    "test_accuracy": "probe.test_accuracy.mean",
    "test_accuracy_std": "probe.test_accuracy.std",
    "top5_accuracy": "probe.top5_accuracy.mean",
    "validation_accuracy": "probe.validation_accuracy.mean",
    "train_accuracy": "probe.train_accuracy.mean",
    "untrained": "baselines.untrained.mean",
    "pixels": "baselines.pixels.mean",
    "supervised_subset": "baselines.supervised_subset.mean",
    "supervised_all": "baselines.supervised_all.mean",
    "alignment": "representation.alignment",
    "uniformity": "representation.uniformity",
    "effective_rank": "representation.effective_rank",
    "knn_accuracy": "representation.knn_accuracy",
    "pretraining_key": "pretraining.key",
    "pretraining_reused": "pretraining.reused",
    "epochs": "pretraining.epochs",
    "steps": "pretraining.steps",
    "loss": "pretraining.loss",
    "contrastive_accuracy": "pretraining.contrastive_accuracy",
    "pretraining_seconds": "pretraining.seconds",
    "images_per_second": "pretraining.images_per_second",
    "seconds": "seconds",
    "started": "started",
    "finished": "finished",
    "simclr": "versions.simclr",
    "tensorflow": "versions.tensorflow",
}


def cells_csv(grid: Grid, findings: Findings) -> str:
    """One row per cell: identity, every number, and the axes of the grid; what did not finish has its reason."""
    axes = [axis for axis in grid.axes if axis not in CSV_FIELDS]
    bounds = ("test_accuracy_low", "test_accuracy_high")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cell", "status", "reason", *CSV_FIELDS, *bounds, *axes])
    for cell in findings.cells:
        values = ["" if (value := cell.get(path)) is None else value for path in CSV_FIELDS.values()]
        row = [cell.name, "finished", "", *values, *_ci95(cell), *(shown(cell.settings.get(a)) for a in axes)]
        writer.writerow(map(_inert, row))
    empty = [""] * (len(CSV_FIELDS) + len(bounds) + len(axes))
    for left in findings.left_out:
        writer.writerow(map(_inert, [left.name, left.state, left.reason, *empty]))
    return text.getvalue()


def _inert(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula, as a text; numbers stay."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _ci95(cell: CellRecord) -> list[str]:
    bounds = cell.get("probe.test_accuracy.ci95")
    return [str(bound) for bound in bounds] if isinstance(bounds, list) and len(bounds) == 2 else ["", ""]


def _pipes(entries: Iterable[str]) -> str:
    return "| " + " | ".join(entry.replace("|", "\\|").replace("\n", " ") for entry in entries) + " |"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", MINUS: "$-$", ABSENT: "--", "<": "$<$", ">": "$>$",
    "|": r"\textbar{}",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _name(text: str) -> Field:
    return Field(text, text)


def _layer(standing: Standing) -> str:
    """With its place in the model, counted from its end, if it has one: a stage inside the encoder has none."""
    index = standing.group.first.get("cell.layer.index")
    return f"{standing.group.layer} ({index})" if isinstance(index, int) else standing.group.layer


def _axis(axis: str, grid: Grid) -> Column:
    def field(standing: Standing) -> Field:
        value = standing.group.settings.get(axis)
        return Field(shown(value), float(value) if _is_number(value) else shown(value))

    return Column(axis, field, numeric=all(_is_number(group.settings.get(axis)) for group in grid.groups))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _gain(difference: Statement | None) -> Field:
    if difference is None:
        return Field(ABSENT, -2.0)
    return Field(signed(difference).partition(" ")[0] + ("" if difference.claimed else " n.s."), difference.mean)


def _rounded(share: float | None, digits: int) -> Field:
    return Field(ABSENT, -1.0) if share is None else Field(f"{share:.{digits}f}", share)


def _ranks(ranks: tuple[int, int] | None) -> Field:
    if ranks is None:
        return Field(ABSENT, float("inf"))
    low, high = ranks
    return Field(str(low) if low == high else f"{low}{ABSENT}{high}", low + high / 1e6)


def _further(accuracies: dict[str, str], standings: Sequence[Standing]) -> list[Column]:
    """A column for each of the accuracies that some record has: its mean over a group's cells."""
    found = [Column(heading, partial(_mean, path)) for heading, path in accuracies.items()]
    return [column for column in found if any(column.field(each).text != ABSENT for each in standings)]


def _mean(path: str, standing: Standing) -> Field:
    found = [cell.get(f"{path}.mean") for cell in standing.group.cells]
    known = [float(value) for value in found if _is_number(value)]
    return _rounded(sum(known) / len(known) if known else None, 3)
