"""What the pictures look at: a panel, and within it the setting that the best group belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure

from simclr.report.groups import Grid, head_order, layer_order
from simclr.report.palette import Theme
from simclr.report.records import CellRecord
from simclr.report.standing import Panel, Standing
from simclr.report.stored import view_folder

Setting = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Picture:
    """Something to look at: a name for its files, a title, how to read it, and how it is drawn on a ground."""

    name: str
    title: str
    reading: str
    draw: Callable[[Theme], Figure]


@dataclass(frozen=True, eq=False)
class Scene:
    """A grid as its pictures see it."""

    root: Path
    grid: Grid
    panels: tuple[Panel, ...]

    @property
    def panel(self) -> Panel:
        return self.panels[0]

    @property
    def best(self) -> Standing:
        return self.panel.standings[0]

    @cached_property
    def by_setting(self) -> dict[Setting, list[Standing]]:
        """The panel's standings by their place on the axes other than head and layer, the best setting first."""
        places = {id(each): self.grid.setting(each.group) for each in self.panel.standings}
        constant = set.intersection(*map(set, places.values()))
        found: dict[Setting, list[Standing]] = defaultdict(list)
        for standing in self.panel.standings:
            found[tuple(each for each in places[id(standing)] if each not in constant)].append(standing)
        return dict(found)

    @cached_property
    def focus(self) -> list[Standing]:
        """The best group and those that differ from it in head and layer only."""
        return next(iter(self.by_setting.values()))

    @cached_property
    def heads(self) -> list[str]:
        return sorted({each.group.head for each in self.focus}, key=head_order)

    @cached_property
    def layers(self) -> list[str]:
        return sorted({each.group.layer for each in self.focus}, key=layer_order)

    def pretrainings(self) -> list[CellRecord]:
        """A cell of each pretraining in focus, by head."""
        seen: dict[str, CellRecord] = {}
        for standing in self.focus:
            for cell in standing.group.cells:
                if cell.key and Path(cell.key).name == cell.key:
                    seen.setdefault(cell.key, cell)
        return sorted(seen.values(), key=lambda each: head_order(each.head))

    def features(self) -> list[tuple[str, Path]]:
        """Head, and folder of the stored features, of each of them that has some."""
        found = [(cell.head, view_folder(self.root, cell)) for cell in self.pretrainings()]
        return [(head, folder) for head, folder in found if folder is not None]

    def where(self) -> str:
        """A clause for captions: which setting is shown, where there are several."""
        words = ", ".join(f"{key}={value}" for key, value in next(iter(self.by_setting)))
        return f" Shown: {words}, the setting of the best cell." if len(self.by_setting) > 1 else ""
