"""How pretraining went: loss, contrastive accuracy and the online neighbour monitor, by epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
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


def curves(scene: Scene) -> Picture | None:
    """The curves of every pretraining in focus; None where no history can be read."""
    found = []
    for cell in scene.pretrainings()[:MOST_LINES]:
        history = read_history(scene.root / "pretrained" / cell.key / "history.csv")
        if history is not None and history.notna().any(axis=None):
            found.append((cell.head, history))
    columns = [column for column in COLUMNS if any(history[column].notna().any() for _, history in found)]
    if not columns:
        return None

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(3.7 * len(columns) + 0.4, 3.7), layout="constrained")
        for axes, column in zip(figure.subplots(1, len(columns), squeeze=False).flat, columns, strict=True):
            for head, history in found:
                points = history[column].dropna()
                marker = "o" if len(points) == 1 else ""
                axes.plot(points, color=theme.head(head), linewidth=1.6, marker=marker, alpha=0.85)
            axes.set(title=COLUMNS[column], xlabel="epoch")
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


def read_history(path: Path) -> pd.DataFrame | None:
    """The curves by epoch, NaN where a value is missing or not finite; None where there is nothing to read."""
    try:
        if path.stat().st_size > LARGEST:
            return None
        table = pd.read_csv(path, index_col=False, on_bad_lines="skip")
    except (OSError, ValueError):
        return None
    numbers = table.reindex(columns=["epoch", *COLUMNS]).apply(pd.to_numeric, errors="coerce")
    return numbers[np.isfinite(numbers["epoch"])].set_index("epoch").where(np.isfinite)
