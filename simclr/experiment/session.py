"""What a cell carries with it while it runs: its clock, and who is told how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simclr.config import Config, PretrainConfig
from simclr.config.cell import Cell
from simclr.foundation.errors import one_line
from simclr.foundation.interruption import TERMINATED, ask_to_stop
from simclr.foundation.work import Word

if TYPE_CHECKING:
    from simclr.data import Images
    from simclr.store import Pretraining
    from simclr.tracking import Tracker
    from simclr.tracking.remote import Remote

log = logging.getLogger(__name__)


class Session:
    """Where a cell's wall-clock seconds went, and what others are told of it, once it has a name.

    Attributes:
        parts: seconds by part of the work.
        word: tells other processes what this one is doing.
        tracker: tells W&B.
        remote: the second store of pretrained networks, where there is one.
        watchers: shown the pretraining's history so far at the end of each of its epochs; may raise ``StoppedEarly``.
    """

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.parts: dict[str, float] = {}
        self.word: Word | None = None
        self.tracker: Tracker | None = None
        self.remote: Remote | None = None
        self.watchers: list[Callable[[Sequence[dict[str, float]]], None]] = []

    def track(self, cell: Cell, images: Images) -> None:
        """Begin the cell's run in W&B, as ``tracking`` says."""
        from simclr import tracking
        from simclr.data import reference

        config = cell.config
        tracker = tracking.start(config.tracking, config.root, cell.facts)
        self.borrow(tracker, config)
        counts = {part: len(getattr(images, part)) for part in ("train", "unlabeled", "test")}
        tracker.log_data(config.data.name, images.digest, reference(config.data), counts)

        def show(history: Sequence[dict[str, float]]) -> None:
            tracker.epoch(len(history), {name: value for name, value in history[-1].items() if name != "epoch"})

        self.watchers.insert(0, show)

    def borrow(self, tracker: Tracker, config: Config) -> None:
        """Work under a run: what is made is kept there, and it may be stopped from its page."""
        from simclr.tracking.remote import Remote

        self.tracker = tracker
        if config.store.remote == "wandb":
            self.remote = Remote(tracker)

        def heed(_: Sequence[dict[str, float]]) -> None:
            if tracker.stop_requested:
                ask_to_stop()

        self.watchers.append(heed)

    def start(self, settings: PretrainConfig) -> int:
        """Start TensorFlow as a pretraining wants it, once per process; how many threads it has."""
        from simclr.training.runtime import start_tensorflow

        with self("start"):
            return start_tensorflow(settings.threads, settings.strategy, settings.xla, settings.workers_minutes)

    def heed(self) -> None:
        """End what waits, where someone has stopped the run from its page.

        Raises:
            SystemExit: someone has.
        """
        if self.tracker is not None and self.tracker.stop_requested:
            raise SystemExit(TERMINATED)

    def show_pretraining(self, pretraining: Pretraining, made_here: bool) -> None:
        """Keep a network that was made here as an artifact, and say of one that was not that it is used."""
        if self.tracker is not None:
            facts = {"name": pretraining.manifest["name"]}
            self.tracker.log_pretraining(pretraining.key, pretraining.folder, facts, made_here=made_here)

    def end(self, error: BaseException | None = None) -> None:
        """End the run in W&B: well, with what went wrong, or as one that goes on elsewhere."""
        tracker = self.tracker
        if tracker is None:
            return
        if error is None:
            tracker.finish(0)
        elif isinstance(error, Exception):
            tracker.summary({"status": "failed", "error": one_line(error)})
            tracker.finish(1)
        else:
            if isinstance(error, SystemExit) and not tracker.stopped():
                tracker.preempting()
            tracker.finish(TERMINATED if isinstance(error, SystemExit) else 130)

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
        if self.word is not None:
            self.word.tell(**facts)

    def report(self, line: str) -> None:
        """Say a line about what the cell has to do before it can go on, such as to wait."""
        log.info(line)
        self.tell(doing=line)
