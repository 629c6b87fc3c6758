"""How fast a pretraining is and how long the rest of it will take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from simclr.training.stages import Stage


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
