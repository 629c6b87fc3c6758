"""Sweeps from end to end: ``wandb sweep`` and ``wandb agent`` as a person types them, against the stand-in."""

from __future__ import annotations

import csv
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from simclr.experiment import agents
from simclr.foundation.errors import RunFailed
from simclr.tracking import Patience, Wish, remote
from tests.machine import MINE, SMALL, Machine, begin_sweep, sweep_file, until_ended
from tests.real_set import real_images
from tests.wandb_service import KEY, Run, Service


def config_of(run: Run) -> dict[str, Any]:
    return {key: entry["value"] for key, entry in run.config.items()}


def began_and_finished(manifest: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(manifest["began"]), datetime.fromisoformat(manifest["finished"])


def overlap(first: dict[str, Any], second: dict[str, Any]) -> bool:
    (begun, ended), (also_begun, also_ended) = began_and_finished(first), began_and_finished(second)
    return begun < also_ended and also_begun < ended


def check_grid(service: Service, epochs: int) -> None:
    """Six finished and three skipped runs of the grid head x layer, each with all that is its own."""
    existing = {
        ("zero_relu", -2),
        ("one_relu", -2),
        ("one_relu", -4),
        ("two_relu", -2),
        ("two_relu", -4),
        ("two_relu", -6),
    }
    layers = {"two_relu": {-2: "relu_2", -4: "relu_1", -6: "encoder"}, "one_relu": {-2: "relu_1", -4: "encoder"}}
    seen = set()
    for run in service.runs.values():
        config = config_of(run)
        head, layer = config["head"], config["probe.layer"]
        seen.add((head, layer))
        assert (run.state, run.exit_code, run.starts, run.job_type) == ("finished", 0, 1, "cell"), run
        assert config["head.name"] == head
        assert config["pretrain.epochs"] == epochs
        assert config["sweep.parameters"] == ["head", "probe.layer"]
        assert run.name == config["cell"]
        if (head, layer) not in existing:
            assert run.summary["status"] == "skipped"
            assert "has the layers" in run.summary["error"]
            assert "skipped" in run.tags
            continue
        name = layers.get(head, {}).get(layer, "encoder")
        assert run.summary["status"] == "finished"
        assert 0 < run.summary["probe/test_accuracy_low"] < run.summary["probe/test_accuracy"] <= 1
        assert {"probe/pixels_accuracy", "probe/untrained_accuracy", "representation/alignment"} <= set(run.summary)
        assert run.group == f"{head}-{config['pretraining.key']}"
        assert {config["data.name"], config["encoder.name"], head, name} <= set(run.tags)
        assert config["layer.name"] == name
        pictures = {
            Path(each).name.partition("_")[0] for each in run.files if each.startswith("media/images/pictures/")
        }
        assert pictures == {"confusion", "loss", "tsne", "views"}
        assert f"run-{run.id}-predictions" in {each.collection for each in service.artifacts.values()}
    assert seen == {(head, layer) for head in ("zero_relu", "one_relu", "two_relu") for layer in (-2, -4, -6)}


def check_pretrainings(service: Service, epochs: int) -> None:
    """Each head is trained by one run, kept once, and used by every other run that looks at it."""
    kept = {each.collection: each for each in service.artifacts.values() if each.type == "pretraining"}
    finished = [run for run in service.runs.values() if run.summary["status"] == "finished"]
    keys = {config_of(run)["pretraining.key"] for run in finished}
    assert {name.removeprefix("pretrained-") for name in kept} == keys
    assert len([each for each in service.artifacts.values() if each.type == "pretraining"]) == len(keys) == 3
    for run in finished:
        name = f"pretrained-{config_of(run)['pretraining.key']}"
        assert f"{name}:v0" in run.used or kept[name].run == run.id, (run.name, run.used, kept[name].run)
        trained = run.logged("pretrain/epoch")
        assert trained == (list(range(1, epochs + 1)) if trained else [])


def nothing_secret(service: Service, *machines: Machine) -> None:
    for each in machines:
        for path in each.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                assert KEY.encode() not in content, path
                assert MINE.encode() not in content, path
    told = repr([(run.config, run.summary, run.console, run.files) for run in service.runs.values()])
    told += repr([(each.metadata, each.files) for each in service.artifacts.values()])
    assert KEY not in told
    assert MINE not in told


@pytest.mark.slow
def test_two_agents_make_all_cells_of_a_sweep_and_pretrain_different_heads_at_once(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    here = machine("here")
    sweep = begin_sweep(here, "sweeps/smoke.yaml")
    working = [here.agent(sweep) for _ in range(2)]
    said = "".join(until_ended(here, each) for each in working)
    check_grid(service, epochs=5)
    check_pretrainings(service, epochs=5)
    assert sum(bool(run.logged("pretrain/epoch")) for run in service.runs.values()) >= 1
    assert sorted(record["status"] for record in here.records()) == ["finished"] * 6 + ["skipped"] * 3
    by_head = {each["name"].split("-")[2]: each for each in here.manifests()}
    assert set(by_head) == {"zero_relu", "one_relu", "two_relu"}
    assert overlap(by_head["two_relu"], by_head["one_relu"])
    assert said.count("result ") == 9
    assert "wandb" not in re.sub(r"runs/\S+", "", said)
    nothing_secret(service, here)


@pytest.mark.slow
def test_two_machines_with_nothing_in_common_but_the_server_pretrain_each_head_once(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    one, two = machine("one"), machine("two")
    sweep = begin_sweep(one, sweep_file(one, "smoke.yaml", {}, "store.remote=wandb"))
    working = [(each, each.agent(sweep)) for each in (one, two)]
    for where, process in working:
        until_ended(where, process)
    check_grid(service, epochs=5)
    check_pretrainings(service, epochs=5)
    made = [each for where in (one, two) for each in where.manifests()]
    trained = {(each["key"], each["began"], each["finished"]) for each in made}
    assert len(trained) == len({key for key, *_ in trained}) == 3
    nothing_secret(service, one, two)


@pytest.mark.slow
def test_a_machine_takes_a_network_that_another_one_makes_from_the_server_and_makes_the_other_one_meanwhile(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    one, two = machine("one"), machine("two")
    heads = {"head": ["two_relu", "one_relu"], "probe.layer": [-2, -4]}
    sweep = begin_sweep(one, sweep_file(one, "smoke.yaml", heads, "store.remote=wandb", "pretrain.epochs=40"))
    working = [(each, each.agent(sweep, "--count", "1")) for each in (one, two)]
    for where, process in working:
        until_ended(where, process)
    first, second = service.runs.values()
    keys = {config_of(run)["pretraining.key"] for run in (first, second)}
    assert len(keys) == 1
    made = [each for where in (one, two) for each in where.manifests()]
    trained = {(each["key"], each["began"], each["finished"]) for each in made}
    assert len(trained) == len({key for key, *_ in trained}) == 2
    by_key = {each["key"]: each for each in made}
    assert overlap(*by_key.values())
    (shared,) = keys
    assert sorted(run.used == [] for run in (first, second)) == [False, True]
    assert {each.collection for each in service.artifacts.values() if each.type == "pretraining"} == {
        f"pretrained-{key}" for key in by_key
    }
    accuracies = {run.summary["pretraining/loss"] for run in (first, second)}
    assert accuracies == {by_key[shared]["loss"]}


def test_another_cells_pretraining_that_fails_here_is_no_failure_of_the_cell_that_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    others = [SimpleNamespace(head=SimpleNamespace(name=name)) for name in ("fails", "is there", "is made")]
    tried = []

    def pretrain(config: Any, *_: Any) -> bool:
        tried.append(config.head.name)
        if tried[-1] == "fails":
            raise RunFailed("the loss is not finite")
        return bool(tried[-1] == "is made")

    monkeypatch.setattr(agents, "_one_of_each_other", lambda _, others: others)
    meanwhile = agents.another_pretraining(SimpleNamespace(), SimpleNamespace(), lambda: others, pretrain)  # type: ignore[arg-type]
    assert (meanwhile(), meanwhile()) == (True, False)
    assert tried == ["fails", "is there", "is made"]
    assert "head=fails failed here: the loss is not finite" in caplog.text


class Hearsay:
    """Runs of a sweep that read each other's words from a server, each word some time after it was said."""

    def __init__(self, seed: int) -> None:
        self.words: list[tuple[float, str, str | None, tuple[str, ...]]] = []
        self.lock, self.delays = threading.Lock(), random.Random(seed)

    def run(self, name: str) -> Any:
        def say(wants: str | None) -> None:
            with self.lock:
                last = max((at for at, who, *_ in self.words if who == name), default=0.0)
                at = max(last, time.monotonic() + self.delays.uniform(0, 0.05))  # one's own words keep their order
                self.words.append((at, name, wants, claims.has))

        def take_on(key: str) -> None:
            claims.has = (*claims.has, key)
            say(None)

        def everyone() -> list[Wish]:
            with self.lock:
                known = [word for word in self.words if word[0] <= time.monotonic()]
                latest = {who: Wish(who, wants, has) for _, who, wants, has in known}
                time.sleep(self.delays.uniform(0, 0.002))
            return sorted(latest.values(), key=lambda each: each.run)

        claims = SimpleNamespace(has=(), want=say, take_on=take_on, all=everyone)
        say(None)
        return SimpleNamespace(
            in_agent=True, online=True, run_id=name, stop_requested=False, wishes=claims, patience=Patience()
        )


@pytest.mark.parametrize("seed", range(12))
def test_of_machines_that_claim_a_pretraining_at_once_exactly_one_has_it(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(remote, "SHORTEST_PAUSE", 0.002)
    monkeypatch.setattr(remote, "LONGEST_PAUSE", 0.02)
    hearsay, count = Hearsay(seed), 2 + seed % 4
    runs = [hearsay.run(f"run-{number}") for number in range(count)]

    def attempt(tracker: Any) -> bool:
        time.sleep(random.Random(tracker.run_id + str(seed)).uniform(0, 0.06))
        return remote.Remote(tracker).claim("key")

    with ThreadPoolExecutor(count) as pool:
        assert sum(pool.map(attempt, runs)) == 1


LONG = ("pretrain.epochs=150", "pretrain.monitor_epochs=0", "baselines=false")


@pytest.mark.slow
def test_a_preempted_cell_is_handed_out_again_goes_on_from_its_checkpoint_and_ends_with_the_same_numbers(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    here, elsewhere = machine("here"), machine("elsewhere")
    sweep = begin_sweep(here, sweep_file(here, "smoke.yaml", {"head": ["one_relu"], "probe.layer": [-2]}, *LONG))
    agent = here.agent(sweep, "--forward-signals")
    run = service.wait(lambda: next((each for each in service.runs.values() if each.logged("pretrain/loss")), None), 90)
    agent.send_signal(signal.SIGTERM)
    until_ended(here, agent)
    assert (run.state, run.exit_code) == ("preempted", 143)
    (checkpoint,) = here.root.glob("pretrained/*/checkpoint.npz")
    assert len(run.logged("pretrain/loss")) < 150

    again = here.agent(sweep)
    until_ended(here, again)
    commands = [command for each in service.agents.values() for command in each.commands]
    (resumed,) = (command for command in commands if command["type"] == "resume")
    assert resumed["run_id"] == run.id
    assert {"_wandb", "head", "head.name", "pretrain.epochs", "versions.tensorflow"} <= set(resumed["args"])
    assert "going on from epoch" in here.log(again)
    assert not checkpoint.exists()
    assert list(service.runs.values()) == [run]
    assert (run.state, run.exit_code, run.starts) == ("finished", 0, 2)
    assert run.logged("pretrain/epoch") == list(range(1, 151))

    command = yaml.safe_load((here.folder / "sweep.yaml").read_text())["command"][3:-1]
    whole = elsewhere.run("run.py", *command, "head=one_relu", "probe.layer=-2", "tracking.mode=disabled")
    assert whole.returncode == 0, whole.stderr
    (mine,), (other,) = here.records(), elsewhere.records()
    for name in ("probe", "baselines", "representation"):
        assert mine[name] == other[name]
    (mine,), (other,) = here.manifests(), elsewhere.manifests()
    for name in ("network.npz", "history.csv"):
        assert mine["files"][name] == other["files"][name]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["run", "sweep"])
def test_a_cell_that_is_stopped_from_the_page_ends_cleanly_and_is_not_handed_out_again(
    service: Service, machine: Callable[[str], Machine], how: str
) -> None:
    here = machine("here")
    cells = {"head": ["one_relu"], "probe.layer": [-2]}
    sweep = begin_sweep(
        here, sweep_file(here, "smoke.yaml", cells, "pretrain.epochs=2000", "pretrain.monitor_epochs=0")
    )
    agent = here.agent(sweep)
    run = service.wait(lambda: next((each for each in service.runs.values() if each.logged("pretrain/loss")), None), 90)
    if how == "run":
        service.stop(run.id)
    else:
        next(iter(service.sweeps.values())).state = "CANCELED"
    until_ended(here, agent)
    assert (run.state, run.preempting, run.exit_code, run.starts) == ("failed", False, 143, 1)
    assert len(list(here.root.glob("pretrained/*/checkpoint.npz"))) == 1
    assert "Traceback" not in here.log(agent)
    assert "the same command goes on from there" in here.log(agent)


@pytest.mark.slow
def test_a_run_of_its_own_that_is_stopped_from_its_page_ends_cleanly(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    here = machine("here")
    process = here.start("run.py", *SMALL, "pretrain.epochs=2000", "pretrain.monitor_epochs=0")
    run = service.wait(lambda: next((each for each in service.runs.values() if each.logged("pretrain/loss")), None), 90)
    service.stop(run.id)
    process.communicate(timeout=90)
    assert process.returncode == 143, here.log(process)
    assert (run.state, run.preempting, run.exit_code) == ("failed", False, 143)
    assert len(list(here.root.glob("pretrained/*/checkpoint.npz"))) == 1


@pytest.mark.slow
def test_an_offline_run_contains_what_an_online_one_does(service: Service, machine: Callable[[str], Machine]) -> None:
    here = machine("here")
    done = here.run("run.py", *SMALL, WANDB_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert service.operations == []
    assert done.stdout.splitlines()[-1].startswith("result ")
    assert "wandb" not in done.stdout
    (folder,) = (here.root / "wandb").glob("offline-run-*")
    (line,) = (line for line in done.stderr.splitlines() if "W&B" in line)
    assert f"`wandb sync {folder}`" in line
    assert f"`wandb leet {folder}`" in line
    assert here.run("-m", "wandb", "sync", str(folder)).returncode == 0
    (record,) = here.records()
    run = service.named(record["name"])
    with next(here.root.glob("pretrained/*/history.csv")).open() as file:
        history = list(csv.DictReader(file))
    for column, name in (("loss", "pretrain/loss"), ("contrastive_accuracy", "pretrain/contrastive_accuracy")):
        assert run.logged(name) == pytest.approx([float(row[column]) for row in history], rel=1e-6)
    assert len(run.logged("pretrain/images_per_second")) == len(run.logged("pretrain/learning_rate")) == 5
    assert run.logged("monitor/knn_accuracy")
    assert run.summary["probe/test_accuracy"] == record["probe"]["test_accuracy"]["mean"]
    pictures = {Path(each).name.partition("_")[0] for each in run.files if each.startswith("media/images/pictures/")}
    assert pictures == {"confusion", "loss", "tsne", "views"}
    assert service.artifact(f"run-{run.id}-predictions:latest").files
    key = record["pretraining"]["key"]
    network = (here.root / "pretrained" / key / "network.npz").read_bytes()
    assert service.artifact(f"pretrained-{key}:latest").files["network.npz"] == network
    nothing_secret(service, here)


@pytest.mark.slow
def test_the_cells_of_a_grid_in_one_process_are_runs_of_their_own(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    here = machine("here")
    done = here.run("run.py", "-m", *SMALL, "head=one_relu,zero_relu", "probe.layer=-1,-2", seconds=240)
    assert done.returncode == 0, done.stderr
    assert len(service.runs) == 4
    assert {run.state for run in service.runs.values()} == {"finished"}
    assert {run.name for run in service.runs.values()} == {record["name"] for record in here.records()}
    for run in service.runs.values():
        assert run.summary["probe/test_accuracy"] > 0
        assert len({each for each in run.files if each.startswith("media/images/pictures/")}) == 4


@pytest.mark.slow
@pytest.mark.skipif(real_images() is None, reason="the images are not here")
def test_two_agents_make_the_ablation_on_real_images(
    service: Service, machine: Callable[[str], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = real_images()
    assert images is not None
    monkeypatch.setenv("SIMCLR_DATA", str(images))
    here = machine("here")
    heads = {"head": ["zero_relu", "one_relu", "two_relu"], "probe.layer": [-2, -4, -6]}
    sweep = begin_sweep(
        here, sweep_file(here, "ablation.yaml", heads, "pretrain.epochs=2", "probe.subsets=2", "baselines=false")
    )
    working = [here.agent(sweep) for _ in range(2)]
    for each in working:
        until_ended(here, each, seconds=1500)
    check_grid(service, epochs=2)
    check_pretrainings(service, epochs=2)
    assert len(here.manifests()) == 3
