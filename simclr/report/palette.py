"""The look of every picture: one colour and one marker per head, in a light and a dark variant.

Colours are those of Okabe and Ito ("Color universal design", 2008), which stay apart for the colour-blind; on dark
ground their lighter kin. Markers and line styles say the same once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D

from simclr.report.groups import HEAD_WORDS

MARKERS = {"three_relu": "P", "two_relu": "o", "one_relu": "s", "zero_relu": "^", "none": "D"}


@dataclass(frozen=True)
class Theme:
    """Colours for one ground."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    soft: str
    heads: dict[str, str]
    other: str
    classes: tuple[str, ...]

    def head(self, name: str) -> str:
        return self.heads.get(name, self.other)

    def settings(self) -> Any:
        """For ``matplotlib.rc_context``."""
        return {
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 10.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": self.grid,
            "grid.linewidth": 0.8,
            "text.color": self.ink,
            "text.parse_math": False,  # names come from files: a dollar sign in one is no formula
            "xtick.color": self.ink,
            "ytick.color": self.ink,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.frameon": False,
            "legend.fontsize": 10,
            "lines.linewidth": 2.0,
            "lines.markersize": 7,
            "font.family": ["DejaVu Sans"],
            "font.size": 10.5,
        }


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1d2530",
    muted="#8a94a3",
    grid="#e7eaef",
    soft="#f3f6fa",
    heads={
        "three_relu": "#7a6a00", "two_relu": "#0072b2", "one_relu": "#d55e00",
        "zero_relu": "#009e73", "none": "#b5589a",
    },
    other="#5c6675",
    classes=(
        "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7a6a00", "#5b3a9e", "#6b7280", "#8c2d19",
    ),
)  # fmt: skip
DARK = Theme(
    name="dark",
    paper="#14181f",
    ink="#e6eaf0",
    muted="#7d8796",
    grid="#262d38",
    soft="#1b212a",
    heads={
        "three_relu": "#c9bb3c", "two_relu": "#4fb0ea", "one_relu": "#ff8b3d",
        "zero_relu": "#2bc99a", "none": "#e08fc6",
    },
    other="#a5afbd",
    classes=(
        "#4fb0ea", "#f2b632", "#2bc99a", "#e08fc6", "#ff8b3d", "#9fd6f7", "#c9bb3c", "#a68bf0", "#a5afbd", "#d9705a",
    ),
)  # fmt: skip
THEMES = (LIGHT, DARK)


def head_entries(heads: Iterable[str], theme: Theme, markers: bool = True) -> list[Line2D]:
    """What a legend has of each head."""
    return [
        Line2D(
            [], [], color=theme.head(head), marker=MARKERS.get(head, "v") if markers else "",
            markeredgecolor=theme.paper, label=HEAD_WORDS.get(head, head),
        )
        for head in heads
    ]  # fmt: skip
