"""The command, from a root to its report."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys

import pytest

from simclr.command.report import main
from simclr.report.write import write
from tests.report.conftest import spoil
from tests.report.constructed import Noise, build, grid


@pytest.mark.usefixtures("without_pictures")
def test_the_command_prints_the_answer_and_where_the_page_is(copied, capsys):
    root = copied(results_only=True)
    assert main(["--root", str(root)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"report {root / 'report' / 'index.html'}"
    assert "imagenet5: " in out
    assert "failed: failed: <b>out</b> of memory" in err


@pytest.mark.parametrize("made", ["nothing", "an empty folder", "only failures"])
def test_an_empty_root_gets_one_line_that_says_what_to_run(made, tmp_path, capsys):
    if made != "nothing":
        (tmp_path / "results").mkdir()
    if made == "only failures":
        spoil(tmp_path)
    assert main(["--root", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert f"python run.py head=two_relu probe.layer=-4 root={tmp_path}" in err.splitlines()[-1]
    assert not (tmp_path / "report").exists()


@pytest.mark.usefixtures("without_pictures")
def test_a_report_that_cannot_be_written_is_one_line(copied, capsys):
    root = copied(results_only=True)
    for file in (root / "report").iterdir():
        file.unlink()
    (root / "report").rmdir()
    (root / "report").write_text("in the way")
    assert main(["--root", str(root)]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_same_root_makes_the_same_report(copied, written):
    again = write(copied(results_only=True)).page.parent
    for name in ("table.md", "table.tex", "cells.csv", "accuracy-by-layer.png"):
        assert (again / name).read_bytes() == (written.page.parent / name).read_bytes()


def test_tensorflow_is_not_needed():
    modules = "simclr.command.report, simclr.report.page, simclr.report.pictures"
    code = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.usefixtures("without_pictures")
def test_a_page_of_many_cells_has_them_all(tmp_path):
    truth = {("none", "encoder"): 1.0}
    cells = [cell for place in range(60) for cell in grid(truth, pretrain__temperature=0.1 + place)]
    report = write(build(tmp_path, cells, Noise(images=50)))
    assert len(report.table.rows) == 60
    assert report.page.read_text().count('class="command"') == 180


@pytest.mark.usefixtures("without_pictures")
def test_records_that_were_damaged_at_random_stop_nothing(tmp_path):
    """Any field of any record replaced by anything, any configuration by any YAML."""
    root = build(tmp_path, grid({("two_relu", "encoder"): 1.0, ("none", "encoder"): 0.5}, (0, 1)), Noise(images=30))
    whole = {file: file.read_text() for file in sorted(root.glob("results/*/*.*")) if file.suffix != ".npz"}
    for number in range(12):
        chance = random.Random(number)
        for file, text in whole.items():
            file.write_text(damaged(text, chance) if file.suffix == ".json" else chance.choice([text, *STRANGE_YAML]))
        write(root)


STRANGE = [None, "x", -1, 1e308, math.nan, math.inf, [], {}, [1, [2]], True, "\ud800", {"mean": "x"}]
STRANGE_YAML = ["", "- 1", "a: &x [*x]", "seed: {1: 2}\n? [a]\n: 3\n", "pretrain: 2020-01-01\n", "head: {name: [1]}"]


def damaged(text: str, chance: random.Random) -> str:
    """A record with one field, at any depth, replaced."""
    record = json.loads(text)
    place = record
    while True:
        key = chance.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and chance.random() < 0.8:
            place = place[key]
            continue
        place[key] = chance.choice(STRANGE)
        return json.dumps(record)
