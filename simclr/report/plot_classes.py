"""The classes: which are taken for which, and how they lie in the representations."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from simclr.data.labels import drawn
from simclr.report import stored
from simclr.report.groups import HEAD_WORDS
from simclr.report.palette import Theme
from simclr.report.scene import Picture, Scene
from simclr.report.standing import Standing

MOST_CLASSES = 30
MOST_NUMBERED = 12
MOST_NAMED = 10
"""Classes that a map shows, and pairs of classes in a list of mistakes."""
MOST_PANELS, MOST_POINTS = 12, 300
"""Of a map: its panels, and the images in each."""


def confusions(scene: Scene) -> Picture | None:
    """Each head's confusion matrix at its best layer; None where classes are too many to be seen."""
    of_heads = [[each for each in scene.focus if each.group.head == head] for head in scene.heads[:4]]
    best = [max(own, key=lambda each: each.accuracy.mean) for own in of_heads]
    found = [(each, table) for each in best if (table := _confusion(each)) is not None]
    if not found:
        return None
    names = [str(name) for name in found[0][0].group.first.get("probe.classes", [])]

    def draw(theme: Theme) -> Figure:
        columns = min(len(found), 2)
        rows = -(-len(found) // columns)
        figure = Figure(figsize=(4.3 * columns + 0.4, 4.3 * rows), layout="constrained")
        for axes, (standing, table) in zip(figure.subplots(rows, columns, squeeze=False).flat, found, strict=False):
            colours = LinearSegmentedColormap.from_list("shares", [theme.soft, theme.head(standing.group.head)])
            axes.imshow(table, cmap=colours, vmin=0, vmax=1)
            ticks = names if len(names) == len(table) else [str(place) for place in range(len(table))]
            turned = 0 if max(map(len, ticks)) <= 3 else 45
            axes.set_xticks(range(len(table)), ticks, rotation=turned, ha="right" if turned else "center", fontsize=8.5)
            axes.set_yticks(range(len(table)), ticks, fontsize=8.5)
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            group = standing.group
            axes.set_title(f"{HEAD_WORDS.get(group.head, group.head)}, at {group.layer}")
            _numbers(axes, table, colours)
        for axes in figure.axes[len(found) :]:
            axes.set_visible(False)
        figure.supxlabel("class given by the probe", fontsize=10)
        figure.supylabel("true class", fontsize=10)
        return figure

    return Picture(
        "confusion",
        "Which classes are taken for which",
        "Rows are true classes; each row shows in percent which class its test images were given, over all seeds and "
        "label subsets, at the head's best layer. Whatever is off the diagonal is a mistake." + scene.where(),
        draw,
    )


def _confusion(standing: Standing) -> NDArray[np.float64] | None:
    """Rows that add up to one; None where a record has no square table of at most so many classes."""
    try:
        tables = np.array([cell.get("probe.confusion") for cell in standing.group.cells], dtype=float)
    except (TypeError, ValueError):
        return None
    if tables.ndim != 3 or tables.shape[1] != tables.shape[2] or not 2 <= tables.shape[1] <= MOST_CLASSES:
        return None
    total = tables.sum(axis=0)
    return np.asarray(total / np.maximum(total.sum(axis=1, keepdims=True), 1))


def mistakes(scene: Scene) -> Picture | None:
    """The pairs of classes that the best cells mistake most often, where a matrix of all of them cannot be seen."""
    group = scene.best.group
    names = [str(name) for name in group.first.get("probe.classes", [])]
    given = [cell.predictions for cell in group.cells]
    if len(names) <= MOST_CLASSES or not all(given):
        return None
    pairs = np.concatenate([(each["labels"].astype(np.int64) * len(names) + each["trained"]).ravel() for each in given])
    truth = np.bincount(pairs // len(names), minlength=len(names))
    known, counts = np.unique(pairs[pairs // len(names) != pairs % len(names)], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MOST_NAMED]
    if not len(most):
        return None
    rows = [(*divmod(int(known[place]), len(names)), int(counts[place])) for place in most]

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(8.4, 0.36 * len(rows) + 1.2), layout="constrained")
        axes = figure.subplots()
        shares = [count / truth[true] for true, _, count in rows]
        axes.barh(range(len(rows)), shares, color=theme.head(group.head), height=0.62)
        axes.set_yticks(range(len(rows)), [f"{names[true]}  taken for  {names[said]}" for true, said, _ in rows])
        axes.invert_yaxis()
        axes.set_xlabel("share of the true class's test images")
        axes.grid(visible=False, axis="y")
        return figure

    return Picture(
        "mistakes",
        "Which classes are mistaken most often",
        f"Of {len(names):,} classes the pairs that are mistaken most often: which share of the first one's test images "
        "was given the second, over all seeds and label subsets of the best cells." + scene.where(),
        draw,
    )


def _numbers(axes: Axes, table: NDArray[np.float64], colours: LinearSegmentedColormap) -> None:
    """Percentages, in black or white by how bright their square is; none where squares are too small."""
    if len(table) > MOST_NUMBERED:
        return
    for row, column in np.argwhere(table >= 0.005):
        share = float(table[row, column])
        bright = np.dot(colours(share)[:3], (0.299, 0.587, 0.114)) > 0.5
        colour = "#10151c" if bright else "#ffffff"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)


def maps(scene: Scene) -> Picture | None:
    """t-SNE of the test images, a row per head and a column per layer; None where no features are stored."""
    labels = scene.best.group.first.predictions.get("labels")
    if labels is None:
        return None
    chosen = drawn(labels, MOST_POINTS, 0, MOST_NAMED)  # the same ones for every panel
    placed: dict[tuple[str, str], NDArray[np.float64]] = {}
    heads = scene.heads
    layers = [layer for layer in scene.layers if not layer.startswith(("dense_", "stage_"))] or scene.layers
    while len(heads) * len(layers) > MOST_PANELS and len(layers) > 2:
        layers = layers[:-1]
    for head, folder in scene.features():
        for layer in layers:
            if (head, layer) in placed or len(placed) >= MOST_PANELS:
                continue
            found = stored.load(folder, "test", layer, chosen)
            if found is not None and len(found) == len(chosen):
                placed[head, layer] = stored.flat_map(found)
    heads = [head for head in heads if any(head == key[0] for key in placed)]
    layers = [layer for layer in layers if any(layer == key[1] for key in placed)]
    if not placed:
        return None
    classes = [str(name) for name in scene.best.group.first.get("probe.classes", [])]
    shown, known = len(np.unique(labels[chosen])), len(np.unique(labels))
    of_some = f" of {shown} classes, drawn from {known:,}" if shown < known else ""

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(2.7 * len(layers) + 0.4, 2.75 * len(heads) + 0.2), layout="constrained")
        grid = figure.subplots(len(heads), len(layers), squeeze=False)
        for row, head in enumerate(heads):
            for column, layer in enumerate(layers):
                axes = grid[row, column]
                axes.set(xticks=[], yticks=[], xlim=(-0.16, 1.16), ylim=(-0.08, 1.08))
                axes.grid(visible=False)
                axes.spines[:].set(visible=True, color=theme.grid)
                if row == 0:
                    axes.set_title(layer.replace("_", " "))
                if column == 0:
                    axes.set_ylabel(HEAD_WORDS.get(head, head), color=theme.head(head), fontweight="bold")
                if (head, layer) in placed:
                    _scatter(axes, placed[head, layer], labels[chosen], classes, theme)
                else:
                    axes.text(0.5, 0.5, "not there", ha="center", va="center", color=theme.muted, fontsize=9)
        return figure

    return Picture(
        "maps",
        "How the classes lie",
        f"t-SNE of {len(chosen)} test images{of_some}, coloured and named by class, of the first seed's network. "
        "Neighbours mean something, distances between clusters and their sizes do not; every panel is a map of its own."
        + scene.where(),
        draw,
    )


def _scatter(
    axes: Axes, points: NDArray[np.float64], labels: NDArray[np.int16], classes: list[str], theme: Theme
) -> None:
    present, numbers = np.unique(labels, return_inverse=True)
    colours = np.array([theme.classes[number % len(theme.classes)] for number in numbers])
    axes.scatter(points[:, 0], points[:, 1], c=colours, s=11, linewidths=0, alpha=0.85)
    for label in present if len(present) <= len(theme.classes) else ():
        x, y = np.median(points[labels == label], axis=0)
        name = classes[label] if 0 <= label < len(classes) else str(label)
        axes.text(
            x, y, name, ha="center", va="center", fontsize=9, fontweight="bold", color=theme.ink,
            path_effects=[withStroke(linewidth=2.5, foreground=theme.paper)],
        )  # fmt: skip
