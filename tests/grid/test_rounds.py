"""``seeds=auto`` through the real commands: rounds until the question is answered, and what a person sees of them."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.grid.processes import RUN, SWEEP, TINY, pretrained, records

# Of one network the encoder knows far more than a projection to two numbers.
OF_ALL = ("head=zero_relu", "head.output=2", *(each for each in TINY if "output" not in each))
APART = (*OF_ALL, "probe.layer=encoder,projection")
CONSTANTS = "".join(f"      - {text}\n" for text in OF_ALL)
LONGER = "pretrain.epochs=40"
ASKED = ("seeds=auto", "max_seeds=4")

LAYERS = f"""
    program: run.py
    method: grid
    name: layers
    parameters:
      probe.layer: {{values: [encoder, projection]}}
      seed: {{values: [3, 4]}}
      seeds: {{value: auto}}
      max_seeds: {{value: 4}}
    command:
      - ${{env}}
      - ${{interpreter}}
      - ${{program}}
{CONSTANTS}      - ${{args_no_hyphens}}
"""


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    from tests.grid.processes import Command

    return Command(RUN, *APART, *ASKED, work=tmp_path_factory.mktemp("rounds")).done()


def test_a_grid_ends_when_its_question_is_answered(settled):
    text = settled.output
    assert "answer=best: settled after 1 round and 2 of 4 pretrainings" in text
    assert "probe.layer=encoder is the best of 2" in text
    assert len(pretrained(settled.root)) == 2
    assert {record["cell"]["seed"] for record in records(settled.root).values()} == {0, 1}
    assert settled.output.splitlines()[-1].startswith("report ")


def test_the_page_the_answer_and_the_status_say_so(settled, start, tmp_path):
    said = "answer=best: settled after 1 round and 2 of 4 pretrainings"
    assert said in (settled.root / "report" / "index.html").read_text()
    assert said in (settled.root / "report" / "table.md").read_text().replace("\\_", "_")
    assert json.loads((settled.root / "report" / "answer.json").read_text())["asked"][0][0] == said
    status = start(SWEEP, "status", "--root", str(settled.root)).done()
    assert said in status.output


def test_the_same_command_has_nothing_left_to_do(settled, start, tmp_path):
    shutil.copytree(settled.root, tmp_path / "runs")
    again = start(RUN, *APART, *ASKED).done()
    assert "settled after 1 round" in again.output
    assert len(pretrained(again.root)) == 2


def test_a_dry_run_says_what_the_next_round_would_be_and_writes_nothing(start, tmp_path):
    told = start(RUN, *APART, *ASKED, "--dry-run").done()
    assert "answer=best: not begun; 2 contenders with up to 4 seeds each, 4 pretrainings at most" in told.output
    assert "4 cells: 2 run, 2 probe only" in told.output
    assert not (tmp_path / "runs").exists()


def test_a_cell_that_does_not_exist_is_left_out_with_a_line(start):
    told = start(RUN, "head=none,one_relu", "probe.layer=-4", "on_invalid=skip", *TINY, *ASKED, "--dry-run").done()
    assert "1 contender with up to 4 seeds" in told.output
    assert "left out, as there is no such cell: head=none probe.layer=-4" in told.errors


def test_a_seed_that_is_there_is_looked_at_and_what_was_killed_goes_on(settled, start, tmp_path):
    root = shutil.copytree(settled.root, tmp_path / "runs")
    (last,) = root.glob("results/*projection-s1*")
    shutil.rmtree(last)
    told = start(RUN, *APART, *ASKED, "--dry-run").done()
    assert "still open" not in told.output
    assert "1 cell: 1 probe only" in told.output


def test_a_sweep_file_may_ask_and_its_seeds_say_where_to_begin(file, start):
    ran = start(SWEEP, str(file(LAYERS))).done()
    assert "settled after 1 round and 2 of 4 pretrainings" in ran.output
    assert {record["cell"]["seed"] for record in records(ran.root).values()} == {3, 4}


def test_a_cell_that_fails_is_left_behind_and_the_exit_code_says_so(start):
    rates = ("optimizer=sgd", "optimizer.weight_decay=10", "pretrain.precision=float32", "head=none")
    asked = ("seeds=auto", "max_seeds=3")
    ran = start(RUN, "optimizer.learning_rate=0.0001,0.0002,1000", "probe.layer=encoder", *rates, *TINY, *asked)
    assert ran.code() == 1
    (known,) = [line for line in ran.output.splitlines() if "told from the best of" in line]
    assert "optimizer.learning_rate=1000" not in known
    assert "optimizer.learning_rate=0.0001" in known
    assert sum(record["status"] == "failed" for record in records(ran.root).values()) == 2


@pytest.mark.slow
def test_a_killed_inquiry_goes_on_where_it_was(start, tmp_path):
    command = (RUN, "head=none,zero_relu", "probe.layer=encoder", *TINY, "seeds=auto", "max_seeds=3", LONGER)
    grid = start(*command)
    grid.until(lambda: len(pretrained(grid.root)) == 3)
    grid.until_it_trains()
    grid.end()
    again = start(*command).done()
    assert "after 2 rounds and 6 of 6 pretrainings" in again.output
    assert len(pretrained(again.root)) == 6


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("seeds=auto", "rerun=true"), "rerun=true: with seeds=auto what is there is looked at; valid is false"),
        (("seeds=auto", "probe=none"), "probe=none: nothing is compared"),
        (("seeds=auto", "answer=order"), "by=null: valid is what the grid varies: head, probe.layer."),
        (
            ("seeds=auto", "answer=order", "by=haed"),
            "by=haed: valid is what the grid varies: head, probe.layer. Did you",
        ),
        (("seeds=auto", "by=head"), "by=head: only with answer=order"),
        (("seeds=auto", "max_seeds=3,4"), "max_seeds=3,4: a grid is asked one question; valid is one value"),
        (("seeds=five",), "seeds=five: valid is auto"),
        (("seeds=auto", "seed=many"), "seed=many"),
        (
            ("seeds=auto", "experiment=imagenet5,documents"),
            "seed=0,666: contenders begin with one seed; valid is seed=N",
        ),
        (("max_seeds=4",), "max_seeds=4: valid with seeds=auto alone"),
        (("seeds=auto", "answer=who"), "answer=who: valid is best, order, beats_pixels"),
        (("seeds=auto", "max_seeds=1"), "max_seeds=1: valid is at least 2"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_a_question_that_cannot_be_asked_is_one_line_and_code_2(start, tmp_path, typed, told):
    ran = start(RUN, "head=none,one_relu", "probe.layer=encoder,projection", "on_invalid=skip", *typed)
    assert ran.code() == 2
    assert told in ran.errors
    assert "Traceback" not in ran.errors
    assert not (tmp_path / "runs" / "results").exists()


def test_a_single_run_has_one_seed(run_command, tmp_path):
    done = run_command("seeds=auto", cwd=tmp_path)
    assert done.returncode == 2
    assert "seeds=auto: of a grid" in done.stderr
    assert "W&B server" in done.stderr


def test_a_search_is_not_asked(file, start):
    path = file(
        """
        program: run.py
        method: random
        run_cap: 2
        parameters:
          pretrain.temperature: {min: 0.1, max: 0.5}
        """
    )
    ran = start(SWEEP, str(path), "seeds=auto")
    assert ran.code() == 2
    assert "seeds=auto: a random search has no cells to compare; grid has" in ran.errors
