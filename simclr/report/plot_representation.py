"""What the representations are like: four numbers by layer and head, and their spectra."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from simclr.report import stored
from simclr.report.groups import head_order, layer_order
from simclr.report.palette import MARKERS, Theme, head_entries
from simclr.report.scene import Picture, Scene

FACTS = {
    "alignment": ("alignment", "0: two views of an image are one point"),
    "uniformity": ("uniformity", "lower: spread more evenly"),
    "effective_rank": ("effective rank", "higher: more dimensions in use"),
    "knn_accuracy": ("kNN accuracy, all labels", "higher: classes lie together"),
}
READING = (
    "Alignment: the squared distance between two views of an image; a layer near 0 has thrown away what the "
    "augmentation changes, colour or position among it, whether or not the labels need it. Uniformity: how evenly "
    "images spread over the sphere; near 0 they have all become one point. Effective rank: how many dimensions are in "
    "use; where it falls towards the projection, dimensions have collapsed there, and a probe is better off before it. "
    "kNN: whether an image's neighbours share its class, without any fit."
)
MOST_LAYERS = 6
MOST_LEVEL = 6
"""Names of layers that stand level under an axis; more of them overlap."""


def facts(scene: Scene) -> Picture | None:
    """Alignment, uniformity, effective rank and neighbours by layer, one line per head; None where none is recorded."""
    found = _recorded(scene)
    names = [name for name in FACTS if found.get(name)]
    if not names:
        return None
    layers = sorted({layer for name in names for _, layer in found[name]}, key=layer_order)
    heads = sorted({head for name in names for head, _ in found[name]}, key=head_order)

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(9.6, 3.0 * ((len(names) + 1) // 2) + 0.5), layout="constrained")
        all_axes = figure.subplots((len(names) + 1) // 2, 2, squeeze=False, sharex=True).ravel()
        for axes, name in zip(all_axes, names, strict=False):
            title, hint = FACTS[name]
            for number, head in enumerate(heads):
                shift = (number - (len(heads) - 1) / 2) * 0.09
                own = {
                    place + shift: found[name][head, layer]
                    for place, layer in enumerate(layers)
                    if (head, layer) in found[name]
                }
                if own:
                    colour, values = theme.head(head), own.values()
                    axes.vlines(list(own), [*map(min, values)], [*map(max, values)], color=colour, linewidth=1.6)
                    look = {"color": colour, "marker": MARKERS.get(head, "v"), "markeredgecolor": theme.paper}
                    axes.plot(list(own), [np.mean(each) for each in values], **look)
            axes.set_title(title)
            axes.tick_params("x", length=0)
            axes.set_ylabel(hint, fontsize=8.5, color=theme.muted)
            turned = {"rotation": 40, "ha": "right"} if len(layers) > MOST_LEVEL else {}
            axes.set_xticks(range(len(layers)), [layer.replace("_", " ") for layer in layers], **turned)
            axes.set_xlim(-0.5, len(layers) - 0.5)
            axes.grid(visible=False, axis="x")
        figure.legend(handles=head_entries(heads, theme), loc="outside lower center", ncols=len(heads))
        return figure

    return Picture("representation", "What the representations are like", READING + scene.where(), draw)


def _recorded(scene: Scene) -> dict[str, dict[tuple[str, str], list[float]]]:
    """By fact, head and layer, the values of all seeds; alignment also from the stored features' manifests."""
    found: dict[str, dict[tuple[str, str], list[float]]] = {name: defaultdict(list) for name in FACTS}
    for standing in scene.focus:
        for cell in standing.group.cells:
            for name in FACTS:
                value = cell.get(f"representation.{name}")
                if isinstance(value, (int, float)):
                    found[name][cell.head, cell.layer].append(float(value))
    probed = set(found["alignment"])
    for head, folder in scene.features():
        for layer, value in stored.alignments(folder).items():
            if (head, layer) not in probed:
                found["alignment"][head, layer].append(value)
    return found


def spectra(scene: Scene) -> Picture | None:
    """Singular values by layer, one line per head; None where no features are stored."""
    found: dict[str, dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for head, folder in scene.features():
        for layer in ("encoder", "relu_1", "relu_2", "projection", *scene.layers)[: MOST_LAYERS + 4]:
            if head not in found[layer] and (loaded := stored.load(folder, "train", layer)) is not None:
                found[layer][head] = stored.spectrum(loaded)
    layers = sorted((layer for layer in found if found[layer]), key=layer_order)[:MOST_LAYERS]
    if not layers:
        return None
    heads = sorted({head for layer in layers for head in found[layer]}, key=head_order)

    def draw(theme: Theme) -> Figure:
        columns = min(len(layers), 3)
        rows = -(-len(layers) // columns)
        figure = Figure(figsize=(max(3.1 * columns, 5), 2.9 * rows + 0.5), layout="constrained")
        all_axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, layer in zip(all_axes, layers, strict=False):
            for head, values in found[layer].items():
                axes.plot(np.arange(1, len(values) + 1), np.maximum(values, 1e-6), color=theme.head(head))
            axes.set(xscale="log", yscale="log", ylim=(1e-4, 1.6), xlabel="dimension", title=layer.replace("_", " "))
            axes.minorticks_off()
            axes.xaxis.set_major_formatter(FuncFormatter(_plain))
            axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        for axes in all_axes[len(layers) :]:
            axes.set_visible(False)
        figure.axes[0].set_ylabel("singular value, largest = 1")
        figure.legend(handles=head_entries(heads, theme, markers=False), loc="outside lower center", ncols=len(heads))
        return figure

    return Picture(
        "spectra",
        "Spectra of singular values",
        "How much of the features' spread each dimension has, the largest first, of the first seed's network. A line "
        "that falls off a cliff has collapsed: the dimensions beyond it carry nothing. A slow decline keeps more for a "
        "probe to use." + scene.where(),
        draw,
    )


def _plain(value: float, _: object) -> str:
    """``0.01``: exponents would need mathematical text, which pictures do without."""
    return f"{value:g}"
