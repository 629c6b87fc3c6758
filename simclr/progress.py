"""How far a pretraining is: a bar on a terminal, a plain line now and then elsewhere; always on standard error."""

from __future__ import annotations

import logging
import math
import sys
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


def progress_callback(epochs: int, steps_per_epoch: int, batch_size: int) -> Any:
    """The callback that suits standard error: :class:`ProgressBar` on a terminal, else :class:`ProgressLines`.

    Where the log does not go to the terminal, as in a grid with its live table, neither does a bar.
    """
    shown = any(type(each) is logging.StreamHandler for each in logging.getLogger().handlers)
    kind = ProgressBar if shown and sys.stderr.isatty() else ProgressLines
    return kind(epochs, steps_per_epoch, batch_size)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """One bar over all epochs, with the loss, contrastive accuracy, images per second and the time left."""

    def __init__(self, epochs: int, steps_per_epoch: int, batch_size: int) -> None:
        super().__init__()
        self._epochs, self._steps, self._batch = epochs, steps_per_epoch, batch_size
        self._bar: Progress | None = None
        self._epoch, self._begun, self._trained, self._drawn = 0, time.monotonic(), 0, 0.0
        self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch, self._batches = epoch, 0
        if self._bar is None:
            self._bar = Progress(
                TextColumn("pretraining"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=self._epochs * self._steps, completed=epoch * self._steps, facts="")
            self._bar.start()
            self._begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._trained += (batch + 1 - self._batches) * self._batch
        self._batches = batch + 1
        now = time.monotonic()
        if self._bar is None or now - self._drawn < 0.2:
            return
        self._drawn = now
        speed = self._trained / max(now - self._begun, 1e-9)
        facts = f"epoch {self._epoch + 1}/{self._epochs}  {_facts(logs or {}, speed)}"
        done = self._epoch * self._steps + batch + 1
        self._bar.update(self._bar.task_ids[0], completed=done, facts=facts)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch + 1 == self._epochs:
            self.close()

    def close(self) -> None:
        """Give the terminal back, after the last epoch or when a run ends before it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class ProgressLines(keras.callbacks.Callback):  # type: ignore[misc]
    """The same as log lines, one every few seconds and one at the end, so that a log file stays readable."""

    def __init__(self, epochs: int, steps_per_epoch: int, batch_size: int) -> None:
        super().__init__()
        self._epochs, self._images = epochs, steps_per_epoch * batch_size
        self._begun, self._first, self._said = time.monotonic(), -1, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._first < 0:
            self._begun, self._first = time.monotonic(), epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        if now - self._said < SECONDS_BETWEEN_LINES and epoch + 1 < self._epochs:
            return
        self._said = now
        done = epoch + 1 - self._first
        per_epoch = (now - self._begun) / done
        left = time.strftime("%H:%M:%S", time.gmtime(per_epoch * (self._epochs - epoch - 1)))
        facts = _facts(logs or {}, self._images / per_epoch)
        log.info("epoch %d/%d  %s  %s left", epoch + 1, self._epochs, facts, left)

    def close(self) -> None:
        """Nothing to give back: a line is whole when it is written."""


def _facts(logs: dict[str, float], speed: float) -> str:
    parts = [f"loss {logs.get('loss', math.nan):.3f}", f"accuracy {logs.get('contrastive_accuracy', math.nan):.3f}"]
    if math.isfinite(monitored := logs.get("monitor/knn_accuracy", math.nan)):
        parts.append(f"knn {monitored:.3f}")
    return "  ".join([*parts, f"{speed:,.0f} images/s"])
