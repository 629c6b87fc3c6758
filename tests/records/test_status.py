"""What every cell is doing, as anyone can see it from the files."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time

import pytest

from simclr.foundation.presence import SILENT_SECONDS, Presence, runs, seen
from simclr.records.status import PROGRESS, Doing, planned_cells, status, statuses

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
    with Presence(results / "trained" / PROGRESS) as training, Presence(results / "asked for" / PROGRESS) as asking:
        training.tell(doing="pretraining", epoch=3, epochs=40, contrastive_accuracy=0.5, seconds_left=74.0)
        asking.tell(doing="waiting for pretraining 0123456789abcdef: process 7 on there is at it", epoch=3, epochs=40)
        gone = {"host": platform.node(), "pid": dead(), "doing": "pretraining", "epoch": 2, "epochs": 40}
        put(results / "left" / PROGRESS, gone)
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
    with Presence(root / "results" / "bad" / PROGRESS) as presence:
        presence.tell(doing="probes")
        assert status(root, "bad").doing is Doing.RUNNING
    assert status(root, "bad").doing is Doing.FAILED


def test_a_process_of_another_machine_is_taken_for_dead_once_it_is_silent(tmp_path):
    path = put(tmp_path / "cell" / PROGRESS, {"host": "elsewhere", "pid": dead(), "doing": "pretraining"})
    assert seen(path).alive
    silent = time.time() - SILENT_SECONDS - 1
    os.utime(path, (silent, silent))
    assert not seen(path).alive


def test_a_file_that_cannot_be_read_is_nobodys(tmp_path):
    path = tmp_path / PROGRESS
    path.write_text("{")
    assert seen(path) is None


def test_the_gpus_that_a_process_may_use_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with Presence(tmp_path / "cell" / PROGRESS):
        assert seen(tmp_path / "cell" / PROGRESS).who.endswith(", GPU 1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux tells")  # noqa: PTH110
def test_a_process_that_has_ended_and_was_not_waited_for_does_not_run():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not runs(ended.pid)
    ended.wait()
    assert runs(os.getpid())
