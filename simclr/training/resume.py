"""A run that can be stopped at any step and goes on from there to the same bits."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from simclr.foundation.interruption import Pending
from simclr.training.checkpoint import Checkpoint
from simclr.training.progress import steps_done

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saving:
    """Where a run begins, when its state is saved, and by what.

    Attributes:
        start: the state to go on from; None for the beginning.
        save: keeps a state.
        epochs: a state is saved at each multiple of so many epochs; 0: never for that reason.
        minutes: and at least so often.
    """

    start: Checkpoint | None = None
    save: Callable[[Checkpoint], None] = lambda _: None
    epochs: int = 0
    minutes: float = math.inf


class Run(keras.callbacks.Callback):  # type: ignore[misc]
    """The state of a run: the last of the callbacks, which keeps the history, saves, and stops where that is asked."""

    def __init__(self, model: Any, optimizer: Any, steps_per_epoch: int, saving: Saving) -> None:
        super().__init__()
        self._parts = {"network": model.network.weights, "optimizer": optimizer.variables}
        self._replicas = model.replicas
        self._means = [variable for mean in model.metrics for variable in mean.variables]
        self._restored_means: list[Any] = []
        self._steps_per_epoch, self._saving = steps_per_epoch, saving
        self._pending = Pending()
        self._step, self._spent, self._begun, self._saved = 0, 0.0, 0.0, 0.0
        self._steps_before = 0
        self.compiling = 0.0  # seconds of those spent that went into tracing and compiling steps, not into doing them
        self.history: list[dict[str, float]] = []

    @property
    def seconds(self) -> float:
        """Spent so far, in all attempts."""
        return self._spent + time.perf_counter() - self._begun

    def begin(self, pending: Pending) -> int:
        """Take up the state to go on from, if there is one; the number of steps that are already done."""
        self._pending = pending
        self._begun = self._saved = time.perf_counter()
        start = self._saving.start
        if start is not None and not self._fits(start):
            log.warning("the checkpoint is another version's, and cannot be used: starting from the beginning")
        elif start is not None:
            for part, variables in self._parts.items():
                for variable, value in zip(variables, getattr(start, part), strict=True):
                    variable.assign(value)
            self.history, self._step = list(start.history), start.step
            self._spent, self.compiling = start.seconds, start.compiling
            self._restored_means = start.means if start.step % self._steps_per_epoch else []
        return self._step

    def _fits(self, start: Checkpoint) -> bool:
        return all(
            [tuple(variable.shape) for variable in variables] == [value.shape for value in getattr(start, part)]
            for part, variables in self._parts.items()
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Keras has just set the means to nothing; an epoch that was stopped in its middle goes on with those it had.
        for variable, value in zip(self._means, self._restored_means, strict=False):
            self._replicas.assign_each(variable, value)
        self._restored_means = []
        self._steps_before = self._step

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._step = self._steps_before + steps_done(self, batch)
        if self._step % self._steps_per_epoch:  # the end of an epoch has its own turn, when its history is known
            self._save_if_due(False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.history.append({"epoch": epoch, **(logs or {})})
        self._save_if_due(bool(self._saving.epochs) and (epoch + 1) % self._saving.epochs == 0)

    def _save_if_due(self, due: bool) -> None:
        late = time.perf_counter() - self._saved >= 60 * self._saving.minutes
        stop = self._replicas.agreed(self._pending.signal is not None)
        if due or late or stop:
            self.save()
        if stop:
            self._pending.stop()

    def save(self) -> None:
        """Keep the state after the steps that are done."""
        self._saving.save(
            Checkpoint(
                step=self._step,
                network=[each.numpy() for each in self._parts["network"]],
                optimizer=[each.numpy() for each in self._parts["optimizer"]],
                means=[self._replicas.own(each) for each in self._means],
                history=list(self.history),
                seconds=self.seconds,
                compiling=self.compiling,
            )
        )
        self._saved = time.perf_counter()


class FirstSteps(keras.callbacks.Callback):  # type: ignore[misc]
    """Says that a size is being compiled, and how much longer its first steps took than those after them."""

    def __init__(self, run: Run, compiled_size: int | None) -> None:
        super().__init__()
        self._run, self._size = run, compiled_size
        self._begun, self._before = 0.0, 0  # the present execution, and the epoch's steps before it
        self._took: list[tuple[float, int]] = []  # seconds and steps of the first two executions

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._before = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not self._took and self._size is not None:
            log.info("compiling for %d pixels", self._size)
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if len(self._took) == 2:
            return
        seconds, done = time.perf_counter() - self._begun, steps_done(self, batch)
        self._took.append((seconds, done - self._before))
        self._before = done
        if len(self._took) == 1:
            log.debug("first step at %.3f", time.time())
            return
        (first, compiled_steps), (second, steps) = self._took
        longer = max(0.0, first - compiled_steps * second / steps)
        self._run.compiling += longer
        if self._size is not None:
            log.info("compiled for %d pixels in %.1f s", self._size, longer)
