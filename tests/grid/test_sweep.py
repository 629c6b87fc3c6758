"""Sweep files from end to end without a server: grids, searches, what is refused, how a killed search goes on."""

from __future__ import annotations

import pytest

from simclr.sweep.file import read
from simclr.sweep.search import Search
from tests.grid.processes import ABLATION, RUN, SMALL, SWEEP, pretrained, records
from tests.sweep.standings import standings

PROBES = f"""
    program: run.py
    method: random
    name: probes
    run_cap: 3
    metric: {{name: probe/test_accuracy, goal: maximize}}
    parameters:
      probe.label_fraction: {{min: 0.1, max: 0.5}}
      probe.layer: {{values: [encoder, relu_1]}}
    command:
{SMALL}      - head=two_relu
"""


def trials(path, root, *overrides):
    return [(each.state, each.value) for each in standings(Search(read(path, overrides), root))]


@pytest.mark.slow
def test_a_random_search_runs_its_trials_and_a_killed_one_goes_on(file, finished, start):
    path, networks = file(PROBES), pretrained(finished)
    before = len(records(finished))
    search = start(SWEEP, str(path))
    search.until(lambda: len(records(finished)) >= before + 1)
    search.process.kill()
    search.process.wait()
    kept = records(finished)
    again = start(SWEEP, str(path)).done()
    assert [state for state, _ in trials(path, finished)] == ["finished"] * 3
    assert len(records(finished)) == before + 3
    assert {name: records(finished)[name] for name in kept} == kept
    assert pretrained(finished) == networks
    measured = {each["probe"]["test_accuracy"]["mean"] for name, each in records(finished).items() if each["probe"]}
    assert {value for _, value in trials(path, finished)} <= measured
    assert again.output.splitlines()[-1].startswith("report ")
    more = start(SWEEP, str(path), "run_cap=4", "--dry-run").done()
    assert more.output == "probes: random search, 4 trials, over probe.label_fraction, probe.layer\n"
    start(SWEEP, str(path), "run_cap=4").done()
    assert len(trials(path, finished)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("launch", [(), ("launch=local", "hydra.launcher.n_jobs=2")], ids=["serial", "local"])
def test_a_bayesian_search_stops_a_bad_trial_early(file, start, launch):
    text = PROBES.replace("method: random", "method: bayes").replace("run_cap: 3", "run_cap: 6")
    text = text.replace("probe.label_fraction: {min: 0.1, max: 0.5}", "seed: {min: 0, max: 1000}")
    text = text.replace("probe.layer: {values: [encoder, relu_1]}", "pretrain.temperature: {min: 0.05, max: 1.0}")
    text = text.replace(
        "parameters:", "early_terminate: {type: hyperband, min_iter: 1, eta: 4, strict: true}\n    parameters:"
    )
    path = file(text)
    epochs = ("pretrain.epochs=4", "pretrain.monitor_epochs=1", "probe.layer=encoder")
    search = start(SWEEP, str(path), *epochs, *launch).done()
    found = trials(path, search.root, *epochs, *launch)
    assert len(found) == 6
    assert {state for state, _ in found} == {"finished", "stopped"}
    stopped = [each for each in records(search.root).values() if each["status"] == "skipped"]
    assert len(stopped) == [state for state, _ in found].count("stopped") >= 1
    assert all(each["error"].startswith("stopped early by hyperband: monitor/knn_accuracy 0.") for each in stopped)
    assert len(pretrained(search.root)) == 6 - len(stopped)


REFUSED = [
    (ABLATION.replace("method: grid", "method: gird"), (), ", line 3: method: gird: valid is grid, random, bayes"),
    (
        ABLATION.replace("probe.layer:", "probe.lyer:"),
        (),
        ', line 8: probe.lyer: there is no such key. Did you mean "probe.layer"',
    ),
    (ABLATION.replace("two_relu]", "four_relu]"), (), ", line 7: head=four_relu: there is no such option"),
    (
        ABLATION.replace("metric:", "conditions: []\n    metric:"),
        (),
        ", line 5: conditions: there is no such key in a sweep file",
    ),
    (
        ABLATION.replace("pretrain.epochs=2", "pretrain.epochs=0"),
        (),
        ", line 13: command: pretrain.epochs=0: valid is at least 1",
    ),
    (ABLATION, ("pretrain.epochs=many",), "pretrain.epochs=many: valid is a whole number"),
    (ABLATION, ("data=folder", "data.root=nowhere"), "data.root=nowhere"),
]


@pytest.mark.parametrize(
    ("text", "overrides", "says"), REFUSED, ids=[says.removeprefix(", line ")[:30] for *_, says in REFUSED]
)
def test_what_is_wrong_with_a_sweep_is_told_with_its_line_before_anything_starts(
    file, start, tmp_path, text, overrides, says
):
    path = file(text)
    refused = start(SWEEP, str(path), *overrides)
    assert refused.code() == 2
    (line,) = refused.errors.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert (str(path) in line) is says.startswith(", line")
    assert not refused.root.exists()


SYNTAX = [
    (["head=zero_relu,one_relu"], 2),
    (["head=glob(*_relu)"], 4),
    (["head=glob(*,exclude=none)"], 4),
    (["seed=range(3)"], 3),
    (["seed=range(0,10,5)"], 2),
    (["probe.layer=choice(encoder,-1)"], 2),
    (["encoder.widths=[8,12],[8,16]", "encoder.blocks=[1,1]"], 2),
    (["head=sort(two_relu,none)", "pretrain.temperature=0.1,0.2,0.5"], 6),
    (["hydra.sweeper.params={seed:'1,2'}"], 2),
]


@pytest.mark.parametrize(("overrides", "cells"), SYNTAX, ids=[overrides[0] for overrides, _ in SYNTAX])
def test_a_multirun_understands_what_hydras_own_sweeper_does(start, overrides, cells):
    told = start(RUN, *overrides, "--dry-run").done()
    assert f"\n{cells} cells: " in told.output


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["head=none,four_relu"], "head=four_relu: there is no such option"),
        (["seed=1,many"], "seed=many: valid is a whole number"),
        (["root=a,b"], "a grid has one root"),
        (["seed=interval(0,1)"], "seed=interval(0,1): an interval has no end"),
    ],
)
def test_a_grid_that_cannot_be_run_ends_with_code_2_and_one_line(start, overrides, says):
    refused = start(RUN, *overrides)
    assert refused.code() == 2
    (line,) = refused.errors.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not refused.root.exists()
