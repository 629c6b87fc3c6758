"""Sharing pretrainings where machines share no disk.

The finished network is an artifact of a W&B project, and the runs of a sweep say in their configuration who is training
what.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from simclr.store.claim import Report
from simclr.tracking import Tracker

# A run's configuration is on the server some seconds after it was changed: so long a claim has to stand before the runs
# that claim the same can be told apart.
SETTLE_SECONDS = 12.0
POLL_SECONDS = 5.0


class InOtherHands(Exception):
    """Another machine is at a pretraining that this one would not wait for."""


class Remote:
    """The W&B project of a run as a second store of pretrained networks."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def take_up(
        self, key: str, folder: Path, meanwhile: Callable[[], bool] | None, report: Report, *, wait: bool = True
    ) -> bool:
        """Take a pretraining from its artifact, or the right to make it.

        Args:
            key: of the pretraining.
            folder: where it is to be.
            meanwhile: called while another machine is at it: does something else that is useful and returns True, or
                returns False where there is nothing.
            report: takes a line that says that it is waited for.
            wait: for another machine that is at it.

        Returns:
            Whether it is there now; else this run has claimed it, and is to make it.

        Raises:
            InOtherHands: another machine is at it, and ``wait`` is False.
        """
        told = False
        while not self._tracker.fetch_pretraining(key, folder):
            if not self._tracker.online or self.claim(key):
                return False
            if not wait:
                raise InOtherHands(key)
            if not told:
                report(f"waiting for pretraining {key}: another run of this sweep is at it")
                told = True
            if meanwhile is None or not meanwhile():
                time.sleep(POLL_SECONDS)
        return True

    def claim(self, key: str) -> bool:
        """Claim a pretraining among the runs of this sweep: of those that claim it at once, the oldest one has it."""
        if self._others(key):
            return False
        self._tracker.claim(key)
        if not self._tracker.in_agent:
            return True
        time.sleep(SETTLE_SECONDS)
        first = next((each.run for each in self._tracker.claims() if self._busy(each, key)), self._tracker.run_id)
        if first == self._tracker.run_id:
            return True
        self._tracker.claim(None)
        return False

    def _others(self, key: str) -> bool:
        return any(self._busy(each, key) and each.run != self._tracker.run_id for each in self._tracker.claims())

    @staticmethod
    def _busy(each: object, key: str) -> bool:
        return getattr(each, "state", "") == "running" and getattr(each, "claimed", None) == key
