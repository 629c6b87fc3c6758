"""A cell as a run of W&B: the real client against the stand-in for its service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.wandb_service import KEY, Fault, Service

DRIVER = """
import logging, os, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from hydra import compose, initialize_config_dir
from simclr import tracking
from simclr.tracking import agent
from simclr.config.cell import configured, describe
from simclr.config.validation import resolve

logging.basicConfig(level=logging.INFO, format="%(message)s")
with initialize_config_dir(CONF, version_base="1.3"):
    config = resolve(compose("config", agent.overrides(sys.argv[1:], os.environ)))
cell = describe(config, "0123456789abcdef" * 4)
generator = np.random.default_rng(0)
labels = np.arange(30) % 3
accuracy = {"mean": 0.9, "std": 0.01, "ci95": [0.85, 0.95], "values": [0.9, 0.9]}
record = {
    "status": "finished",
    "cell": {"seed": config.seed},
    "pretraining": {"key": cell.key, "reused": False, "loss": 1.0, "seconds": 2.0},
    "probe": {
        "test_accuracy": accuracy,
        "validation_accuracy": {"mean": 0.8, "values": [0.8]},
        "confusion": np.eye(3, dtype=int).tolist(),
        "classes": ["0", "1", "2"],
    },
    "baselines": {"pixels": {"mean": 0.5}, "untrained": {"mean": 0.6}},
    "representation": {"alignment": 0.1, "effective_rank": float("nan")},
}
predictions = {"trained": np.stack([labels, labels]), "pixels": np.stack([labels, 2 - labels]), "labels": labels}
history = [{"loss": 3.0 - epoch, "contrastive_accuracy": 0.5} for epoch in range(2)]
material = tracking.Material(
    history,
    labels[:, None] + generator.normal(size=(30, 8)),
    labels,
    ["0", "1", "2"],
    generator.uniform(size=(6, 2, 16, 16, 1)),
    ["a.png"] * 30,
)
patience = tracking.Patience(float(os.environ.get("PATIENCE", "90")))
begun = time.monotonic()


def start(cell=cell):
    return tracking.start(config.tracking, config.root, cell.facts, patience)


def pretrained():
    folder = Path(config.root) / "pretrained" / cell.key
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("network.npz", "history.csv", "config.yaml", "manifest.json"):
        (folder / name).write_text(f"{name} of {cell.key}")
    (folder / ".lock").write_text("not a part of it")
    return folder


def whole(tracker, material=material):
    tracker.log_data("digits", cell.digest, "https://example.org/images", {"train": 1})
    for epoch, row in enumerate(history, start=1):
        tracker.epoch(epoch, {**row, "monitor/knn_accuracy": 0.7 if epoch == 2 else float("nan")})
    tracker.log_pretraining(cell.key, pretrained(), {"epochs": 2})
    tracker.result(record, predictions, material)
    tracker.finish(0)


