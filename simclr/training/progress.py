"""How far a pretraining is: a bar on a terminal, a plain line now and then elsewhere; always on standard error."""

from __future__ import annotations

import logging
import math
import sys
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from simclr.training.pace import Pace

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


def progress_callback(pace: Pace) -> Any:
    """The callback that suits standard error: :class:`ProgressBar` on a terminal, else :class:`ProgressLines`.

    Where the log does not go to the terminal, as in a grid with its live table, neither does a bar.
    """
    shown = any(type(each) is logging.StreamHandler for each in logging.getLogger().handlers)
    return (ProgressBar if shown and sys.stderr.isatty() else ProgressLines)(pace)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """One bar over all of the work, with the loss, contrastive accuracy, images per second and the time left."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace
        self._bar: Progress | None = None
        self._epoch, self._drawn = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch
        if self._bar is None:
            self._bar = Progress(
                TextColumn("pretraining"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[facts]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=1.0, facts="")
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        if self._bar is None or now - self._drawn < 0.2:
            return
        self._drawn = now
        facts = _facts(self._epoch, logs or {}, self._pace)
        self._bar.update(self._bar.task_ids[0], completed=self._pace.share, facts=facts)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch + 1 == self._pace.epochs:
            self.close()

    def close(self) -> None:
        """Give the terminal back, after the last epoch or when a run ends before it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class ProgressLines(keras.callbacks.Callback):  # type: ignore[misc]
    """The same as log lines, one every few seconds and one at the end, so that a log file stays readable."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace
        self._said = 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        if now - self._said < SECONDS_BETWEEN_LINES and epoch + 1 < self._pace.epochs:
            return
        self._said = now
        log.info("%s", _facts(epoch, logs or {}, self._pace))

    def close(self) -> None:
        """Nothing to give back: a line is whole when it is written."""


def _facts(epoch: int, logs: dict[str, float], pace: Pace) -> str:
    parts = [
        f"epoch {epoch + 1}/{pace.epochs}",
        f"loss {logs.get('loss', math.nan):.3f}",
        f"accuracy {logs.get('contrastive_accuracy', math.nan):.3f}",
    ]
    if math.isfinite(monitored := logs.get("monitor/knn_accuracy", math.nan)):
        parts.append(f"knn {monitored:.3f}")
    if math.isfinite(pace.speed):
        parts.append(f"{pace.speed:,.0f} images/s")
    if math.isfinite(pace.seconds_left):
        minutes, seconds = divmod(round(pace.seconds_left), 60)
        parts.append(f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d} left")
    return "  ".join(parts)
