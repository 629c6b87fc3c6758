"""A machine as a person has it, for tests that type commands, and what is left running on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY
from tests.wandb_service import Service

Process = subprocess.Popen[str]

MINE = "secret-of-mine"


@dataclass
class Machine:
    """A folder with the program in it, as a clone of the repository has it, and a home of its own."""

    service: Service
    folder: Path
    started: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("run.py", "conf", "sweeps"):
            (self.folder / name).symlink_to(REPOSITORY / name)

    @property
    def root(self) -> Path:
        return self.folder / "runs"

    def environment(self, **more: str) -> dict[str, str]:
        """Of a process that knows the service and nothing else; what is given as empty is left out."""
        given = {**self.service.environment(), "HOME": str(self.folder), "PYTHONPATH": str(REPOSITORY), "MINE": MINE}
        given |= more
        given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
        return {name: value for name, value in given.items() if value}

    def start(self, *arguments: str, **environment: str) -> Process:
        """``start("run.py", "head=none")``: Python there."""
        log = (self.folder / f"{len(self.started)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, seconds: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same until it ends, and until nobody has its output open any more."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def agent(self, sweep: str, *options: str) -> Process:
        return self.start("-m", "wandb", "agent", *options, sweep)

    def log(self, process: Process) -> str:
        """What it wrote on standard error."""
        return (self.folder / f"{self.started.index(process)}.log").read_text()

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.root.glob("results/*/result.json"))]

    def manifests(self) -> list[dict[str, Any]]:
        """Of the finished pretrainings below the root."""
        return [json.loads(path.read_text()) for path in sorted(self.root.glob("pretrained/*/manifest.json"))]


SMALL = ("encoder.widths=[8,16]", "encoder.blocks=[1,1]", "pretrain.epochs=5", "probe.subsets=2")


def begin_sweep(machine: Machine, file: str) -> str:
    """``wandb sweep FILE``; the name under which agents know it, read from what the command says."""
    done = machine.run("-m", "wandb", "sweep", "--project", "simclr", file)
    assert done.returncode == 0, done.stderr
    found = re.search(r"wandb agent (\S+)", done.stderr)
    assert found, done.stderr
    return found[1]


def until_ended(machine: Machine, agent: Process, seconds: float = 400) -> str:
    """Wait for an agent; what it and the cells that it ran wrote on standard output."""
    said, _ = agent.communicate(timeout=seconds)
    assert agent.returncode == 0, machine.log(agent)
    return said


def sweep_file(machine: Machine, name: str, parameters: Mapping[str, Any], *overrides: str) -> str:
    """A copy of one of ours with other parameters and further overrides."""
    content = yaml.safe_load((REPOSITORY / "sweeps" / name).read_text())
    if parameters:
        content["parameters"] = {key: {"values": values} for key, values in parameters.items()}
    content["command"] = [*content["command"][:-1], *overrides, content["command"][-1]]
    path = machine.folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    return path.name


def left_running(machine: Machine) -> list[str]:
    """The processes of a machine, the client's and ours, that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOME={machine.folder}\0" in (path / "environ").read_text(errors="replace"):
                found.append((path / "cmdline").read_text(errors="replace").replace("\0", " "))
    return [command for command in found if command]
