"""One budget for all that is waited for in vain."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from simclr.tracking import Patience


def never() -> None:
    threading.Event().wait()


def test_what_ends_well_costs_nothing_however_often_it_is_waited_for() -> None:
    patience = Patience(0.6)
    for _ in range(4):
        assert patience.wait(patience.spare, lambda: time.sleep(0.1) or "answer") == "answer"
    assert patience.left == 0.6


def test_a_transfer_has_as_long_again_whenever_more_has_arrived_and_costs_what_it_stood_still() -> None:
    patience, end = Patience(6.0), time.monotonic() + 3
    patience.wait(2.0, lambda: time.sleep(3), progress=itertools.count().__next__)
    assert patience.left == 6.0
    with pytest.raises(TimeoutError):
        patience.wait(1.5, never, progress=lambda: int(min(time.monotonic(), end + 1.5) * 10))
    assert 3.0 < patience.left < 4.8


def test_failures_add_up_to_the_budget_and_no_more_and_keep_the_end_its_part() -> None:
    patience = Patience(0.9)
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer"):
        patience.wait(patience.spare, never)
    least = 0.9 - (time.monotonic() - begun)
    assert (patience.spare, least <= patience.left <= 0.6, patience.sending < 0.6) == (0, True, True)
    asked = []
    with pytest.raises(TimeoutError, match="not waited for any more"):
        patience.wait(patience.spare, lambda: asked.append("a server"))
    for _ in range(9):
        with pytest.raises(TimeoutError):
            patience.wait(patience.left, never)
    assert asked == []
    assert patience.left == 0
    assert time.monotonic() - begun < 5


def test_a_call_that_raises_costs_the_time_that_it_took() -> None:
    patience = Patience(9.0)

    def fail() -> None:
        time.sleep(0.3)
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="3"):
        patience.wait(1.0, fail)
    assert 5 < patience.left <= 8.7
