"""What a cell carries with it while it runs: its clock, and who is told how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from simclr.presence import Presence

log = logging.getLogger(__name__)


class Session:
    """Where a cell's wall-clock seconds went, and its presence, once it has a name under which to tell of it.

    Attributes:
        parts: seconds by part of the work.
        presence: tells other processes what this one is doing.
        watchers: shown the pretraining's history so far at the end of each of its epochs; may raise ``StoppedEarly``.
    """

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.parts: dict[str, float] = {}
        self.presence: Presence | None = None
        self.watchers: list[Callable[[Sequence[dict[str, float]]], None]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time inside as ``part`` of the work, and tell that it is under way."""
        begun = time.perf_counter()
        self.tell(doing=part)
        try:
            yield
        finally:
            self.parts[part] = round(self.parts.get(part, 0.0) + time.perf_counter() - begun, 3)

    @property
    def seconds(self) -> float:
        """Since the cell began."""
        return round(time.perf_counter() - self._begun, 3)

    def tell(self, **facts: Any) -> None:
        """Tell other processes how far the cell is."""
        if self.presence is not None:
            self.presence.tell(**facts)

    def report(self, line: str) -> None:
        """Say a line about what the cell has to do before it can go on, such as to wait."""
        log.info(line)
        self.tell(doing=line)
