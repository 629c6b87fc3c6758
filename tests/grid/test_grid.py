"""Grids from end to end: what is run, what is not run again, and what becomes of one that is stopped or fails."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simclr import store
from simclr.foundation.work import holder
from simclr.grid.job import OutOfSight, run_job
from tests.grid.processes import (
    ABLATION,
    GRID,
    HALF,
    LONG,
    RUN,
    SWEEP,
    TINY,
    Command,
    logs,
    made_here,
    numbers,
    present,
    pretrained,
    records,
    statuses,
    training,
    written,
)
from tests.terminal import shown

TWO_WORKERS = ("launch=local", "hydra.launcher.n_jobs=2")
THREE = ["finished"] * 6 + ["skipped"] * 3
DIVERGING = ("optimizer=sgd", "optimizer.weight_decay=10", "pretrain.precision=mixed_float16")  # at a high rate


def test_nine_cells_are_six_results_three_pruned_ones_and_three_pretrainings(serial):
    assert statuses(serial.root) == THREE
    assert made_here(serial.root) == len(pretrained(serial.root)) == 3
    assert "9 cells: 6 finished, 3 pruned" in serial.output
    assert serial.output.splitlines()[-1].startswith("report ")
    for name, record in records(serial.root).items():
        assert record["log"] is None or Path(record["log"]).exists(), name
    assert not present(serial.root)
    assert not [path for path in serial.root.glob("grids/*/*") if path.is_dir()]


def test_a_sweep_file_of_a_grid_is_the_same_grid(file, finished, start):
    path = file(ABLATION)
    told = start(SWEEP, str(path), "--dry-run").done()
    assert "9 cells: 6 done, 3 pruned" in told.output
    ran = start(SWEEP, str(path)).done()
    assert "9 cells: 6 done, 3 pruned" in ran.output
    assert statuses(finished) == ["finished"] * 6 + ["skipped"] * 3
    one = start(SWEEP, str(path), "head=two_relu", "probe.layer=relu_1", "probe.label_fraction=0.3").done()
    assert "1 cell: 1 finished" in one.output


@pytest.mark.slow
def test_two_workers_have_the_same_results_and_share_the_processors(serial, start):
    grid = start(RUN, *GRID, *TINY, *TWO_WORKERS).done()
    assert statuses(grid.root) == THREE
    assert made_here(grid.root) == 3
    # To the bit: the serial grid was given as many threads as each of two workers should have.
    assert numbers(grid.root) == numbers(serial.root)
    assert {each["host"]["threads"] for each in records(grid.root).values() if each["probe"]} == {HALF}


def test_a_finished_grid_is_not_run_again(finished, start):
    before = written(finished)
    again = start(RUN, *GRID, *TINY).done()
    assert "9 cells: 6 done, 3 pruned" in again.output
    after = written(finished)
    assert {name for name in before if after.get(name) != before[name]} <= {
        next(name for name in before if name.endswith("grid.json"))
    }
    assert set(after) - set(before) == set()


def test_rerun_measures_again_and_trains_nothing(serial, finished, start):
    before, networks = records(finished), pretrained(finished)
    again = start(RUN, "head=two_relu", "probe.layer=-2,-4", *TINY, "rerun=true").done()
    assert "2 cells: 2 finished" in again.output
    after = records(finished)
    measured = [name for name in after if after[name]["finished"] != before[name]["finished"]]
    assert len(measured) == 2
    assert pretrained(finished) == networks
    assert numbers(finished) == numbers(serial.root)


def test_a_dry_run_writes_nothing_and_tells_of_each_cell(start, tmp_path):
    told = start(RUN, *GRID, *TINY, "--dry-run").done().output
    assert [entry.name for entry in tmp_path.iterdir() if entry.suffix not in (".out", ".err")] == []
    assert re.search(r"1 +run +digits-small_cnn-zero_relu-encoder\S+ +\w{16} +makes pretraining", told)
    assert "9 cells: 3 run, 3 probe only, 3 pruned" in told
    assert "3 pretrainings to make" in told


def test_a_dry_run_below_a_finished_grid_says_what_is_done_and_how_long_the_rest_takes(finished, start):
    before = written(finished)
    told = start(RUN, *GRID, *TINY, "seed=0,1", "--dry-run").done().output
    assert "18 cells: 3 run, 3 probe only, 6 done, 6 pruned" in told
    assert re.search(r"3 pretrainings to make: \d+ s, \S+ machine-hours, \S+ MiB of disk\nas measured in digits-", told)
    assert written(finished) == before


def test_a_dry_run_tells_who_is_at_a_pretraining_and_whose_it_takes_over(start):
    foreign = start(RUN, "head=none,zero_relu", "probe.layer=encoder", *TINY, LONG)
    (at_it,) = foreign.until_it_trains()
    root = foreign.root
    asked = (RUN, "head=none,one_relu", "probe.layer=encoder", *TINY, LONG, "--dry-run")
    before = written(root / "pretrained")
    told = start(*asked).done().output
    assert re.search(
        rf"waits for +\S+none\S+ +(\w+) +pretraining \1, made by process {at_it['pid']} on \S+ \(epoch", told
    )
    foreign.interrupt()
    assert foreign.code() == 130
    (checkpoint,) = root.glob("pretrained/*/checkpoint.npz")
    epoch = len(store.Checkpoint.load(checkpoint).history)
    before = written(root)
    told = start(*asked).done().output
    found = re.search(r"takes over +\S+none\S+ +(\w+) +pretraining \1 at epoch (\d+) of 5000", told)
    assert found, told
    assert int(found[2]) == epoch
    assert written(root) == before


def test_of_cells_that_fail_each_is_told_and_recorded_and_the_others_finish(finished, start):
    grid = start(
        RUN, "head=two_relu", "probe.layer=-2,-4", "pretrain.batch_size=99999,128", *TINY, "probe.label_fraction=0.2"
    )
    assert grid.code() == 1
    assert "4 cells: 2 finished, 2 failed" in grid.output
    failed = {name: each for name, each in records(finished).items() if each["status"] == "failed"}
    assert len(failed) == 2
    for name, record in failed.items():
        why = "pretrain.batch_size=99999: digits has 1347 training images; valid is at most 1347"
        assert record["error"] == why
        (line,) = [line for line in grid.errors.splitlines() if f"{name}: FAILED: " in line]
        assert line.endswith(f"FAILED: {why}; log: {record['log']}")
        assert Path(record["log"]).exists()
        at = grid.output.splitlines().index(f"failed: {name}: {why}")
        again, log = grid.output.splitlines()[at + 1 : at + 3]
        assert again.startswith("  again: python run.py head=two_relu probe.layer=-")
        assert "pretrain.batch_size=99999" in again
        assert log == f"  log:   {record['log']}"
    assert grid.errors.splitlines()[-1] == "error: 2 of 4 cells failed; the same command runs them again"


@pytest.mark.slow
def test_after_a_failure_nothing_further_is_started_where_that_is_asked_for(finished, start):
    grid = start(
        RUN,
        "head=two_relu",
        "pretrain.batch_size=99999,128",
        "probe.layer=-2,-4",
        *TINY,
        "fail_fast=true",
        "probe.label_fraction=0.2",
    )
    assert grid.code() == 1
    assert "4 cells: 3 planned, 1 failed" in grid.output
    assert (
        grid.errors.splitlines()[-1]
        == "error: 1 of 4 cells failed, 3 were not finished; the same command runs them again"
    )


@pytest.mark.slow
def test_a_loss_that_is_not_finite_fails_its_cells_and_no_others(finished, start):
    rates = "optimizer.learning_rate=0.0001,1000"
    grid = start(RUN, "head=two_relu", "probe.layer=encoder,-2", rates, *TINY, *DIVERGING, *TWO_WORKERS)
    assert grid.code() == 1
    assert "4 cells: 2 finished, 2 failed" in grid.output
    assert grid.errors.count("FAILED: the loss became nan") == 2
    assert statuses(finished).count("finished") == 6 + 2


@pytest.mark.slow  # that both of two workers save is seen below
def test_ctrl_c_saves_what_runs_and_the_same_command_goes_on(start):
    command = (RUN, "head=none,zero_relu", "probe.layer=encoder", *TINY, "pretrain.epochs=60")
    grid = start(*command)
    grid.until_it_trains()
    grid.interrupt()
    assert grid.code(60) == 130
    assert grid.errors.splitlines()[-1].endswith("the same command goes on from there")
    assert "Traceback" not in grid.errors
    assert len(list(grid.root.glob("pretrained/*/checkpoint.npz"))) == 1
    assert not present(grid.root)
    assert not records(grid.root)
    again = start(*command).done()
    assert "going on from epoch" in again.errors
    assert statuses(again.root) == ["finished"] * 2
    assert not list(again.root.glob("pretrained/*/checkpoint.npz"))


def interrupt_one_by_one(grid: Command) -> None:
    """Ctrl-C as a busy machine delivers it: one worker has saved before the grid and the other worker hear of it."""
    os.kill(present(grid.root)[0]["pid"], signal.SIGINT)
    time.sleep(1)
    grid.interrupt()


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda grid: grid.interrupt(), 130),
        pytest.param(interrupt_one_by_one, 130, marks=pytest.mark.slow),
        pytest.param(lambda grid: os.kill(grid.process.pid, signal.SIGINT), 130, marks=pytest.mark.slow),
        pytest.param(lambda grid: grid.process.terminate(), 143, marks=pytest.mark.slow),
    ],
    ids=["Ctrl-C", "Ctrl-C, one by one", "SIGINT to the parent", "SIGTERM to the parent"],
)
def test_when_a_grid_of_two_workers_is_asked_to_stop_both_save(start, ask, code):
    grid = start(
        RUN,
        "head=none,zero_relu,one_relu",
        *TINY,
        "probe.layer=encoder",
        LONG,
        "launch=local",
        "hydra.launcher.n_jobs=2",
    )
    grid.until_it_trains(2)
    ask(grid)
    assert grid.code(60) == code, grid.errors
    assert "Traceback" not in grid.errors
    assert "3 cells: 3 planned" in grid.output
    assert len(list(grid.root.glob("pretrained/*/checkpoint.npz"))) == 2
    assert not present(grid.root)
    assert not any(found.alive for path in grid.root.glob("pretrained/.*.claim") if (found := holder(path)))


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_grid_at_once(start):
    grid = start(RUN, "head=none,zero_relu", *TINY, "probe.layer=encoder", LONG, *TWO_WORKERS)
    grid.until_it_trains(2)
    grid.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    asked = time.monotonic()
    grid.process.send_signal(signal.SIGINT)
    assert grid.code(60) == 130
    assert time.monotonic() - asked < 10


@pytest.mark.slow
def test_sigterm_ends_a_serial_grid_with_its_code(start):
    grid = start(RUN, "head=none,zero_relu", *TINY, "probe.layer=encoder", LONG)
    grid.until_it_trains()
    grid.process.terminate()
    assert grid.code(60) == 143
    assert len(list(grid.root.glob("pretrained/*/checkpoint.npz"))) == 1


@pytest.mark.slow
def test_after_the_death_of_a_serial_grid_nothing_finished_is_made_again(start):
    command = (
        RUN,
        "head=none,zero_relu",
        "probe.layer=encoder",
        *TINY,
        "pretrain.epochs=12",
        "pretrain.checkpoint_minutes=0",
    )
    grid = start(*command)
    grid.until(lambda: len(records(grid.root)) == 1 and training(grid.root))
    grid.process.kill()
    grid.process.wait()
    networks, measured = pretrained(grid.root), records(grid.root)
    assert len(networks) == 1
    again = start(*command).done()
    assert "2 cells: 1 finished, 1 done" in again.output
    assert "going on from epoch" in again.errors
    assert {name: time for name, time in pretrained(again.root).items() if name in networks} == networks
    assert records(again.root).items() >= measured.items()
    assert statuses(again.root) == ["finished"] * 2
    assert not present(again.root)


@pytest.mark.slow
def test_after_the_death_of_a_worker_nothing_finished_is_made_again(start):
    heads = "head=none,zero_relu,one_relu,two_relu"
    command = (RUN, heads, "probe.layer=encoder", *TINY, "pretrain.epochs=40", *TWO_WORKERS)
    grid = start(*command, "pretrain.checkpoint_minutes=0")

    def saved() -> list[dict[str, Any]]:
        """Of those in training the ones with a state to go on from, which is saved after an epoch is told of."""
        place = partial(store.folder, grid.root)
        return [each for each in training(grid.root) if (place(each["pretraining"]) / store.CHECKPOINT).exists()]

    (victim, *_) = grid.until(lambda: pretrained(grid.root) and saved())
    os.kill(victim["pid"], signal.SIGKILL)
    assert grid.code() == 1
    assert "error: the launcher ended early: " in grid.errors
    assert "Traceback" not in grid.errors
    assert f"orphaned: {victim['name']}: process {victim['pid']} on " in grid.output
    networks, measured = pretrained(grid.root), records(grid.root)
    again = start(*command).done()
    assert "going on from epoch" in "".join(logs(again.root))
    assert pretrained(again.root).items() >= networks.items()
    assert records(again.root).items() >= measured.items()
    assert statuses(again.root) == ["finished"] * 4
    assert not present(again.root)


@pytest.mark.slow
def test_after_the_death_of_the_parent_its_workers_end_their_jobs_and_nothing_is_made_twice(start):
    command = (RUN, "head=none,zero_relu,one_relu", "probe.layer=encoder", *TINY, "pretrain.epochs=20", *TWO_WORKERS)
    grid = start(*command)
    grid.until_it_trains(2)
    grid.process.kill()
    grid.process.wait()
    networks = pretrained(grid.root)
    again = start(*command).done()
    assert statuses(again.root) == ["finished"] * 3
    made = pretrained(again.root)
    assert len(made) == 3
    assert made.items() >= networks.items()
    for key in made:
        assert sum(f" pretraining {key}: " in line and "waiting for" not in line for line in logs(again.root)) == 1


@pytest.mark.slow
def test_a_terminal_gets_a_live_table_and_no_other_lines(finished, tmp_path):
    command = [sys.executable, *RUN, "head=two_relu,one_relu", "probe.layer=encoder", *TINY, "probe.label_fraction=0.3"]
    seen = shown(command, tmp_path)
    for part in (b"cell", b"state", b"epoch", b"accuracy", b"worker", b"\x1b[", b"planned", b"probes"):
        assert part in seen
    assert b"reusing pretraining" not in seen
    assert statuses(finished).count("finished") == 8


def test_a_job_whose_grid_has_ended_does_nothing_and_one_that_cannot_see_its_grid_says_so(tmp_path):
    ended, unseen = tmp_path / "ended", tmp_path / "unseen"
    ended.mkdir()
    (ended / "grid.json").write_text("{}")
    run_job(ended / "today" / "job-0.json")
    with pytest.raises(OutOfSight, match=f"does not see {unseen}: root must be a folder that all workers share"):
        run_job(unseen / "today" / "job-0.json")


FAKE_GPU = """#!/bin/sh
# A machine's GPU, which everyone but the process that plans has; it says so the first time that it is asked.
[ -e "{there}" ] || {{ echo "$PPID" > "{there}"; exit 9; }}
[ "$PPID" = "$(cat "{there}")" ] && exit 9
echo 9.0
"""


def test_a_grid_planned_where_there_is_no_gpu_has_the_names_of_its_results(start, tmp_path):
    """As on a cluster's login node: what auto means for the precision is said once, for all workers."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(FAKE_GPU.format(there=tmp_path / "planner"))
    (tools / "nvidia-smi").chmod(0o755)
    given = ("head=zero_relu,one_relu", *TINY, "launch=local", "hydra.launcher.n_jobs=2", "tracking.mode=disabled")
    variables = {"PATH": f"{tools}:{os.environ['PATH']}"}
    grid = start(RUN, *given, **variables).done()
    assert grid.output.startswith("2 cells: 2 finished")
    (plan,) = grid.root.glob("grids/*/grid.json")
    planned = {cell["name"] for cell in json.loads(plan.read_text())["cells"]}
    assert planned == {path.parent.name for path in grid.root.glob("results/*/result.json")}
    (tmp_path / "planner").unlink()
    assert start(RUN, *given, **variables).done().output.startswith("2 cells: 2 done")
