"""Searches: what they draw, what they remember, what becomes of a trial whose runner dies."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from simclr.foundation.errors import InvalidInput
from simclr.sweep.distribution import (
    Beta,
    Categorical,
    Constant,
    IntUniform,
    LogNormal,
    LogUniform,
    Normal,
    Rounded,
    Uniform,
)
from simclr.sweep.search import ATTEMPTS, Search, folder, value_of
from simclr.sweep.space import Hyperband, Metric, Parameter, Sweep, should_stop
from tests.sweep.standings import standings

ACCURACY = Metric("probe/test_accuracy", maximize=True)


def made(method="random", metric=ACCURACY, **more):
    parameters = (Parameter("optimizer.learning_rate", LogUniform(1e-4, 1)), Parameter("head", Categorical(("a", "b"))))
    return Sweep("sweep", method, parameters, ("seed=1",), metric, **more)


def record(accuracy):
    return {"probe": {"test_accuracy": {"mean": accuracy}}}


def drawn(trial):
    return dict(text.split("=", 1) for text in trial.overrides)


def test_a_trial_is_a_points_overrides(tmp_path):
    trial = Search(made(), tmp_path).ask()
    assert (trial.number, trial.attempt) == (0, 1)
    assert list(drawn(trial)) == ["optimizer.learning_rate", "head", "seed"]
    assert 1e-4 <= float(drawn(trial)["optimizer.learning_rate"]) <= 1


DRAWN = {
    "uniform": (Uniform(-2, 3), stats.uniform(-2, 5)),
    "log": (LogUniform(1e-4, 10), stats.loguniform(1e-4, 10)),
    "normal": (Normal(3, 0.5), stats.norm(3, 0.5)),
    "log_normal": (LogNormal(-1, 0.7), stats.lognorm(s=0.7, scale=np.exp(-1))),
    "beta": (Beta(2, 5), stats.beta(2, 5)),
    "fine": (Rounded(Normal(0, 1), 1e-6), stats.norm(0, 1)),
}
COUNTED = {
    "int": (IntUniform(1, 4), {"1": 0.25, "2": 0.25, "3": 0.25, "4": 0.25}),
    "even": (Categorical(("a", None, [1, 2])), {"a": 1 / 3, "null": 1 / 3, "[1,2]": 1 / 3}),
    "uneven": (Categorical(("a", "b"), (0.2, 0.8)), {"a": 0.2, "b": 0.8}),
    "twice": (Categorical((1, 2, 1)), {"1": 2 / 3, "2": 1 / 3}),
    "rounded": (Rounded(Uniform(0, 2), 1.0), {"0": 0.25, "1": 0.5, "2": 0.25}),
    "constant": (Constant("x"), {"x": 1.0}),
}


@pytest.fixture(scope="module")
def many_draws(tmp_path_factory):
    """A hundred random trials over every distribution, each drawn by one of two searches side by side."""
    parameters = tuple(Parameter(name, each) for name, (each, _) in {**DRAWN, **COUNTED}.items())
    root = tmp_path_factory.mktemp("draws")
    searches = [Search(Sweep("all", "random", parameters, ()), root, seed=4) for _ in range(2)]
    return [drawn(searches[number % 2].ask()) for number in range(100)]


@pytest.mark.parametrize("name", DRAWN)
def test_random_search_follows_each_continuous_distribution(many_draws, name):
    assert stats.kstest([float(each[name]) for each in many_draws], DRAWN[name][1].cdf).pvalue > 0.01


@pytest.mark.parametrize("name", COUNTED)
def test_random_search_follows_each_discrete_distribution(many_draws, name):
    expected = COUNTED[name][1]
    sampled = [each[name] for each in many_draws]
    assert set(sampled) == set(expected)
    counts = [sampled.count(value) for value in expected]
    if len(expected) > 1:
        assert stats.chisquare(counts, len(sampled) * np.array(list(expected.values()))).pvalue > 0.01


def test_draws_of_different_settings_have_nothing_to_do_with_each_other(many_draws):
    pair = [[float(each[name]) for each in many_draws] for name in ("uniform", "normal")]
    assert stats.spearmanr(*pair).pvalue > 0.01


def test_the_same_seed_draws_the_same_points_and_another_seed_others(tmp_path):
    def asked(root, seed, method):
        search = Search(made(method), tmp_path / root, seed)
        return [search.ask().overrides for _ in range(3)]

    for method in ("random", "bayes"):
        first = asked(f"{method} 1", 0, method)
        assert first == asked(f"{method} 2", 0, method)
        assert first != asked(f"{method} 3", 1, method)
        assert len(set(first)) == 3


def test_a_search_goes_on_where_it_was(tmp_path):
    whole = Search(made(run_cap=4), tmp_path / "whole")
    asked = []
    while (trial := whole.ask()) is not None:
        whole.finished(trial.number, record(0.5))
        asked.append(trial.overrides)
    assert len(asked) == 4
    parts = []
    for _ in range(4):
        search = Search(made(run_cap=4), tmp_path / "parts")
        trial = search.ask()
        search.finished(trial.number, record(0.5))
        parts.append(trial.overrides)
    assert parts == asked
    assert Search(made(run_cap=4), tmp_path / "parts").ask() is None
    assert Search(made(run_cap=5), tmp_path / "parts").ask().number == 4


def test_another_space_under_the_same_name_is_refused(tmp_path):
    Search(made(), tmp_path)
    Search(replace(made(), overrides=("seed=1", "tracking.mode=disabled", "root=elsewhere")), tmp_path)
    for other in (made("bayes"), replace(made(), overrides=()), replace(made(), parameters=made().parameters[:1])):
        with pytest.raises(InvalidInput, match=r"name=sweep: this sweep was begun with other parameters"):
            Search(other, tmp_path)


@pytest.mark.parametrize("maximize", [True, False])
def test_bayes_comes_closer_to_the_best_than_chance(tmp_path, maximize):
    parameters = tuple(Parameter(name, Uniform(0, 1)) for name in ("x", "y"))

    def average(method):
        metric = replace(ACCURACY, maximize=maximize)
        search = Search(Sweep(method, method, parameters, (), metric), tmp_path, seed=1)
        found = []
        for _ in range(40):
            trial = search.ask()
            distance = sum((float(value) - 0.8) ** 2 for value in drawn(trial).values())
            found.append(distance)
            search.finished(trial.number, record(-distance if maximize else distance))
        return np.mean(found[20:])

    assert average("bayes") < 0.5 * average("random")


@pytest.mark.parametrize(("maximize", "target", "stops"), [(True, 0.5, True), (True, 0.7, False), (False, 0.7, True)])
def test_no_new_trial_once_the_target_is_reached(tmp_path, maximize, target, stops):
    search = Search(made(metric=replace(ACCURACY, maximize=maximize, target=target)), tmp_path)
    search.finished(search.ask().number, record(0.6))
    assert (search.ask() is None) is stops


def test_trials_are_told_apart_by_how_they_ended(tmp_path):
    search = Search(made(), tmp_path)
    for _ in range(5):
        search.ask()
    search.finished(0, record(0.9))
    search.failed(1)
    search.report(2, [0.1, float("nan"), 0.2])
    search.stopped(2)
    search.finished(3, {"probe": None})
    states = standings(search)
    assert [each.state for each in states] == ["finished", "failed", "stopped", "failed", "running"]
    assert [each.value for each in states[:2]] == [0.9, None]
    assert states[2].looks == [0.1, 0.2]
    search.failed(0)
    assert standings(search)[0].state == "finished"


def test_a_trial_led_by_the_monitor_has_its_last_look_as_its_value(tmp_path):
    search = Search(made(metric=Metric("monitor/knn_accuracy", maximize=True)), tmp_path)
    search.report(search.ask().number, [0.1, 0.3])
    search.finished(0, {})
    search.report(search.ask().number, [0.2, 0.4, float("nan")])
    search.finished(1, {})
    assert [each.value for each in standings(search)] == [0.3, 0.4]


def test_a_trial_that_is_given_back_is_asked_for_again(tmp_path):
    search = Search(made(run_cap=1), tmp_path)
    trial = search.ask()
    assert search.ask() is None
    search.given_back(trial.number)
    again = search.ask()
    assert (again.number, again.overrides, again.attempt) == (trial.number, trial.overrides, 1)


def test_however_often_a_trial_is_interrupted_it_is_asked_for_again(tmp_path):
    for _ in range(2 * ATTEMPTS):
        search = Search(made(run_cap=1), tmp_path)
        number = search.ask().number
        search.given_back(number)
    assert number == 0
    assert standings(Search(made(run_cap=1), tmp_path))[0].state == "lost"


ASK = """
import sys, time
from tests.sweep.test_search import made
from simclr.sweep.search import Search
search = Search(made(sys.argv[2], run_cap=2), sys.argv[1])
print(search.ask(), flush=True)
time.sleep(60)
"""


def asking_process(root, method):
    command = [sys.executable, "-c", ASK, str(root), method]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_trial_whose_runner_is_killed_is_handed_out_again_and_not_before(tmp_path, method):
    process, asked = asking_process(tmp_path, method)
    search = Search(made(method, run_cap=2), tmp_path)
    assert search.ask().number == 1
    assert search.ask() is None
    assert standings(search)[0].state == "running"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert standings(search)[0].state == "lost"
    again = search.ask()
    assert (again.number, again.attempt) == (0, 2)
    assert str(again.overrides) in asked
    search.report(0, [0.5])
    search.finished(0, record(0.5))
    assert standings(search)[0].state == "finished"


def test_a_trial_that_kills_its_runners_is_given_up(tmp_path):
    numbers = []
    for _ in range(ATTEMPTS + 1):
        search = Search(made(), tmp_path)
        numbers.append(search.ask().number)
        search.lost(numbers[-1])
    assert numbers == [0] * ATTEMPTS + [1]
    assert standings(Search(made(), tmp_path))[0].state == "failed"


def _search_along(root, count, queue):
    search = Search(made(run_cap=count), root)
    while (trial := search.ask()) is not None:
        queue.put(trial.number)
        time.sleep(0.002)
        search.finished(trial.number, record(0.5))


def test_processes_that_search_together_share_the_trials(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_search_along, args=(tmp_path, 20, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    asked = sorted(queue.get(timeout=60) for _ in range(20))
    for worker in workers:
        worker.join(30)
    assert asked == list(range(20))
    assert [each.state for each in standings(Search(made(run_cap=20), tmp_path))] == ["finished"] * 20


RULE = Hyperband(bands=(1, 3), eta=2, strict=True)


@pytest.mark.parametrize(
    ("history", "others", "stop"),
    [
        ([0.1], [[0.9, 0.9]], False),  # no band yet
        ([0.1, 0.1], [], False),  # nobody to be worse than
        ([0.1, 0.1], [[0.9, 0.9]], False),  # of two, half and one more are kept
        ([0.1, 0.1], [[0.9, 0.9], [0.9, 0.8]], True),
        ([0.9, 0.1], [[0.1, 0.9], [0.1, 0.8]], True),
        ([0.1, 0.95], [[0.9, 0.9]], False),
        ([0.1, 0.5], [[0, 0.9], [0, 0.8], [0, 0.6]], True),
        ([0.1, 0.5], [[0, 0.4], [0, 0.3], [0, 0.2]], False),
        ([0.1, 0.1, 0.9, 0.9], [[0.1, 0.5, 0.6, 0.7]], False),
        ([0.9, 0.9, 0.9, 0.2], [[0.1, 0.5, 0.6, 0.7], [0.1, 0.5, 0.6, 0.8]], True),
    ],
)
def test_a_trial_is_stopped_where_it_is_not_among_the_best_at_a_band(history, others, stop):
    assert should_stop(history, others, RULE) is stop


def test_leniently_the_best_look_until_now_decides():
    lenient = replace(RULE, strict=False)
    others = [[0.1, 0.5, 0.6, 0.7], [0.1, 0.5, 0.6, 0.8]]
    assert not should_stop([0.9, 0.9, 0.9, 0.2], others, lenient)
    assert should_stop([0.1, 0.2, 0.3, 0.2], others, lenient)


def test_a_sweep_is_halved_as_wandb_halves_it():
    rule = Hyperband(bands=(1, 2), eta=2, strict=False)  # max_iter 5, s 2
    histories = {"a": [-10, -9], "b": [-10, -10], "c": [-10, -8, -8], "d": [-10, -7, -7], "e": [-10, -6, -6]}
    stopped = [
        name
        for name, history in histories.items()
        if should_stop(history, [other for key, other in histories.items() if key != name], rule)
    ]
    assert stopped == ["a", "b", "c"]


@pytest.mark.parametrize("maximize", [True, False])
def test_early_termination_goes_by_the_monitors_looks_whatever_the_goal(tmp_path, maximize):
    search = Search(made(metric=replace(ACCURACY, maximize=maximize), early_terminate=RULE), tmp_path)
    good, better, bad = (search.ask().number for _ in range(3))
    assert not search.report(good, [0.2, 0.8, 0.8, 0.9])
    assert not search.report(better, [0.2, 0.9])
    assert not search.report(bad, [0.3])
    assert search.report(bad, [0.3, 0.4])
    assert search.report(bad, [0.3, 0.4])
    assert standings(search)[bad].looks == [0.3, 0.4]


def test_values_are_found_in_records():
    full = {"seconds": 3, "pretraining": {"loss": 0.5, "key": "x"}, **record(0.9)}
    assert value_of(full, "seconds") == 3
    assert value_of(full, "pretraining/loss") == 0.5
    assert value_of(full, "probe/test_accuracy") == 0.9
    assert value_of(full, "pretraining/key") is None
    assert value_of(full, "nothing/here") is None


def test_a_sweeps_folder_lies_below_the_root_whatever_its_name(tmp_path):
    assert folder(tmp_path, "a/b c").parent == tmp_path / "sweeps"
    assert folder(tmp_path, "../..").parent == tmp_path / "sweeps"
