"""What watches a pretraining: each callback does one thing, and none of them changes the weights."""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from simclr.foundation.errors import RunFailed
from simclr.foundation.files import write_whole
from simclr.foundation.work import Claim
from simclr.training.progress import steps_done

log = logging.getLogger(__name__)

Watcher = Callable[[Sequence[dict[str, float]]], None]

COLLAPSED = 0.05
"""Spread of the embeddings (1 for evenly spread ones, see :func:`.loss.embedding_spread`) that means collapse."""

CHANCE_WITHIN = 0.01
"""Of the loss of chance: a loss no further from it has learnt nothing."""


def stop_where_lost(claim: Claim) -> Any:
    """What ends a run at the next step after another process has taken it over: it is of no use any more.

    It raises ``ClaimLost`` at that step.
    """
    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: claim.check())


class StopOnNonFiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the run at the step whose loss is NaN or infinite, with a line that says which setting to try.

    Raises:
        RunFailed: at that step.
    """

    def __init__(self, learning_rate: float, temperature: float, precision: str) -> None:
        super().__init__()
        self._advice = (
            f"try a lower optimizer.learning_rate (now {learning_rate:g}), "
            f"a higher pretrain.temperature (now {temperature:g})"
            + ("" if precision == "float32" else f", or pretrain.precision=float32 (now {precision})")
        )
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            step = steps_done(self, batch)
            raise RunFailed(f"the loss became {loss} at epoch {self._epoch + 1}, step {step}: {self._advice}")


ADVICE = "try a lower learning rate, a longer warm-up or another temperature"


class StopOnCollapse(keras.callbacks.Callback):  # type: ignore[misc]
    """Says once that every image has the same embedding, and ends a run that stays so.

    The loss alone does not tell a collapse from a slow start, nor does the spread of one epoch: the documents' own
    training is there for a while and recovers. So a run is ended when for ``epochs`` epochs in a row the spread is next
    to nothing *and* the loss that of chance.

    Args:
        epochs: in a row; 0 for never.
        chance: the loss where all embeddings are the same, see :func:`.loss.chance`.
        before: the epochs of earlier attempts.

    Raises:
        RunFailed: at the end of the last of these epochs.
    """

    def __init__(self, epochs: int, chance: float, before: Sequence[dict[str, float]] = ()) -> None:
        super().__init__()
        self._epochs, self._chance = epochs, chance
        self._said = False
        self._row = 0
        for row in before:
            self._count(row)

    def _count(self, logs: dict[str, float]) -> None:
        at_chance = abs(logs.get("loss", math.nan) - self._chance) < CHANCE_WITHIN * self._chance
        self._row = self._row + 1 if logs.get("spread", 1.0) < COLLAPSED and at_chance else 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        spread = logs.get("spread", 1.0)
        if spread < COLLAPSED and not self._said:
            self._said = True
            log.warning(
                "the representation has collapsed: at epoch %d the embeddings of a batch hardly differ (spread %.3f, "
                "evenly spread ones have 1); %s",
                epoch + 1,
                spread,
                ADVICE,
            )
        self._count(logs)
        if self._epochs and self._row >= self._epochs:
            raise RunFailed(
                f"the representation has been collapsed for {self._row} epochs (at epoch {epoch + 1} spread "
                f"{spread:.3f}, loss {logs['loss']:.3f}; chance is {self._chance:.3f}): {ADVICE}; "
                f"pretrain.collapse_epochs=0 would go on"
            )


class EpochFacts(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds to each epoch's logs its learning rate and the images (not views) trained on per second.

    The first steps of a fit, which may be traced and compiled, are not counted: where an epoch has no others, its speed
    is NaN.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch, self._images = batch_size, 0
        self._since: tuple[float, int] | None = None  # when counting began, and the epoch's images until then

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._since = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._since:
            self._since = (time.perf_counter(), 0)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._images = steps_done(self, batch) * self._batch
        self._since = self._since or (time.perf_counter(), self._images)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None and self._since:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)
            begun, uncounted = self._since
            counted = self._images - uncounted
            logs["images_per_second"] = counted / (time.perf_counter() - begun) if counted else math.nan


class ShowHistory(keras.callbacks.Callback):  # type: ignore[misc]
    """Shows everyone who watches a run its history so far, at the end of each epoch; one of them may end it."""

    def __init__(self, watchers: Sequence[Watcher], epochs_before: Sequence[dict[str, float]] = ()) -> None:
        super().__init__()
        self._watchers = watchers
        self._history = list(epochs_before)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == 0:  # from the beginning, also where the state to go on from proved to be another network's
            self._history = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._history.append({"epoch": epoch, **(logs or {})})
        for watch in self._watchers:
            watch(self._history)


def write_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Write each epoch's logs as a line of a CSV file, which can be read at any time: it is replaced as a whole.

    Speed is left out, so that the file of a run is the same to the byte each time, stopped in between or not.
    """
    names = [name for name in history[-1] if name not in ("epoch", "images_per_second")]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["epoch", *names])
    for row in history:
        writer.writerow([int(row["epoch"]) + 1, *(f"{row.get(name, math.nan):.8g}" for name in names)])
    write_whole(path, text.getvalue().encode())
