"""A search over several settings at once: every group as a line through its values, and which settings matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from simclr.report.groups import ORDERS, Group, shown
from simclr.report.palette import Theme
from simclr.report.scene import Picture, Scene

FEWEST_SETTINGS = 6
MOST_AXES = 8
MOST_TICKS = 6
TREES = 100


@dataclass(frozen=True, eq=False)
class Coordinate:
    """An upright axis: where each group stands on it, from 0 to 1, and what is written beside it."""

    name: str
    places: NDArray[np.float64]
    ticks: list[tuple[float, str]]


def search(scene: Scene) -> Picture | None:
    """Parallel coordinates over the settings that vary within the panel; None where fewer than two do."""
    standings = scene.panel.standings
    groups = [each.group for each in standings]
    varying = [axis for axis in scene.grid.axes if len({shown(group.settings.get(axis)) for group in groups}) > 1]
    if len(varying) < 2 or len(scene.by_setting) < FEWEST_SETTINGS:
        return None
    coordinates = [each for axis in (*ORDERS, *varying) if (each := _coordinate(axis, groups))]
    accuracy = np.array([each.accuracy.mean for each in standings])
    weights = importances(coordinates, accuracy)
    order = sorted(range(len(coordinates)), key=lambda place: -weights[place])[:MOST_AXES]
    shown_axes = [coordinates[place] for place in order] + [_numeric("accuracy", accuracy)]

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(max(1.55 * len(shown_axes) + 0.6, 6.5), 4.3), layout="constrained")
        axes = figure.subplots()
        points = np.stack([each.places for each in shown_axes], axis=1)
        spread = np.random.default_rng(0).uniform(-0.012, 0.012, points.shape)
        rising = np.argsort(accuracy)
        across = np.arange(len(shown_axes))
        lines = [np.column_stack([across, row]) for row in (points + spread)[rising]]
        colours = LinearSegmentedColormap.from_list("accuracy", [theme.grid, theme.ink])
        relative = (accuracy[rising] - accuracy.min()) / max(float(np.ptp(accuracy)), 1e-12)
        axes.add_collection(LineCollection(lines, colors=colours(relative), linewidths=1.1, alpha=0.8))
        axes.plot(across, points[0], color=theme.classes[1], linewidth=3, marker="o")
        for place, each in enumerate(shown_axes):
            axes.axvline(place, color=theme.muted, linewidth=1)
            for height, text in each.ticks:
                edge = [withStroke(linewidth=3, foreground=theme.paper)]
                axes.text(place + 0.04, height, text, fontsize=9, va="center", zorder=6, path_effects=edge)
        axes.set_xticks(across, [each.name.replace(".", "\n", 1) for each in shown_axes], fontsize=9)
        axes.set(xlim=(-0.15, len(shown_axes) - 0.45), ylim=(-0.06, 1.06), yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return figure

    shares = ", ".join(f"{coordinates[place].name} {weights[place]:.2f}" for place in order)
    return Picture(
        "search",
        "Which settings matter",
        "Each line is one group of cells, the stronger the more accurate; the best one is gold. "
        f"Settings stand in the order of their importance, the share of the differences that a random forest lays to "
        f"each: {shares}. Settings that always changed together share it by chance.",
        draw,
    )


def importances(coordinates: Sequence[Coordinate], accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each coordinate in what a random forest makes of accuracy (Breiman 2001), adding up to 1."""
    from sklearn.ensemble import RandomForestRegressor

    table = np.stack([each.places for each in coordinates], axis=1)
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0).fit(table, accuracy)
    return np.asarray(forest.feature_importances_, dtype=float)


def _coordinate(axis: str, groups: Sequence[Group]) -> Coordinate | None:
    values: list[Any] = [group.settings.get(axis) for group in groups]
    distinct = {shown(value) for value in values}
    if len(distinct) < 2:
        return None
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if numeric and len(distinct) > MOST_TICKS:
        return _numeric(axis, np.array(values, dtype=float))
    if numeric:
        values = [float(value) for value in values]
        names = [shown(value) for value in sorted(set(values))]
    else:
        names = sorted(distinct, key=ORDERS.get(axis, shown), reverse=axis in ORDERS)
    heights = {name: place / (len(names) - 1) for place, name in enumerate(names)}
    places = np.array([heights[shown(value)] for value in values])
    return Coordinate(axis, places, [(height, name) for name, height in heights.items()])


def _numeric(name: str, values: NDArray[np.float64]) -> Coordinate:
    """From the least value to the greatest, by decades where they span more than one."""
    decades = values.min() > 0 and values.max() / values.min() > 10
    scale = np.log(values) if decades else values
    low, high = float(scale.min()), float(scale.max())
    places = (scale - low) / max(high - low, 1e-12)
    middle = float(np.exp((low + high) / 2)) if decades else (low + high) / 2
    return Coordinate(
        name, places, [(0.0, f"{values.min():.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{values.max():.3g}")]
    )
