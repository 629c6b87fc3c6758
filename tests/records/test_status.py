"""What every cell is doing, as anyone can see it from the files."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from simclr.foundation.work import WORDS, at_work, this_process
from simclr.records.status import Doing, planned_cells, queued, status, statuses

CELLS = ("next", "trained", "asked for", "left", "good", "impossible", "bad")


def dead() -> int:
    """The number of a process that is no more."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def root(tmp_path):
    """A grid of seven cells in seven states."""
    results = tmp_path / "results"
    put(tmp_path / "grids" / "1" / "grid.json", {"cells": [{"name": name} for name in CELLS]})
    with at_work(results / "trained") as training, at_work(results / "asked for") as asking:
        training.tell(doing="pretraining", epoch=3, epochs=40, contrastive_accuracy=0.5, seconds_left=74.0)
        asking.tell(doing="waiting for pretraining 0123456789abcdef: process 7 on there is at it", epoch=3, epochs=40)
        process = {**vars(this_process()), "pid": dead()}
        gone = {"process": process, "since": "", "doing": "pretraining", "epoch": 2, "epochs": 40}
        put(results / "left" / f"{WORDS}1", gone)
        good = {"status": "finished", "error": None, "probe": {"test_accuracy": {"mean": 0.91}}}
        put(results / "good" / "result.json", good)
        put(results / "impossible" / "result.json", {"status": "skipped", "error": "there is no such layer"})
        put(results / "bad" / "result.json", {"status": "failed", "error": "the loss became nan", "log": "/a/log"})
        yield tmp_path


def test_each_state_is_told_from_the_files(root):
    found = statuses(root, planned_cells(root))
    assert list(found) == list(CELLS)
    assert [each.doing.value for each in found.values()] == [
        *("planned", "running", "waiting", "orphaned", "finished", "skipped", "failed"),
    ]
    assert (found["trained"].epoch, found["trained"].epochs, found["trained"].seconds_left) == (3, 40, 74.0)
    assert found["trained"].worker == f"process {os.getpid()} on {platform.node()}"
    assert found["asked for"].detail.startswith("waiting for pretraining 0123456789abcdef: process 7 on there")
    assert "gives no sign of life; last: pretraining" in found["left"].detail
    assert found["good"].accuracy == 0.91
    assert found["impossible"].detail == "there is no such layer"
    assert (found["bad"].detail, found["bad"].log) == ("the loss became nan", "/a/log")


def test_the_command_lists_them_from_any_directory(root, tmp_path_factory):
    command = [sys.executable, "-X", "importtime", "-m", "simclr.sweep", "status", "--root", str(root)]
    done = subprocess.run(command, cwd=tmp_path_factory.mktemp("elsewhere"), capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    shown = {name: next(line for line in lines if line.startswith(name)) for name in CELLS}
    assert all(Doing(state).value in shown[name] for name, state in zip(CELLS, Doing, strict=True))
    assert "3/40" in shown["trained"]
    assert "1 min 14 s" in shown["trained"]
    assert "0.910" in shown["good"]
    assert lines[-1] == "7 cells: 1 planned, 1 running, 1 waiting, 1 orphaned, 1 finished, 1 skipped, 1 failed"
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert not imported & {"tensorflow", "pandas", "optuna", "matplotlib", "sklearn"}


def test_where_there_is_nothing_it_says_how_to_begin(tmp_path):
    command = [sys.executable, "-m", "simclr.sweep", "status", "--root", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "python run.py -m" in done.stdout


def test_whoever_is_at_a_cell_again_comes_before_its_record(root):
    with at_work(root / "results" / "bad") as word:
        word.tell(doing="probes")
        assert status(root, "bad").doing is Doing.RUNNING
    assert status(root, "bad").doing is Doing.FAILED


def test_of_two_that_are_at_a_cell_each_has_its_say(root):
    with at_work(root / "results" / "trained") as other:
        other.tell(doing="probes")
        assert status(root, "trained").epoch == 3
    assert status(root, "trained").epoch == 3


def test_the_gpus_that_a_process_may_use_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with at_work(tmp_path / "results" / "cell"):
        assert status(tmp_path, "cell").worker.endswith(", GPU 1")


def test_cells_are_queued_as_long_as_their_grid_has_jobs_and_they_have_no_result(root):
    grid = root / "grids" / "1"
    put(grid / "grid.json", {"cells": [{"name": name, "key": f"key of {name}"} for name in ("next", "good")]})
    assert list(queued(root)) == []
    put(grid / "2026-01-01_00-00-00_1" / "job-0.json", {})
    assert list(queued(root)) == [("next", "key of next", ())]
