"""Sharing pretrainings where machines share no disk.

The finished network is an artifact of a W&B project, and the runs of a sweep say in their configuration which
pretraining they want to make and which they have taken on. Nobody there locks anything: a run says what it wants, waits
until its own words can be read from the server, and only then reads what the others say. Of two that want the same at
once, at least one reads the other's word therefore, and

- whoever reads that another has taken it on, or that an older run wants it, withdraws;
- whoever reads that a younger run wants it waits for that one's next word: to have withdrawn, or to have been first.

A run that is over, finished or crashed, has nothing to say any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from simclr.foundation.interruption import TERMINATED
from simclr.store.once import Report
from simclr.tracking import Tracker

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two questions to the server, doubled each time."""

log = logging.getLogger(__name__)


class InOtherHands(Exception):
    """Another machine is at a pretraining that this one would not wait for."""


class Remote:
    """The W&B project of a run as a second store of pretrained networks."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def take_up(
        self, key: str, folder: Path, meanwhile: Callable[[], bool] | None, report: Report, *, wait: bool = True
    ) -> bool:
        """Take a pretraining from its artifact to a folder, or the right to make it.

        Args:
            key: of the pretraining.
            folder: where it is to be.
            meanwhile: called while another machine is at it, as :func:`simclr.store.made_once` calls it.
            report: takes a line that says that it is waited for.
            wait: for another machine that is at it.

        Returns:
            Whether it is there now; else this run has claimed it, and is to make it.

        Raises:
            InOtherHands: another machine is at it, and ``wait`` is False.
        """
        told = False
        pauses = _pauses()
        while not self._tracker.fetch_pretraining(key, folder):
            if not self._tracker.online or self.claim(key):
                return False
            if not wait:
                raise InOtherHands(key)
            if not told:
                report(f"waiting for pretraining {key}: another run of this sweep is at it")
                told = True
            if meanwhile is None or not meanwhile():
                self._pause(next(pauses))
        log.info("pretraining %s is taken from W&B", key)
        return True

    def claim(self, key: str) -> bool:
        """Claim a pretraining among the runs of this sweep; whether it is this run's now."""
        tracker = self._tracker
        if not tracker.in_agent:
            return True
        if any(key in (each.wants, *each.has) for each in tracker.wishes.all() if each.run != tracker.run_id):
            return False
        tracker.wishes.want(key)
        begun = time.monotonic()
        for pause in _pauses():
            wishes = tracker.wishes.all()
            own = next((number for number, each in enumerate(wishes) if each.run == tracker.run_id), len(wishes))
            heard = own < len(wishes) and wishes[own].wants == key
            others = [(number, each) for number, each in enumerate(wishes) if number != own]
            if any(key in each.has or (heard and each.wants == key and number < own) for number, each in others):
                tracker.wishes.want(None)
                return False
            contested = not heard or any(each.wants == key for _, each in others)
            if not contested or not tracker.online:
                break
            if not heard and (waited := time.monotonic() - begun) > tracker.patience.spare:
                tracker.patience.lose(waited)  # in vain: the server does not take what it is told
                break
            self._pause(pause)
        tracker.wishes.take_on(key)
        return True

    def give_up(self, key: str) -> None:
        """Say that a pretraining that was claimed is not going to be made here."""
        self._tracker.wishes.give_up(key)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._tracker.stop_requested:
                raise SystemExit(TERMINATED)
            time.sleep(min(left, SHORTEST_PAUSE))


def _pauses() -> Iterator[float]:
    pause = SHORTEST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)
