"""What the process of a W&B agent makes of knowing its sweep, of which a server hands it one cell at a time.

A server hands out cells in sorted order, so that agents which are started together get cells of the same head. While
another one makes their pretraining, each of them makes a different one of the sweep's, and returns to its own cell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from simclr.config import Config
from simclr.config.cell import chosen
from simclr.config.compose import Composer
from simclr.experiment.seen import Others, possible
from simclr.foundation.errors import InvalidInput, one_line
from simclr.foundation.files import make_folder, write_whole

if TYPE_CHECKING:
    from simclr.tracking import Tracker

log = logging.getLogger(__name__)


Pretrain = Callable[[Config, "Tracker", Others], bool]
"""Makes the pretraining of a cell, unless it is there or in other hands; whether it was made."""


def cells(tracker: Tracker, config: Config) -> list[Config]:
    """All cells of the sweep that an agent's cell is from, in its order; none where it is not known, or no grid.

    Args:
        tracker: of this cell's run; it knows the sweep.
        config: of this cell; the others are kept below the same root.
    """
    from simclr.sweep.file import read
    from simclr.sweep.space import points, text_of

    try:
        found = tracker.sweep()
        if found is None or found.get("method") != "grid":
            return []
        file = Path(config.root) / "wandb" / f"sweep-{tracker.sweep_id}.yaml"
        make_folder(file.parent)
        write_whole(file, yaml.safe_dump(found).encode())
        composed = list(map(Composer(), [(*point, f"root={text_of(config.root)}") for point in points(read(file))]))
    except (InvalidInput, OSError) as error:
        log.warning("the sweep's other cells are not known, so this one waits: %s", error)
        return []
    for other in composed:
        # Where and how the work is done is this process's own affair.
        other.store, other.tracking, other.pretrain.threads = config.store, config.tracking, config.pretrain.threads
    return composed


def another_pretraining(tracker: Tracker, config: Config, others: Others, pretrain: Pretrain) -> Callable[[], bool]:
    """What to call while waiting: makes one of the sweep's other pretrainings that nobody has begun.

    Returns:
        A function that returns True once it has made one, and False where there is none.
    """

    def attempts() -> Iterator[bool]:
        for other in _one_of_each_other(config, others()):
            try:
                yield pretrain(other, tracker, others)
            except Exception as error:
                # It is that cell's own affair, whose own run will meet it, and record it.
                log.warning("a pretraining for head=%s failed here: %s", other.head.name, one_line(error))

    remaining = attempts()
    return lambda: any(remaining)


def _one_of_each_other(config: Config, others: Iterable[Config]) -> list[Config]:
    """One cell of each other pretraining."""
    found: dict[str, Config] = {}
    for other in possible(others):
        found.setdefault(other.key, other.config)
    found.pop(chosen(config).key, None)
    return list(found.values())
