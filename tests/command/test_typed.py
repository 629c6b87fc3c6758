"""What a person types, and what the tool then says: the real commands, from an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simclr.foundation.work import at_work
from tests.conftest import REPOSITORY

QUICK = (
    "pretrain.epochs=1",
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "probe.subsets=1",
    "tracking.mode=disabled",
    "pretrain.precision=float32",
)


def module(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def recorded(run_command, tmp_path_factory):
    """A folder with ``runs`` below it, and in it one measured cell; its record's folder."""
    folder = tmp_path_factory.mktemp("recorded")
    done = run_command(*QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, (folder / done.stdout.splitlines()[-1].removeprefix("result ")).parent


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            ["head=null"],
            "head=null: there is no such option; valid is none, one_relu, three_relu, two_relu, zero_relu.",
        ),
        (["-m", "head=null,none"], "head=null: there is no such option"),
        (["experiment=null"], "experiment=null: that is how it is unless another one is chosen; leave it out"),
        (["--cfg", "job", "head=nonsense"], "head=nonsense: there is no such option"),
        (["--package", "seed", "--cfg", "job", "head=nonsense"], "head=nonsense: there is no such option"),
        (["-cn", "nope"], "--config-name=nope: there is no such configuration"),
        (["--config-name=nope"], "--config-name=nope: there is no such configuration"),
        (["-cd", "nowhere"], "--config-dir=nowhere: there is no such folder"),
        (["+experiment=imagenet5"], "+experiment=imagenet5: it is there already; type experiment=imagenet5"),
        (["~pretrain.epochs"], "~pretrain.epochs: it cannot be taken away; type pretrain.epochs=VALUE"),
        (["waiting"], "waiting: not understood as KEY=VALUE"),
        (["root="], "root=: it is empty, as that of a variable that is not set; valid is a folder"),
        (["data=folder", "data.root="], "data.root=: it is empty"),
        (
            ["-m", "seed=1,2", "head=glob(x*)"],
            "head=glob(x*): this matches nothing; there is none, one_relu, three_relu, two_relu, zero_relu",
        ),
        (["-m", "seed=range(3,3)"], "seed=range(3,3): this matches nothing"),
        (["-m", "head=glob(*_relu)", "seed=abc"], "seed=abc: valid is a whole number, at least 0"),
        (["pretrain.batch_size=1"], "pretrain.batch_size=1: valid is at least 2"),
    ],
)
def test_bad_input_is_one_line_that_blames_what_is_wrong_and_nothing_is_written(run_command, tmp_path, typed, says):
    done = run_command(*typed, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {says}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a=b", "ü", "one#two", "it's [x]", 'a "b" c'])
def test_a_path_that_means_something_to_hydra_comes_back_as_the_line_to_type(run_command, tmp_path, name):
    done = run_command("data=folder", f"data.root={tmp_path}/{name}", cwd=tmp_path)
    assert done.returncode == 2
    if "type " in done.stderr:
        (again,) = shlex.split(done.stderr.rpartition("; type ")[2])
        done = run_command("data=folder", again, cwd=tmp_path)
    assert f"{tmp_path}/{name}" in done.stderr
    assert "mean something" not in done.stderr


def test_a_dry_run_of_one_cell_plans_it_and_writes_nothing(run_command, tmp_path):
    done = run_command("--dry-run", "head=none", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 cell: 1 run" in done.stdout
    assert list(tmp_path.iterdir()) == []
    explained = module("simclr.store", "explain", "head=none", *QUICK, cwd=tmp_path).stdout
    named = dict(line.split(maxsplit=1) for line in explained.splitlines())
    assert named["cell"] in done.stdout
    assert f"pretraining {named['pretraining']}" in done.stdout


def test_what_is_typed_twice_is_said(run_command, tmp_path):
    done = run_command("seed=0", "seed=1", "--cfg", "job", "--package", "seed", cwd=tmp_path)
    assert done.stdout == "1\n"
    assert done.stderr == "seed is typed 2 times, and seed=1 counts; a grid of them: -m seed=0,1\n"


def test_what_counts_for_nothing_is_said(run_command, tmp_path):
    idle = "loss.sigma=0.4 counts for nothing beside the other settings"
    assert idle in run_command("loss.sigma=0.4", *QUICK, cwd=tmp_path).stderr
    assert idle in run_command("-m", "seed=0,1", "loss.sigma=0.4", "--dry-run", cwd=tmp_path).stderr
    for used in ("loss.weighted=true", "loss.weighted=false,true"):
        done = run_command("-m", "loss=dcl", used, "loss.sigma=0.4", "--dry-run", cwd=tmp_path)
        assert "counts" not in done.stderr


def test_without_assertions_it_says_so(tmp_path):
    command = [str(REPOSITORY / "run.py"), "--cfg", "job"]
    usual, without = (
        subprocess.run([sys.executable, *more, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        for more in ((), ("-O",))
    )
    assert (usual.returncode, without.returncode) == (0, 2)
    assert "python without -O" in without.stderr


# A record as the base


def test_a_record_that_was_moved_is_the_base_of_a_run_in_its_own_root(run_command, recorded, tmp_path):
    folder, record = recorded
    moved = tmp_path / "moved"
    (folder / "runs").rename(moved)
    try:
        done = run_command("--config-dir", str(moved / "results" / record.name), "--dry-run", cwd=tmp_path)
        assert "1 cell: 1 done" in done.stdout, done.stderr
        done = run_command(
            f"--config-dir={moved}/results/{record.name}",
            "root=mine",
            "--cfg",
            "job",
            "--package",
            "root",
            cwd=tmp_path,
        )
        assert done.stdout == "mine\n"
        (pretraining,) = (moved / "pretrained").glob("[!.]*")
        done = run_command(f"--config-dir={pretraining}", "--dry-run", cwd=tmp_path)
        assert "1 cell: 1 done" in done.stdout, done.stderr
    finally:
        moved.rename(folder / "runs")


def test_a_folder_that_is_no_record_is_refused_with_what_is_missing(run_command, recorded, tmp_path):
    _, record = recorded
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.yaml").write_text("seed: 3\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "results" / "broken").mkdir(parents=True)
    (tmp_path / "results" / "broken" / "result.json").write_text("{}")
    (tmp_path / "results" / "broken" / "config.yaml").write_text("seed: [\n")
    for given, says in (
        (record.parent, f"its folders are the records; valid is one of them, say {record}"),
        (tmp_path / "half", "it has a config.yaml and no result.json"),
        (tmp_path / "empty", "it has no config.yaml with result.json, and no configuration group"),
        (tmp_path / "results" / "broken", "config.yaml cannot be read"),
    ):
        done = run_command("--config-dir", str(given), "head=none", cwd=tmp_path)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: --config-dir={given}: {says}")


def test_configuration_groups_of_ones_own_are_taken_and_broken_ones_named(run_command, tmp_path):
    (tmp_path / "mine" / "head").mkdir(parents=True)
    (tmp_path / "mine" / "head" / "wide.yaml").write_text("name: one_relu\nhidden: [512, 128]\n")
    (tmp_path / "mine" / "head" / "broken.yaml").write_text("name: one_relu\nhidden: [512\n")
    done = run_command("-cd", "mine", "head=wide", "--cfg", "job", "--package", "head.hidden", cwd=tmp_path)
    assert "- 512\n- 128\n" in done.stdout, done.stderr
    done = run_command("-cd", "mine", "head=broken", "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/mine/head/broken.yaml:3: it cannot be read as YAML: expected")


# Output that cannot be shown


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"COLUMNS": "1"}])
def test_a_table_that_cannot_be_drawn_fails_nothing(run_command, recorded, environment):
    done = run_command(*QUICK, cwd=recorded[0], **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("result ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [QUICK, ("-m", "seed=0", *QUICK)])
def test_a_reader_who_leaves_changes_nothing_of_the_work(recorded, arguments):
    command = [sys.executable, str(REPOSITORY / "run.py"), *arguments, "rerun=true"]
    before = {path: path.stat().st_mtime_ns for path in recorded[1].glob("result.json")}
    process = subprocess.Popen(command, cwd=recorded[0], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == 0, errors
    assert b"Traceback" not in errors
    assert {path: path.stat().st_mtime_ns for path in recorded[1].glob("result.json")} != before


# Grids


def test_numbers_of_a_range_are_those_that_were_meant(run_command, tmp_path):
    done = run_command("-m", "optimizer.weight_decay=range(0.1,0.5,0.1)", "--dry-run", *QUICK, cwd=tmp_path)
    single = [run_command("--dry-run", f"optimizer.weight_decay={value}", *QUICK, cwd=tmp_path) for value in (0.3, 0.4)]
    for each in single:
        name = next(word for word in each.stdout.split() if word.startswith("digits-"))
        assert name in done.stdout


SWEEP = """
program: run.py
method: grid
parameters:
  head: {{values: [none, one_relu]}}
  {line}
"""


def test_what_the_grid_reads_is_lifted_out_of_a_sweep_files_parameters(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(line="root: {value: elsewhere}"))
    done = module("simclr.sweep", "sweep.yaml", "--dry-run", cwd=tmp_path)
    assert "2 cells: 2 run" in done.stdout, done.stderr
    for line in ("rerun: {values: [true, false]}", "launch: {values: [serial, local]}"):
        (tmp_path / "sweep.yaml").write_text(SWEEP.format(line=line))
        done = module("simclr.sweep", "sweep.yaml", "--dry-run", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: sweep.yaml, line 6: {line.partition(':')[0]}: the grid reads this")


def test_options_that_match_a_pattern_are_varied_in_a_sweep_file_too(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(line="seed: {values: [0, 1]}"))
    done = module("simclr.sweep", "sweep.yaml", "--dry-run", "head=glob(t*_relu)", cwd=tmp_path)
    assert "4 cells: 4 run" in done.stdout, done.stderr
    assert {"two_relu", "three_relu"} == set(re.findall("t[a-z]+_relu", done.stdout))
    done = module("simclr.sweep", "sweep.yaml", "--dry-run", "head=glob(x*)", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: head=glob(x*): this matches nothing; there is none, one_relu")


def test_what_earlier_runs_of_a_grid_left_goes_where_their_processes_are_dead(run_command, recorded):
    folder = recorded[0]
    done = run_command("-m", "seed=0,1", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    grid = max((folder / "runs" / "grids").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for name in ("dead", "alive"):
        (grid / name).mkdir()
        (grid / name / "job-0.json").write_text("{}")
    with at_work(grid / "alive"):
        done = run_command("-m", "seed=0,1", "rerun=true", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in grid.iterdir()) == ["alive", "grid.json"]


# Other commands


@pytest.mark.parametrize("name", ["simclr.sweep", "simclr.store"])
def test_without_a_verb_or_a_file_there_is_help(tmp_path, name):
    done = module(name, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: python -m {name}")


def test_a_misspelt_verb_has_the_nearest_name(tmp_path):
    done = module("simclr.store", "prun", cwd=tmp_path)
    assert done.returncode == 2
    assert 'error: prun: there is no such command. Did you mean "prune"?' in done.stderr
    done = module("simclr.sweep", "statsu", cwd=tmp_path)
    assert done.returncode == 2
    assert 'Did you mean "status"?' in done.stderr


@pytest.mark.parametrize(
    "arguments", [["-m", "simclr.store", "lst"], ["-m", "simclr.sweep", "statsu"], ["run.py", "x=1"]]
)
def test_a_reader_who_leaves_changes_no_exit_code_of_what_is_wrong(arguments):
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    process.stdout.close()
    assert process.wait() == 2


def test_the_state_of_every_cell_is_there_for_programs(recorded):
    done = module("simclr.sweep", "status", "--json", cwd=recorded[0])
    told = {each["name"]: each for each in json.loads(done.stdout)}
    assert told[recorded[1].name]["doing"] == "finished"
    assert 0 <= told[recorded[1].name]["accuracy"] <= 1


@pytest.mark.parametrize("arguments", [["simclr.sweep", "status", "--json"], ["simclr.store", "list"]])
def test_nobody_need_read_a_list_to_its_end(recorded, arguments):
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, cwd=recorded[0], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_the_state_is_watched_until_nothing_runs(recorded):
    command = [sys.executable, "-m", "simclr.sweep", "status", "--watch"]
    with at_work(recorded[0] / "runs" / "results" / "a-cell") as word:
        word.tell(doing="pretraining", epoch=3, epochs=9, loss=1.25, seconds_left=5.0)
        process = subprocess.Popen(
            command, cwd=recorded[0], stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "150"}
        )
        time.sleep(4)
        assert process.poll() is None
    shown, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "a-cell" in shown
    assert "3/9" in shown
    assert "1.250" in shown


def test_a_report_beside_a_running_cell_says_that_it_runs(recorded):
    with at_work(recorded[0] / "runs" / "results" / "a-cell") as word:
        word.tell(doing="pretraining", epoch=3, epochs=9)
        done = module("simclr.report", cwd=recorded[0])
    assert "running: a-cell: epoch 3 of 9, by process" in done.stderr
    assert "foreign" not in done.stdout + done.stderr


def test_a_shell_can_complete_a_command_line(run_command, tmp_path):
    assert "complete" in run_command("-sc", "install=bash", cwd=tmp_path).stdout
    line = "python run.py head="
    done = run_command("-sc", "query=bash", cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert {"head=none", "head=two_relu"} <= set(done.stdout.split())
