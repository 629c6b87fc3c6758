"""How far a pretraining is and how long the rest takes: measured, told, and shown on standard error.

There it is a bar on a terminal, a plain line now and then elsewhere.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from simclr.training.stages import Stage

log = logging.getLogger(__name__)

SECONDS_BETWEEN_WORDS, SECONDS_BETWEEN_LINES = 2.0, 10.0


def steps_done(callback: Any, batch: int) -> int:
    """Steps of an epoch that are done when Keras tells a callback the end of step ``batch``; of a fit's share of it.

    Keras counts by executions, as if an epoch's last one had as many steps as the others.
    """
    return min(batch + 1, int(callback.params["steps"]))


class Pace(keras.callbacks.Callback):  # type: ignore[misc]
    """Follows a pretraining, from where this process began it; stands before the callbacks that ask it.

    An epoch's work is taken to grow with the pixels of a view, so that sizes to come are foreseen from the present one.
    (It grows a little less: small views fill a processor less well.) The first steps at each size are not counted: they
    are traced and compiled, and take many times what those after them do.

    Attributes:
        epochs: of the whole pretraining.
        share: of its work that is done.
        speed: images (not views) per second at the present size, or at the one before it in its first steps; NaN
            before that.
        seconds_left: until its end; NaN as long.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        steps_per_epoch: int,
        batch_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.epochs = stages[-1].last
        self.share, self.speed, self.seconds_left = 0.0, math.nan, math.nan
        self._sizes = [stage.size for stage in stages for _ in range(stage.first, stage.last)]
        self._work = [0, *accumulate(size**2 for size in self._sizes)]
        self._steps, self._images, self._clock = steps_per_epoch, steps_per_epoch * batch_size, clock
        self._epoch = self._size = -1
        self._since: tuple[float, float] | None = None  # work done, and when, at the end of a size's first steps
        self._rate = math.nan  # work a second

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch
        if self._sizes[epoch] != self._size:
            self._size, self._since = self._sizes[epoch], None

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._reach(min(1.0, (batch + 1) / self._steps))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._reach(1.0)

    def _reach(self, part: float) -> None:
        """So much of the epoch is done."""
        per_epoch = self._work[self._epoch + 1] - self._work[self._epoch]
        done = self._work[self._epoch] + part * per_epoch
        self.share = done / self._work[-1]
        now = self._clock()
        if self._since is None:
            self._since = (done, now)
        elif done > self._since[0]:
            self._rate = (done - self._since[0]) / max(now - self._since[1], 1e-9)
            self.speed = self._rate / per_epoch * self._images
        self.seconds_left = (self._work[-1] - done) / self._rate if done < self._work[-1] else 0.0


class TellProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells at the end of an epoch, at most every few seconds, how far the run is and how long it will take."""

    def __init__(self, tell: Callable[..., None], pace: Pace) -> None:
        super().__init__()
        self._tell, self._pace = tell, pace
        self._begun, self._told = False, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not self._begun:
            self._begun = True
            self._tell(epoch=epoch, epochs=self._pace.epochs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        if now - self._told >= SECONDS_BETWEEN_WORDS:
            self._told = now
            facts = {name: (logs or {}).get(name) for name in ("loss", "contrastive_accuracy")}
            left = round(self._pace.seconds_left, 1) if math.isfinite(self._pace.seconds_left) else None
            self._tell(epoch=epoch + 1, epochs=self._pace.epochs, seconds_left=left, **facts)


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
        self._pace, self._epoch = pace, 0
        columns = (TextColumn("pretraining"), BarColumn(bar_width=None), TextColumn("{task.fields[facts]}"))
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._work = self._bar.add_task("", total=1.0, facts="")

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.update(self._work, completed=self._pace.share, facts=_facts(self._epoch, logs or {}, self._pace))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch + 1 == self._pace.epochs:
            self.close()

    def close(self) -> None:
        """Give the terminal back, after the last epoch or when a run ends before it."""
        self._bar.stop()


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
