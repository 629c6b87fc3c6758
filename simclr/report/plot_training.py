"""How pretraining went: loss, contrastive accuracy and the online neighbour monitor, by epoch."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simclr.report.palette import Theme, head_entries
from simclr.report.scene import Picture, Scene

COLUMNS = {
    "loss": "NT-Xent loss",
    "contrastive_accuracy": "contrastive accuracy",
    "monitor/knn_accuracy": "kNN accuracy, validation",
}
MOST_LINES = 60
LARGEST = 8 * 2**20

Curves = dict[str, list[tuple[float, float]]]


def curves(scene: Scene) -> Picture | None:
    """The curves of every pretraining in focus; None where no history can be read."""
    every = scene.pretrainings()[:MOST_LINES]
    found = [(each.head, read_history(scene.root / "pretrained" / each.key / "history.csv")) for each in every]
    found = [(head, history) for head, history in found if history]
    columns = [column for column in COLUMNS if any(history.get(column) for _, history in found)]
    if not columns:
        return None

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(3.7 * len(columns) + 0.4, 3.7), layout="constrained")
        for axes, column in zip(figure.subplots(1, len(columns), squeeze=False).flat, columns, strict=True):
            for head, history in found:
                if points := history[column]:
                    look = {"color": theme.head(head), "marker": "o" if len(points) == 1 else ""}
                    axes.plot(*zip(*points, strict=True), linewidth=1.6, alpha=0.85, **look)
            axes.set_title(COLUMNS[column])
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        entries = head_entries(dict.fromkeys(head for head, _ in found), theme, markers=False)
        figure.legend(handles=entries, loc="outside lower center", ncols=len(entries))
        return figure

    return Picture(
        "training-curves",
        "How pretraining went",
        "One line per pretraining, by seed. The loss says how well the two views of an image find each other among the "
        "batch; heads cannot be ranked by it, since it is measured after the head. The neighbour monitor, where it "
        "runs, sees validation images only." + scene.where(),
        draw,
    )


def read_history(path: Path) -> Curves:
    """By column, (epoch, value) of each epoch that has a finite value; empty where there is no such file."""
    found: Curves = {column: [] for column in COLUMNS}
    try:
        if path.stat().st_size > LARGEST:
            return {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for column, points in found.items():
                    try:
                        epoch, value = float(row["epoch"]), float(row[column])
                    except (KeyError, TypeError, ValueError):
                        continue
                    if math.isfinite(epoch) and math.isfinite(value):
                        points.append((epoch, value))
    except (OSError, ValueError, csv.Error):
        return {}
    return found if any(found.values()) else {}
