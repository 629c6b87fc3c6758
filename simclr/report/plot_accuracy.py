"""Accuracy by layer and head, by share of labels, by epochs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simclr.report import documents
from simclr.report.groups import head_order, layer_order
from simclr.report.palette import MARKERS, Theme, head_entries
from simclr.report.scene import Picture, Scene, Setting
from simclr.report.standing import PIXELS, UNTRAINED, Interval, Standing

MOST_FACETS = 6
EXTRA_BASELINES = {
    "supervised_subset": ("supervised, same labels", (0, (3, 2))),
    "supervised_all": ("supervised, all labels", (0, (6, 2))),
}
"""How each is called and dashed."""
DOTS = (0, (1, 1.5))
"""Of raw pixels."""


def by_layer(scene: Scene) -> Picture:
    """The main picture: one line per head over the layers, with intervals, baselines and the documents' values."""
    facets = list(scene.by_setting.items())[:MOST_FACETS]

    def draw(theme: Theme) -> Figure:
        columns = min(len(facets), 3)
        rows = math.ceil(len(facets) / columns)
        figure = Figure(figsize=(7.6 if columns == 1 else 4.2 * columns, 4.9 if rows == 1 else 3.4 * rows + 0.9))
        all_axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, (setting, standings) in zip(all_axes, facets, strict=False):
            _facet(axes, standings, theme)
            if len(facets) > 1:
                axes.set_title(_short(setting), fontsize=9)
        for axes in all_axes[len(facets) :]:
            axes.set_visible(False)
        figure.axes[0].set_ylabel(f"{scene.panel.first.part} accuracy")
        _legend(figure, scene, theme)
        return figure

    more = len(scene.by_setting) - len(facets)
    return Picture(
        "accuracy-by-layer",
        "Accuracy by probed layer",
        "Each point is the mean over seeds and label subsets with its 95 % interval over seeds (where there are "
        "several), labels and images; an image passes the layers from left to right. The grey bands are what has to be "
        "beaten: raw pixels and the same layer before the first training step. Overlapping intervals do not mean "
        "equal: comparisons are paired, and the table has them."
        + (f" The best {len(facets)} of {len(scene.by_setting)} settings." if more > 0 else ""),
        draw,
    )


def _short(setting: Setting) -> str:
    """A line per axis, under the last part of its key: the table has them whole."""
    return "\n".join(f"{key.rpartition('.')[2]}={value}" for key, value in setting)


def _facet(axes: Axes, standings: list[Standing], theme: Theme) -> None:
    layers = sorted({each.group.layer for each in standings}, key=layer_order)
    heads = sorted({each.group.head for each in standings}, key=head_order)
    places = {layer: float(place) for place, layer in enumerate(layers)}
    _baselines(axes, standings, places, theme)
    for number, head in enumerate(heads):
        own = sorted((each for each in standings if each.group.head == head), key=lambda s: layer_order(s.group.layer))
        shift = (number - (len(heads) - 1) / 2) * 0.09
        where = [places[each.group.layer] + shift for each in own]
        _line(axes, where, [each.accuracy for each in own], head, theme)
    if documents.same_images(standings[0].group) and documents.HEAD in heads:
        for source in documents.SOURCES:
            marks = [(places[layer], value) for layer, value in source.accuracy.items() if layer in places]
            if marks:
                at, values = zip(*marks, strict=True)
                axes.scatter(at, values, marker=source.marker, s=70, color=theme.ink, zorder=5)
    axes.set_xticks(range(len(layers)), [layer.replace("_", " ") for layer in layers])
    axes.tick_params("x", length=0)
    axes.set_xlim(-0.5, len(layers) - 0.5)
    axes.grid(visible=False, axis="x")


def _baselines(axes: Axes, standings: list[Standing], places: dict[str, float], theme: Theme) -> None:
    pixels = _hull([each.baselines.get(PIXELS) for each in standings])
    if pixels:
        axes.axhspan(pixels.low, pixels.high, color=theme.muted, alpha=0.16, linewidth=0)
        axes.axhline(pixels.mean, color=theme.muted, linewidth=1.4, linestyle=DOTS)
    for layer, place in places.items():
        untrained = _hull([each.baselines.get(UNTRAINED) for each in standings if each.group.layer == layer])
        if untrained:
            ends = [place - 0.36, place + 0.36]
            axes.fill_between(ends, untrained.low, untrained.high, color=theme.muted, alpha=0.28, linewidth=0)
            axes.plot(ends, [untrained.mean] * 2, color=theme.muted, linewidth=1.4)
    for name, (_, dashes) in EXTRA_BASELINES.items():
        if values := _extra(standings, name):
            axes.axhline(float(np.mean(values)), color=theme.ink, linewidth=1.2, linestyle=dashes)


def _extra(standings: Iterable[Standing], name: str) -> list[float]:
    found = [cell.get(f"baselines.{name}.mean") for each in standings for cell in each.group.cells]
    return [float(value) for value in found if isinstance(value, (int, float))]


