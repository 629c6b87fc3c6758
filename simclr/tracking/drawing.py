"""Pictures of a cell, as RGB arrays: its training, its representation, its confusions, what the network sees.

Each takes arrays and gives pixels (H, W, 3) uint8; no window, no file, no state of matplotlib's is touched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simclr.data.labels import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]

MOST_POINTS = 2000
"""Images in a t-SNE: its time grows with them, and a scatter of more cannot be read."""
MOST_CLASSES = 30
"""Classes in one picture; of more, some are drawn, or some pairs of them."""


def loss_curve(history: Sequence[Mapping[str, float]]) -> Picture:
    """By epoch ``loss``, ``contrastive_accuracy`` and, where known, the online probe's ``monitor/knn_accuracy``."""
    epochs = np.arange(1, len(history) + 1)
    figure = _figure(9, 4)
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in history], color="C0")
    left.set(title="contrastive loss", xlabel="epoch")
    for name, label in (("contrastive_accuracy", "finds its other view"), ("monitor/knn_accuracy", "kNN probe")):
        values = np.array([row.get(name, np.nan) for row in history], dtype=float)
        known = np.isfinite(values)
        if known.any():
            right.plot(epochs[known], values[known], marker="." if known.sum() < 30 else "", label=label)
    right.set(title="accuracy in training", xlabel="epoch", ylim=(0, 1))
    right.legend()
    return _pixels(figure)


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Picture:
    """A confusion matrix: rows are true classes, columns the probe's; shares of a row in colour, counts as numbers."""
    matrix = np.asarray(counts, dtype=float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(4 + 0.45 * len(classes), 14)
    figure = _figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title="confusion")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 20:
        for (row, column), share in np.ndenumerate(shares):
            ink = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{matrix[row, column]:.0f}", ha="center", va="center", color=ink, fontsize=8)
    return _pixels(figure)


def confused(pairs: Sequence[Mapping[str, Any]]) -> Picture:
    """The pairs of classes that are mistaken most often, as a record has them: ``true``, ``given``, ``count``."""
    figure = _figure(8, 1.2 + 0.36 * len(pairs))
    axes = figure.subplots()
    axes.barh(range(len(pairs)), [each["count"] for each in pairs], color="C0", height=0.62)
    axes.set_yticks(range(len(pairs)), [f"{each['true']} taken for {each['given']}" for each in pairs])
    axes.invert_yaxis()
    axes.set(xlabel="test images, over all label subsets", title="mistaken most often")
    return _pixels(figure)


def scatter(features: NDArray[Any], labels: NDArray[Any], classes: Sequence[str], seed: int) -> Picture:
    """The representation in the plane by t-SNE (van der Maaten and Hinton 2008), coloured by class.

    Args:
        features: (N, D), of N images; at most ``MOST_POINTS`` of ``MOST_CLASSES`` classes are drawn.
        labels: (N,), each image's position in ``classes``.
        classes: their names; none of images without labels.
        seed: which ones are drawn, and how they come to lie.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    chosen = drawn(labels, MOST_POINTS, seed, MOST_CLASSES)
    some, of = np.asarray(features[chosen], np.float32), np.asarray(labels)[chosen]
    method = TSNE(perplexity=min(30, (len(some) - 1) / 3), init="pca", random_state=seed)
    # On a few hundred points threads cost more than they save, beside other work many times as much.
    with threadpool_limits(1):
        plane = method.fit_transform(some)
    figure = _figure(7, 6)
    axes = figure.subplots()
    shown = np.unique(of) if classes else ()
    colours = _colours(len(shown))
    if not classes:
        axes.scatter(plane[:, 0], plane[:, 1], s=10, color="C0")
    for number, colour in zip(shown, colours, strict=False):
        of_class = plane[of == number]
        axes.scatter(of_class[:, 0], of_class[:, 1], s=10, color=colour, label=classes[number])
    of_some = f" of {len(shown)} of {len(classes):,} classes" if len(classes) > len(shown) > 0 else ""
    axes.set(title=f"t-SNE of {len(some):,} {'test ' if classes else ''}images{of_some}", xticks=[], yticks=[])
    if classes:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), ncols=1 + len(shown) // 25)
    return _pixels(figure)


def view_grid(views: NDArray[Any], columns: int = 8) -> Picture:
    """Pairs of views as the network sees them, one above the other.

    Args:
        views: (M, 2, H, W, C) in [0, 1], C 1 or 3.
        columns: pairs in a row of the grid.
    """
    count, _, height, width, _ = views.shape
    scale = max(1, round(64 / max(height, width)))
    pixels = (np.clip(np.nan_to_num(np.asarray(views, np.float32)), 0, 1) * 255).round().astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:-1], 3)).repeat(scale, axis=2).repeat(scale, axis=3)
    gap, high, wide = 4, height * scale, width * scale
    rows = -(-count // columns)
    canvas = np.full((rows * (2 * high + 3 * gap), min(count, columns) * (wide + gap) + gap, 3), 255, np.uint8)
    for number, pair in enumerate(pixels):
        top = (number // columns) * (2 * high + 3 * gap) + gap
        left = (number % columns) * (wide + gap) + gap
        for view in pair:
            canvas[top : top + high, left : left + wide] = view
            top += high + 1
    return canvas


def _figure(width: float, height: float) -> Figure:
    # It tells of its font cache at the level at which a run tells of its epochs.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _pixels(figure: Figure) -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _colours(count: int) -> NDArray[Any]:
    from matplotlib import colormaps

    if count <= 10:
        return np.asarray(colormaps["tab10"](range(count)))
    return np.asarray(colormaps["turbo"](np.linspace(0.05, 0.95, count)))