"""

Drive = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


@pytest.fixture
def drive(service: Service, tmp_path: Path) -> Drive:
    """``drive(code, "head=none")``: a process that has a cell's configuration and what was measured of it."""

    def run(code: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "driver.py").write_text(DRIVER.replace("CONF", repr(str(REPOSITORY / "conf"))) + code)
        given = {**service.environment(), "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY), **environment}
        done = subprocess.run(
            [sys.executable, "driver.py", *overrides],
            cwd=tmp_path,
            env={name: value for name, value in given.items() if value},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


def sync(service: Service, home: Path, *command: str) -> None:
    """The client's command line, as a person would use it later."""
    environment = {**service.environment(), "HOME": str(home)}
    subprocess.run(
        [sys.executable, "-m", "wandb", *command],
        cwd=home,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )


WHOLE = """
whole(start())
print(cell.name, cell.key)
assert "tensorflow" not in sys.modules
"""


def test_an_online_run_has_all_that_is_known_of_its_cell(service: Service, drive: Drive, tmp_path: Path) -> None:
    done = drive(WHOLE, "probe.layer=-4", "tracking.tags=[mine]", "seed=3")
    assert "W&B" not in done.stderr
    name, key = done.stdout.split()  # and nothing else is on standard output
    run = service.named(name)
    assert (run.entity, run.project, run.name, run.job_type, run.state) == ("lab", "simclr", name, "cell", "finished")
    assert run.group == f"two_relu-{key}"
    assert set(run.tags) == {"digits", "small_cnn", "two_relu", "relu_1", "mine"}
    config = {key: entry["value"] for key, entry in run.config.items()}
    assert config["head.name"] == "two_relu"
    assert config["probe.layer"] == -4
    assert config["optimizer.learning_rate"] > 0
    assert (config["cell"], config["pretraining.key"], config["seed"]) == (name, key, 3)
    assert {"versions.tensorflow", "versions.simclr", "layer.width"} <= set(config)
    assert not {"root", "tracking.project"} & set(config)

    assert run.logged("pretrain/epoch") == [1, 2]
    assert run.logged("pretrain/loss") == [3.0, 2.0]
    assert run.logged("monitor/knn_accuracy") == [0.7]
    axes = {metric["2"]: metric["5"] for metric in config["_wandb"]["m"] if "2" in metric}
    assert set(axes) == {"pretrain/*", "monitor/*"}
    accuracies = {name: run.summary[f"probe/{name}_accuracy"] for name in ("test", "untrained", "pixels")}
    assert accuracies == {"test": 0.9, "untrained": 0.6, "pixels": 0.5}
    assert (run.summary["probe/test_accuracy_low"], run.summary["probe/test_accuracy_high"]) == (0.85, 0.95)
    assert run.summary["probe/validation_accuracy"] == 0.8
    assert run.summary["representation/alignment"] == 0.1
    assert "representation/effective_rank" not in run.summary
    pictures = [name for name in run.files if name.startswith("media/images/pictures/")]
    assert sorted(Path(name).name.partition("_")[0] for name in pictures) == ["confusion", "loss", "tsne", "views"]
    assert all(run.files[name].startswith(b"\x89PNG") for name in pictures)
    table = service.artifact(f"run-{run.id}-predictions:latest")
    assert b'"a.png", "0", "0", 1.0' in next(iter(table.files.values()))

    pretraining = service.artifact(f"pretrained-{key}:latest")
    assert sorted(pretraining.files) == ["config.yaml", "history.csv", "manifest.json", "network.npz"]
    assert (pretraining.type, pretraining.metadata["epochs"]) == ("pretraining", 2)
    images = service.artifact("data-digits:latest")
    assert images.metadata["digest"] == "0123456789abcdef" * 4
    assert [entry["ref"] for entry in images.manifest["contents"].values()] == ["https://example.org/images"]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["driver.py", "runs"]


def test_a_resumed_cell_goes_on_in_its_run(service: Service, drive: Drive) -> None:
    half = """
tracker = start()
tracker.epoch(EPOCH, {"loss": 1.0})
tracker.finish(CODE)
"""
    drive(half.replace("EPOCH", "1").replace("CODE", "143"))
    (run,) = service.runs.values()
    assert (run.state, run.exit_code) == ("failed", 143)
    drive(half.replace("EPOCH", "2").replace("CODE", "0"))
    assert list(service.runs.values()) == [run]
    assert (run.logged("pretrain/epoch"), run.state, run.starts) == ([1, 2], "finished", 2)


@pytest.mark.slow
def test_a_pretraining_is_logged_once_used_by_others_and_fetched_where_it_is_missing(
    service: Service, drive: Drive, tmp_path: Path
) -> None:
    drive(WHOLE)
    key = drive(
        """
tracker = start()
folder = Path(config.root) / "pretrained" / cell.key
assert not folder.exists()
assert tracker.fetch_pretraining(cell.key, folder)
assert not tracker.fetch_pretraining("0000", folder.with_name("0000"))
tracker.log_pretraining(cell.key, folder, {})
tracker.finish(0)
print(cell.key)
""",
        "probe.layer=-4",
        "root=elsewhere",
    ).stdout.strip()
    folder = tmp_path / "elsewhere" / "pretrained" / key
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        name: f"{name} of {key}" for name in ("network.npz", "history.csv", "config.yaml", "manifest.json")
    }
    assert [path.name for path in folder.parent.iterdir()] == [key]
    (second,) = (run for run in service.runs.values() if "relu_1" in run.id)
    assert set(second.used) == {f"pretrained-{key}:v0"}
    assert len([each for each in service.artifacts.values() if each.type == "pretraining"]) == 1


@pytest.mark.slow
def test_a_fetched_pretraining_is_refused_where_its_files_are_not_what_they_should_be(
    service: Service, drive: Drive, tmp_path: Path
) -> None:
    drive(WHOLE)
    (artifact,) = (each for each in service.artifacts.values() if each.type == "pretraining")
    fetch = """
tracker = start()
print(tracker.fetch_pretraining(cell.key, Path("fetched")), Path("fetched").exists())
tracker.finish(0)
"""
    service.corrupt(artifact, "network.npz", b"another network")
    assert drive(fetch).stdout == "False False\n"
    service.rename(artifact, "network.npz", "../outside.npz")
    assert drive(fetch).stdout == "False False\n"
    assert not (tmp_path / "outside.npz").exists()


@pytest.mark.slow
def test_an_offline_run_has_the_same_and_can_be_sent_later(service: Service, drive: Drive, tmp_path: Path) -> None:
    done = drive(WHOLE, WANDB_API_KEY="")
    (line,) = (line for line in done.stderr.splitlines() if "W&B" in line)
    assert "offline" in line
    assert service.operations == []
    (folder,) = (tmp_path / "runs" / "wandb").glob("offline-run-*")
    assert f"`wandb sync {folder}`" in line
    assert f"`wandb leet {folder}`" in line
    sync(service, tmp_path, "sync", str(folder))
    name, key = done.stdout.split()
    run = service.named(name)
    assert run.logged("pretrain/loss") == [3.0, 2.0]
    assert run.summary["probe/test_accuracy"] == 0.9
    assert len([name for name in run.files if name.startswith("media/images/pictures/")]) == 4
    assert service.artifact(f"pretrained-{key}:latest").files["network.npz"]


def test_disabled_imports_and_writes_nothing(drive: Drive, tmp_path: Path) -> None:
    drive(WHOLE + 'assert "wandb" not in sys.modules', "tracking.mode=disabled")
    assert not (tmp_path / "runs" / "wandb").exists()


OFTEN = {(Fault.QUOTA, 0), (Fault.KEY, 4)}
FAULTS = [
    pytest.param(fault, calls, id=f"{fault.name}-{calls}", marks=() if (fault, calls) in OFTEN else pytest.mark.slow)
    for fault in Fault
    for calls in (0, 4, 14)
]


@pytest.mark.parametrize(("fault", "calls"), FAULTS)
def test_a_fault_costs_nothing_but_a_little_time(
    service: Service, drive: Drive, tmp_path: Path, fault: Fault, calls: int
) -> None:
    service.fault_after = (calls, fault)
    code = (
        WHOLE.replace("patience))", "patience), None)") + "print('seconds', time.monotonic() - begun, file=sys.stderr)"
    )
    done = drive(code, PATIENCE="20")
    assert float(done.stderr.rpartition("seconds")[2]) < 40
    assert len(done.stdout.split()) == 2
    (line,) = (line for line in done.stderr.splitlines() if "W&B: " in line and "W&B: offline in" not in line)
    assert "Traceback" not in done.stderr
    command = line.rpartition("`wandb ")[2].rstrip("`").split()
    assert Path(command[-1]).parent == tmp_path / "runs" / "wandb"
    if calls in (0, 4):
        service.fault = service.fault_after = None
        sync(service, tmp_path, *command)
        assert service.named(done.stdout.split()[0]).summary["probe/test_accuracy"] == 0.9


def test_a_wrong_key_costs_nothing(service: Service, drive: Drive) -> None:
    for key in ("f00d" * 10, "short"):
        done = drive("start().finish(0)", WANDB_API_KEY=key)
        assert "wandb sync" in done.stderr
        assert key not in done.stderr
    assert service.runs == {}


def test_no_key_and_no_environment_is_written_anywhere(service: Service, drive: Drive, tmp_path: Path) -> None:
    for command in (
        ["init", "--quiet"],
        ["remote", "add", "origin", "https://secret-of-git@example.org/x.git"],
        ["-c", "user.name=me", "-c", "user.email=me@example.org", "commit", "--quiet", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    drive(WHOLE, MINE="secret-of-mine")
    drive(WHOLE, "seed=1", SLURM_JWT="secret-of-slurm", SLURM_JOB_ID="1", MINE="secret-of-mine")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert any(path.name == "wandb-metadata.json" for path in files)
    kept = b"\0".join([path.read_bytes() for path in files])
    for run in service.runs.values():
        kept += b"\0".join(run.files.values()) + repr((run.config, run.summary, run.console)).encode()
    for artifact in service.artifacts.values():
        kept += b"\0".join(artifact.files.values()) + repr(artifact.metadata).encode()
    for secret in (KEY, "secret-of-slurm", "secret-of-mine", "secret-of-git"):
        assert secret.encode() not in kept


IN_AN_AGENT = """
again = any("_wandb=" in each for each in sys.argv)
tracker = start()
assert sorted(tracker.sweep()["parameters"]) == ["head", "probe.layer"]
tracker.epoch(2 if again else 1, {"loss": 1.0})
if not again:
    tracker.wishes.take_on(cell.key)
    tracker.preempting()
    tracker.finish(143)
    sys.exit(143)
tracker.wishes.want("another")
until = time.monotonic() + 60
while (claims := tracker.wishes.all()) != [tracking.Wish(tracker.run_id, "another", ())] and time.monotonic() < until:
    time.sleep(0.2)
assert claims == [tracking.Wish(tracker.run_id, "another", ())]  # what it made before it was preempted is forgotten
tracker.result(record)
tracker.finish(0)
"""


@pytest.mark.slow
def test_a_preempted_cell_of_a_sweep_goes_on_in_its_run(service: Service, drive: Drive, tmp_path: Path) -> None:
    drive("")
    (tmp_path / "driver.py").write_text((tmp_path / "driver.py").read_text() + IN_AN_AGENT)
    sweep = {
        "program": "driver.py",
        "method": "grid",
        "parameters": {"head": {"values": ["one_relu"]}, "probe.layer": {"values": [-2]}},
        "command": ["${env}", sys.executable, "${program}", "seed=7", "root=mine", "${args_no_hyphens}"],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    environment = {**service.environment(), "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    for arguments in (["sweep", "--project", "elsewhere", "sweep.yaml"], ["agent", "--count", "2"]):
        name = [f"lab/elsewhere/{each}" for each in service.sweeps]
        subprocess.run(
            [sys.executable, "-m", "wandb", *arguments, *name],
            cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=240,
        )  # fmt: skip
    (run,) = service.runs.values()
    assert (run.state, run.starts, run.logged("pretrain/epoch")) == ("finished", 2, [1, 2])
    assert (run.project, run.name.startswith("digits-small_cnn-one_relu-relu_1-s7")) == ("elsewhere", True)
    config = {key: entry["value"] for key, entry in run.config.items()}
    assert (config["head"], config["head.name"], config["probe.layer"], config["seed"]) == (
        "one_relu",
        "one_relu",
        -2,
        7,
    )
    assert config["sweep.parameters"] == ["head", "probe.layer"]
    assert run.summary["probe/test_accuracy"] == 0.9


@pytest.mark.parametrize("path", sorted((REPOSITORY / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sweep_file_is_accepted_by_the_client(service: Service, tmp_path: Path, path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sweep", "--project", "p", str(path)],
        cwd=tmp_path, env={**service.environment(), "HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (sweep,) = service.sweeps.values()
    assert "WARNING" not in done.stderr
    led_by = "monitor/knn_accuracy" if path.stem == "optimizer" else "probe/test_accuracy"
    assert sweep.config["metric"] == {"name": led_by, "goal": "maximize"}
    assert path.read_text().startswith("#")
    assert "${args_no_hyphens}" in sweep.config["command"]


@pytest.mark.slow
def test_cells_in_one_process_are_runs_of_their_own(service: Service, drive: Drive) -> None:
    service.fault = Fault.KEY
    done = drive(
        """
for name in ("first", "second"):
    tracker = start(replace(cell, name=name))
    tracker.epoch(1, {"loss": 1.0})
    tracker.result(record)
    tracker.finish(0)
    print(tracker.folder.name.rsplit("-", 2)[1], tracker.folder.name.startswith("offline"))
"""
    )
    assert done.stdout == "first True\nsecond True\n"
    service.fault = None
    drive("for name in ('first', 'second'):\n    start(replace(cell, name=name)).finish(0)")
    states = {
        name.rpartition("-")[0]: run.state for name, run in service.runs.items()
    }  # the root's identity comes last
    assert states == {"first": "finished", "second": "finished"}


def test_a_run_that_is_stopped_from_its_page_learns_of_it(service: Service, drive: Drive) -> None:
    from threading import Thread

    def stop() -> None:
        service.stop(service.wait(lambda: next(iter(service.runs), None)))

    Thread(target=stop, daemon=True).start()
    done = drive(
        """
tracker = start()
while not tracker.stop_requested and time.monotonic() < begun + 60:
    tracker.epoch(1, {"loss": 1.0})
    time.sleep(0.2)
print(tracker.stop_requested)
tracker.finish(1)
"""
    )
    assert done.stdout == "True\n"


def test_a_cell_that_does_not_exist_is_a_run_that_says_so(service: Service, drive: Drive) -> None:
    drive(
        'facts = {**configured(config), "cell": "the-name"}\n'
        'tracking.skip(config.tracking, config.root, facts, "no such layer", patience)'
    )
    run = service.named("the-name")
    assert (run.state, run.summary["status"], run.summary["error"]) == ("finished", "skipped", "no such layer")
    assert "skipped" in run.tags


def test_importing_it_imports_neither_the_client_nor_tensorflow() -> None:
    names = "{'wandb', 'tensorflow', 'matplotlib'}"
    code = f"import sys, simclr.tracking, simclr.tracking.drawing; print({names} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
