"""Progress as plain lines (a terminal's bar is tested with the command)."""

from __future__ import annotations

import logging

from simclr.progress import ProgressLines, progress_callback


def test_without_a_terminal_progress_is_lines_now_and_then_and_at_the_end(caplog):
    lines = progress_callback(epochs=50, steps_per_epoch=2, batch_size=8)
    assert isinstance(lines, ProgressLines)
    with caplog.at_level(logging.INFO):
        for epoch in range(50):
            lines.on_epoch_begin(epoch)
            lines.on_epoch_end(epoch, {"loss": 3.0, "contrastive_accuracy": 0.5, "monitor/knn_accuracy": float("nan")})
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("epoch 1/50  loss 3.000  accuracy 0.500")
    assert told[-1].startswith("epoch 50/50")
    assert "images/s" in told[-1]
    assert told[-1].endswith("00:00:00 left")
    assert "knn" not in told[-1]


def test_a_resumed_run_counts_its_speed_from_where_it_began(caplog):
    lines = ProgressLines(epochs=100, steps_per_epoch=1, batch_size=1)
    with caplog.at_level(logging.INFO):
        lines.on_epoch_begin(98)
        lines.on_epoch_end(98, {"monitor/knn_accuracy": 0.75})
    assert "epoch 99/100" in caplog.text
    assert "knn 0.750" in caplog.text