def _hull(intervals: list[Interval | None]) -> Interval | None:
    """From the lowest bound to the highest one, around the mean of means."""
    known = [each for each in intervals if each is not None and not math.isnan(each.low)]
    if not known:
        return None
    mean = float(np.mean([each.mean for each in known]))
    return Interval(mean, min(each.low for each in known), max(each.high for each in known))


def _line(axes: Axes, where: list[float], values: list[Interval], head: str, theme: Theme) -> None:
    means = np.array([each.mean for each in values])
    errors = np.nan_to_num([[each.mean - each.low, each.high - each.mean] for each in values]).T
    axes.errorbar(
        where,
        means,
        np.maximum(errors, 0),
        color=theme.head(head),
        marker=MARKERS.get(head, "v"),
        linestyle="-",
        markeredgecolor=theme.paper,
        markeredgewidth=1.2,
        elinewidth=1.6,
        capsize=0,
        zorder=4,
    )


def _legend(figure: Figure, scene: Scene, theme: Theme) -> None:
    shown = scene.panel.standings
    heads = sorted({each.group.head for each in shown}, key=head_order)
    entries: list[Line2D | Patch] = [*head_entries(heads, theme)]
    if any(UNTRAINED in each.baselines for each in shown):
        entries.append(Patch(color=theme.muted, alpha=0.45, linewidth=0, label="before the first step"))
    if any(PIXELS in each.baselines for each in shown):
        entries.append(Line2D([], [], color=theme.muted, linestyle=DOTS, label="raw pixels"))
    for name, (words, dashes) in EXTRA_BASELINES.items():
        if _extra(shown, name):
            entries.append(Line2D([], [], color=theme.ink, linewidth=1.2, linestyle=dashes, label=words))
    if documents.same_images(shown[0].group) and documents.HEAD in heads:
        for source in documents.SOURCES:
            mark = Line2D([], [], color=theme.ink, marker=source.marker, linestyle="", label=source.name)
            entries.append(mark)
    columns = min(len(entries), 3 if figure.get_figwidth() < 8 else 6)
    figure.set_layout_engine("constrained")
    figure.legend(handles=entries, loc="outside lower center", ncols=columns)


def by_label_fraction(scene: Scene) -> Picture | None:
    """How accuracy grows with the share of labels; None where the grid has but one share."""
    return _along(
        scene,
        "probe.label_fraction",
        "accuracy-by-labels",
        "Accuracy by share of labels",
        "share of the training labels",
        "Where lines are far above the grey one at few labels and meet it at many, pretraining has saved labels.",
    )


def by_epochs(scene: Scene) -> Picture | None:
    """How accuracy grows with pretraining; None where the grid has but one length."""
    return _along(
        scene,
        "pretrain.epochs",
        "accuracy-by-epochs",
        "Accuracy by epochs of pretraining",
        "epochs of pretraining",
        "A line that still rises at its right end has not been trained to its end; each point is a run of its own, "
        "whose learning rate decays over its own length.",
    )


def _along(scene: Scene, axis: str, name: str, title: str, label: str, reading: str) -> Picture | None:
    """One line per head along a numeric axis, at the best group's layer and with everything else as there."""
    best = scene.best.group
    lines: dict[Setting, dict[str, dict[float, Standing]]] = defaultdict(lambda: defaultdict(dict))
    for panel in scene.panels:
        for standing in panel.standings:
            value = standing.group.settings.get(axis)
            if standing.group.layer == best.layer and isinstance(value, (int, float)):
                lines[scene.grid.setting(standing.group, without=axis)][standing.group.head][float(value)] = standing
    rest, chosen = max(lines.items(), key=lambda each: _worth(each[1]), default=((), {}))
    if max((len(line) for line in chosen.values()), default=0) < 2:
        return None

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(7.0, 4.2), layout="constrained")
        axes = figure.subplots()
        for head in sorted(chosen, key=head_order):
            line = sorted(chosen[head].items())
            _line(axes, [value for value, _ in line], [each.accuracy for _, each in line], head, theme)
        for baseline, style in ((PIXELS, DOTS), (UNTRAINED, "-")):
            means = {
                value: each.baselines[baseline].mean
                for line in chosen.values()
                for value, each in line.items()
                if baseline in each.baselines
            }
            axes.plot(*zip(*sorted(means.items()), strict=True), color=theme.muted, linestyle=style, zorder=2)
        values = sorted({value for line in chosen.values() for value in line})
        if values[0] > 0:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set(xlabel=label, ylabel=f"{best.part} accuracy")
        entries = head_entries(sorted(chosen, key=head_order), theme)
        entries.append(Line2D([], [], color=theme.muted, label="before the first step"))
        entries.append(Line2D([], [], color=theme.muted, linestyle=DOTS, label="raw pixels"))
        figure.legend(handles=entries, loc="outside lower center", ncols=3)
        return figure

    where = f" with {', '.join(f'{key}={value}' for key, value in rest)}" if rest else ""
    return Picture(name, title, f"Probed at {best.layer}{where}. {reading}", draw)


def _worth(lines: dict[str, dict[float, Standing]]) -> tuple[int, float]:
    """What makes a set of lines worth showing: points along the axis, then accuracy."""
    every = [standing.accuracy.mean for line in lines.values() for standing in line.values()]
    return len({value for line in lines.values() for value in line}), max(every)
