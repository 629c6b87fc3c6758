"""How far a pretraining is, as lines (a terminal's bar is tested with the command), and how long the rest takes."""

from __future__ import annotations

import logging
import math

import pytest

from simclr.training.progress import Pace, ProgressLines, progress_callback
from simclr.training.stages import Stage


def test_without_a_terminal_progress_is_lines_now_and_then_and_at_the_end(caplog):
    pace = Pace([Stage(32, 0, 50)], steps_per_epoch=2, batch_size=8)
    lines = progress_callback(pace)
    assert isinstance(lines, ProgressLines)
    with caplog.at_level(logging.INFO):
        for epoch in range(50):
            for each in (pace, lines):
                each.on_epoch_begin(epoch)
            for each in (pace, lines):
                each.on_epoch_end(
                    epoch, {"loss": 3.0, "contrastive_accuracy": 0.5, "monitor/knn_accuracy": float("nan")}
                )
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("epoch 1/50  loss 3.000  accuracy 0.500")
    assert told[-1].startswith("epoch 50/50")
    assert "images/s" in told[-1]
    assert told[-1].endswith("00:00:00 left")
    assert "knn" not in told[-1]


def test_a_line_has_the_online_probe_where_it_was_asked(caplog):
    pace = Pace([Stage(32, 0, 100)], steps_per_epoch=1, batch_size=1)
    lines = ProgressLines(pace)
    with caplog.at_level(logging.INFO):
        pace.on_epoch_begin(98)
        pace.on_epoch_end(98)
        lines.on_epoch_end(98, {"monitor/knn_accuracy": 0.75})
    assert "epoch 99/100" in caplog.text
    assert "knn 0.750" in caplog.text


class Clock:
    """Whose time is what the test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    """Ten epochs at 32 pixels and ten at 64, of four steps of five images."""
    return Pace([Stage(32, 0, 10), Stage(64, 10, 20)], steps_per_epoch=4, batch_size=5, clock=clock)


def train(pace, clock, first: int, last: int, seconds: float, compiling: float = 0.0) -> None:
    """Epochs of so many seconds, in two parts; the first one of a size takes longer by what is compiled for it."""
    for epoch in range(first, last):
        pace.on_epoch_begin(epoch)
        clock.now += seconds / 2 + (compiling if epoch == first else 0)
        pace.on_train_batch_end(1)
        clock.now += seconds / 2
        pace.on_epoch_end(epoch)


def test_the_time_left_foresees_larger_views(pace, clock):
    train(pace, clock, 0, 5, seconds=1)
    assert pace.seconds_left == pytest.approx(5 * 1 + 10 * 4)
    assert pace.speed == pytest.approx(20)
    assert pace.share == pytest.approx(5 / 50)


def test_the_time_left_is_corrected_by_what_larger_views_take(pace, clock):
    train(pace, clock, 0, 10, seconds=1)
    assert pace.seconds_left == pytest.approx(10 * 4)
    train(pace, clock, 10, 12, seconds=3)
    assert pace.seconds_left == pytest.approx(8 * 3)
    assert pace.speed == pytest.approx(20 / 3)


def test_a_resumed_run_counts_its_speed_from_where_it_began(pace, clock):
    train(pace, clock, 18, 19, seconds=6)
    assert pace.seconds_left == pytest.approx(6)
    assert pace.share == pytest.approx(46 / 50)


def test_the_time_left_is_known_within_an_epoch_after_its_first_steps(pace, clock):
    pace.on_epoch_begin(0)
    clock.now += 30
    pace.on_train_batch_end(1)
    assert math.isnan(pace.seconds_left)
    clock.now += 1
    pace.on_train_batch_end(2)
    assert pace.seconds_left == pytest.approx(1 + 9 * 4 + 10 * 16)


def test_what_compiling_took_is_neither_in_the_speed_nor_in_the_time_left(pace, clock):
    train(pace, clock, 0, 5, seconds=1, compiling=60)
    assert pace.seconds_left == pytest.approx(5 * 1 + 10 * 4)
    assert pace.speed == pytest.approx(20)
    train(pace, clock, 5, 10, seconds=1)
    train(pace, clock, 10, 12, seconds=3, compiling=60)
    assert pace.seconds_left == pytest.approx(8 * 3)
    assert pace.speed == pytest.approx(20 / 3)


def test_a_line_before_anything_is_known_says_nothing_of_time(caplog, pace, clock):
    lines = ProgressLines(pace)
    pace.on_epoch_begin(0)
    pace.on_epoch_end(0)
    with caplog.at_level(logging.INFO):
        lines.on_epoch_end(0, {"loss": 3.0, "contrastive_accuracy": 0.5})
    assert caplog.messages == ["epoch 1/20  loss 3.000  accuracy 0.500"]
