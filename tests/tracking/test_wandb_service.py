"""The stand-in for the W&B service, held against the real client and command line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.wandb_service import KEY, Fault, Service, grid

Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def client(service: Service, tmp_path: Path) -> Client:
    """``client("-m", "wandb", "sweep", ...)``: Python as a process that knows the service and nothing else."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        places = {
            name: str(tmp_path / name.lower()) for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR")
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**service.environment(), **places, "WANDB_SILENT": "true", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    return run


def test_a_run_is_kept_with_all_that_it_logged(service: Service, client: Client) -> None:
    client(
        "-c",
        """
import numpy as np, wandb
run = wandb.init(project="p", id="one", name="readable", group="g", job_type="cell", tags=["t"])
run.config.update({"head.name": "none"})
run.define_metric("epoch")
run.define_metric("loss", step_metric="epoch")
for epoch in range(3):
    run.log({"epoch": epoch, "loss": 3 - epoch})
run.log({"picture": wandb.Image(np.zeros((4, 4, 3), np.uint8)), "table": wandb.Table(columns=["a"], data=[[1], [2]])})
run.summary["accuracy"] = 0.5
print("a line on the console")
run.finish()
""",
    )
    run = service.runs["one"]
    assert (run.project, run.name, run.group, run.job_type, run.tags) == ("p", "readable", "g", "cell", ["t"])
    assert run.config["head.name"] == {"value": "none"}
    assert run.logged("loss") == [3, 2, 1]
    assert run.summary["accuracy"] == 0.5
    assert (run.state, run.exit_code) == ("finished", 0)
    assert any("a line on the console" in line for line in run.console)
    assert any(name.startswith("media/images/picture") for name in run.files)
    assert service.artifact("run-one-table:latest").type == "run_table"


@pytest.mark.slow
def test_an_artifact_put_by_one_process_is_got_by_another(service: Service, client: Client, tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "weights.npz").write_bytes(b"weights")
    put = """
import wandb
run = wandb.init(project="p", id="giver")
artifact = wandb.Artifact("pretrained-1", "pretraining", metadata={"key": "1"})
artifact.add_dir("network")
run.log_artifact(artifact, aliases=["finished"])
images = wandb.Artifact("images", "dataset")
images.add_reference("https://example.org/images.zip", checksum=False)
run.log_artifact(images)
run.finish()
"""
    client("-c", put)
    client("-c", put.replace("giver", "again"))
    client(
        "-c",
        """
import wandb
run = wandb.init(project="p", id="taker")
run.use_artifact("pretrained-1:finished").download("got")
run.finish()
assert [run.name for run in wandb.Api().artifact("lab/p/pretrained-1:v0").files()]
""",
    )
    assert (tmp_path / "got" / "weights.npz").read_bytes() == b"weights"
    assert service.artifact("pretrained-1:latest").metadata == {"key": "1"}
    assert [each.version for each in service.artifacts.values() if each.collection == "pretrained-1"] == [0]
    assert (
        service.artifact("images:latest").manifest["contents"]["images.zip"]["ref"] == "https://example.org/images.zip"
    )
    assert service.runs["taker"].used == ["pretrained-1:v0"]


CELL = """
import json, pathlib, sys, wandb
run = wandb.init(resume="allow", config={"head.name": sys.argv[1].partition("=")[2], "layer": {"index": -2}})
first = run.starting_step == 0
run.log({"loss": 1.0})
with open("arguments.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if first and "head=b" in sys.argv:
    run.mark_preempting()
    run.finish(exit_code=3)
    sys.exit(3)
run.finish()
"""


@pytest.mark.slow
def test_a_sweep_goes_through_its_grid_and_resumes_what_was_preempted(
    service: Service, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "cell.py").write_text(CELL)
    sweep = {
        "program": "cell.py",
        "method": "grid",
        "parameters": {"probe.layer": {"values": [-2]}, "head": {"values": ["a", "b"]}},
        "command": ["${env}", sys.executable, "${program}", "${args_no_hyphens}"],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    said = client("-m", "wandb", "sweep", "--project", "p", "sweep.yaml", WANDB_SILENT="false").stderr
    (name,) = service.sweeps
    assert re.search(rf"wandb agent \S*{name}", said)
    client("-m", "wandb", "agent", f"lab/p/{name}")

    first, second = (service.runs[run] for run in service.sweeps[name].runs)
    assert (first.state, second.state, service.sweeps[name].state) == ("finished", "finished", "FINISHED")
    assert (first.sweep, first.starts, second.starts) == (name, 1, 2)
    assert second.logged("loss") == [1.0, 1.0]
    (agent,) = service.agents.values()
    assert [(each["type"], each.get("run_id")) for each in agent.commands] == [
        ("run", first.id),
        ("run", second.id),
        ("resume", second.id),
        ("exit", None),
    ]
    *_, fresh, resumed = (yaml.safe_load(line) for line in (tmp_path / "arguments.jsonl").read_text().splitlines())
    assert fresh == ["head=b", "probe.layer=-2"]
    assert resumed[:2] == fresh
    assert {each.partition("=")[0] for each in resumed} == {"head", "probe.layer", "head.name", "layer", "_wandb"}
    listed = client(
        "-c",
        f"""
import wandb
sweep = wandb.Api().sweep("lab/p/{name}")
print(sweep.config["method"], sorted((run.config["head"], run.state) for run in sweep.runs))
print([run.id for run in wandb.Api().runs("lab/p", filters={{"state": "finished", "sweep": "{name}"}})])
""",
    ).stdout
    assert listed.splitlines() == ["grid [('a', 'finished'), ('b', 'finished')]", str([first.id, second.id])]


@pytest.mark.slow
def test_an_offline_run_is_synced_later(service: Service, client: Client, tmp_path: Path) -> None:
    client(
        "-c",
        """
import wandb
run = wandb.init(project="p", id="later", mode="offline", config={"a": 1})
run.log({"loss": 1.0})
run.finish()
""",
    )
    assert service.runs == {}
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    client("-m", "wandb", "sync", str(folder))
    assert service.runs["later"].logged("loss") == [1.0]
    assert service.runs["later"].state == "finished"


def test_a_grid_is_handed_out_with_its_names_sorted_and_the_last_one_fastest() -> None:
    parameters = {"probe.layer": {"values": [-2, -4]}, "head": {"values": ["b", "a"]}, "seed": {"value": 0}}
    assert [tuple(cell.values()) for cell in grid(parameters)] == [
        ("b", -2, 0),
        ("b", -4, 0),
        ("a", -2, 0),
        ("a", -4, 0),
    ]


TRY = """
import wandb
try:
    wandb.init(project="p", settings=wandb.Settings(init_timeout=2))
except wandb.errors.CommError as error:
    print("refused")
"""


@pytest.mark.parametrize(
    "fault",
    [pytest.param(Fault.ERROR, marks=pytest.mark.slow), Fault.KEY, pytest.param(Fault.GONE, marks=pytest.mark.slow)],
)
def test_a_fault_is_met_by_the_client(service: Service, client: Client, fault: Fault) -> None:
    service.fault = fault
    assert client("-c", TRY).stdout == "refused\n"


def test_another_key_is_refused(service: Service, client: Client) -> None:
    assert client("-c", TRY, WANDB_API_KEY="f00d" * 10).stdout == "refused\n"
    assert len(KEY) == 40
