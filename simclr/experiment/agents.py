"""What a W&B agent's process does while another one makes its cell's pretraining: another one that its sweep needs.

A server hands out cells in sorted order, so that agents which are started together get cells of the same head. Each of
them then makes a different one of the sweep's pretrainings first, and returns to its own cell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from simclr.config import Config
from simclr.config.cell import describe
from simclr.config.compose import Composer
from simclr.foundation.errors import InvalidInput, one_line
from simclr.foundation.files import write_whole

if TYPE_CHECKING:
    from simclr.tracking import Tracker

log = logging.getLogger(__name__)


def another_pretraining(
    tracker: Tracker, config: Config, pretrain: Callable[[Config, Tracker], bool]
) -> Callable[[], bool]:
    """What to call while waiting: makes one of the sweep's other pretrainings that nobody has begun.

    Args:
        tracker: of this cell's run; it knows the sweep.
        config: of this cell; the others are kept below the same root.
        pretrain: makes the pretraining of a cell, unless it is there or in other hands; whether it was made.

    Returns:
        A function that returns True once it has made one, and False where there is none.
    """
    remaining: list[Config] | None = None

    def make() -> bool:
        nonlocal remaining
        if remaining is None:
            remaining = list(_others(tracker, config))
        while remaining:
            other = remaining.pop(0)
            try:
                if pretrain(other, tracker):
                    return True
            except Exception as error:
                # It is that cell's own affair, whose own run will meet it, and record it.
                log.warning("a pretraining for head=%s failed here: %s", other.head.name, one_line(error))
        return False

    return make


def _others(tracker: Tracker, config: Config) -> Iterator[Config]:
    """One cell of each other pretraining of the sweep, in the sweep's order."""
    from simclr.sweep.file import read
    from simclr.sweep.space import points, text_of

    found = tracker.sweep()
    if found is None or found.get("method") != "grid":
        return
    file = Path(config.root) / "wandb" / f"sweep-{tracker.sweep_id}.yaml"
    known, root = {_key(config)}, f"root={text_of(config.root)}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, yaml.safe_dump(found).encode())
        for other in map(Composer(), [(*point, root) for point in points(read(file))]):
            # Where and how the work is done is this process's own affair.
            other.store, other.tracking, other.pretrain.threads = config.store, config.tracking, config.pretrain.threads
            try:
                key = _key(other)
            except InvalidInput:  # an impossible cell
                continue
            if key not in known:
                known.add(key)
                yield other
    except (InvalidInput, OSError) as error:
        log.warning("the sweep's other cells are not known, so this one waits: %s", error)


def _key(config: Config) -> str:
    # In place of a digest, which would have to be looked for: what the images are chosen by.
    return describe(config, repr(config.data.selection)).key
