"""What the process of a W&B agent makes of knowing its sweep, of which a server hands it one cell at a time.

A server hands out cells in sorted order, so that agents which are started together get cells of the same head. While
another one makes their pretraining, each of them makes a different one of the sweep's, and returns to its own cell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import yaml

from simclr.config import Config
from simclr.config.cell import chosen
from simclr.config.compose import Composer
from simclr.experiment.seen import Others
from simclr.foundation.errors import InvalidInput, one_line
from simclr.foundation.files import make_folder, write_whole

if TYPE_CHECKING:
    from simclr.tracking import Tracker

log = logging.getLogger(__name__)


class Pretrain(Protocol):
    """Makes the pretraining of a cell, unless it is there or in other hands; whether it was made."""

    def __call__(self, config: Config, tracker: Tracker, others: Others) -> bool: ...


class Sweep:
    """The sweep that an agent's cell is from."""

    def __init__(self, tracker: Tracker, config: Config) -> None:
        """Know where to ask.

        Args:
            tracker: of this cell's run; it knows the sweep.
            config: of this cell; the others are kept below the same root.
        """
        self._tracker, self._config = tracker, config
        self._cells: list[Config] | None = None

    def cells(self) -> list[Config]:
        """All cells of it, in its order; none where it is not known, or no grid."""
        if self._cells is None:
            try:
                self._cells = self._composed()
            except (InvalidInput, OSError) as error:
                log.warning("the sweep's other cells are not known, so this one waits: %s", error)
                self._cells = []
        return self._cells

    def another_pretraining(self, pretrain: Pretrain) -> Callable[[], bool]:
        """What to call while waiting: makes one of the sweep's other pretrainings that nobody has begun.

        Returns:
            A function that returns True once it has made one, and False where there is none.
        """
        remaining: list[Config] | None = None

        def make() -> bool:
            nonlocal remaining
            if remaining is None:
                remaining = self._one_of_each_other()
            while remaining:
                other = remaining.pop(0)
                try:
                    if pretrain(other, self._tracker, self.cells):
                        return True
                except Exception as error:
                    # It is that cell's own affair, whose own run will meet it, and record it.
                    log.warning("a pretraining for head=%s failed here: %s", other.head.name, one_line(error))
            return False

        return make

    def _one_of_each_other(self) -> list[Config]:
        """One cell of each other pretraining."""
        found: dict[str, Config] = {}
        for other in self.cells():
            try:
                found.setdefault(chosen(other).key, other)
            except InvalidInput:  # an impossible cell
                continue
        found.pop(chosen(self._config).key, None)
        return list(found.values())

    def _composed(self) -> list[Config]:
        from simclr.sweep.file import read
        from simclr.sweep.space import points, text_of

        found, config = self._tracker.sweep(), self._config
        if found is None or found.get("method") != "grid":
            return []
        file = Path(config.root) / "wandb" / f"sweep-{self._tracker.sweep_id}.yaml"
        make_folder(file.parent)
        write_whole(file, yaml.safe_dump(found).encode())
        composed = list(map(Composer(), [(*point, f"root={text_of(config.root)}") for point in points(read(file))]))
        for other in composed:
            # Where and how the work is done is this process's own affair.
            other.store, other.tracking, other.pretrain.threads = config.store, config.tracking, config.pretrain.threads
        return composed
