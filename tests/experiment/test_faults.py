"""A server that fails, and agents that are killed, while cells are made: the commands as a person types them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.machine import SMALL, Machine, Process, begin_sweep, left_running, sweep_file, until_ended
from tests.wandb_service import KEY, Fault, Run, Service

OUTAGES = [Fault.ERROR, Fault.HANG, Fault.GONE]


def timed(machine: Machine, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    begun = time.monotonic()
    done = machine.run(*arguments, seconds=240)
    return done, time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("calls", [0, 6, 14])
@pytest.mark.parametrize("fault", list(Fault))
def test_a_server_that_fails_costs_no_result_and_at_most_a_minute(
    service: Service, machine: Callable[[str], Machine], fault: Fault, calls: int
) -> None:
    here, quiet = machine("here"), machine("quiet")
    done, without = timed(quiet, "run.py", *SMALL, "tracking.mode=disabled")
    assert done.returncode == 0, done.stderr
    service.fault_after = (calls, fault)
    done, seconds = timed(here, "run.py", *SMALL)
    print(f"{fault.name} after {calls} calls: {seconds:.1f} s, without W&B {without:.1f} s")
    assert done.returncode == 0, done.stderr
    assert seconds < 1.5 * without + 60
    (record,) = here.records()
    assert record["status"] == "finished"
    assert done.stdout.splitlines()[-1].startswith("result ")
    assert "wandb" not in done.stdout
    (line,) = (each for each in done.stderr.splitlines() if "W&B: " in each and "W&B: offline in" not in each)
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr
    assert left_running(here) == []
    (command,) = re.findall(r"`(wandb sync [^`]*)`", line)
    service.fault = service.fault_after = None
    sent = here.run("-m", *command.split())
    assert sent.returncode == 0, sent.stderr
    run = service.named(record["name"])
    assert run.summary["probe/test_accuracy"] == record["probe"]["test_accuracy"]["mean"]


@pytest.mark.slow
def test_cells_in_one_process_wait_for_a_server_that_hangs_no_longer_than_one(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    here, quiet = machine("here"), machine("quiet")
    grid = ("run.py", "-m", *SMALL, "probe.layer=-1,-2")
    done, without = timed(quiet, *grid, "tracking.mode=disabled")
    assert done.returncode == 0, done.stderr
    service.fault_after = (6, Fault.HANG)
    done, seconds = timed(here, *grid)
    print(f"{seconds:.1f} s, without W&B {without:.1f} s")
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in here.records()] == ["finished"] * 2
    assert done.stderr.count("`wandb sync") == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert left_running(here) == []
    assert seconds < 1.5 * without + 60


TWO = {"head": ["one_relu", "zero_relu"], "probe.layer": [-2]}
LONG = ("pretrain.epochs=60", "pretrain.monitor_epochs=0", "baselines=false")


def logging_run(service: Service, *, seconds: float = 90) -> Run:
    """The first run of which something of its training is known."""
    found: Any = service.wait(
        lambda: next((each for each in service.runs.values() if each.logged("pretrain/loss")), None), seconds
    )
    assert isinstance(found, Run)
    return found


def ended(service: Service, machine: Machine, process: Process, seconds: float = 240) -> str:
    """What an agent and its cells have said, once all of them are over."""
    process.wait(seconds)
    service.wait(lambda: left_running(machine) == [], seconds)
    return machine.log(process)


def finish_without_a_server(machine: Machine) -> subprocess.CompletedProcess[str]:
    done = machine.run("-m", "simclr.sweep", "sweep.yaml", seconds=400, WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in machine.records()] == ["finished"] * 2
    return done


@pytest.mark.slow
@pytest.mark.parametrize("when", ["within", "between"])
@pytest.mark.parametrize("fault", OUTAGES)
def test_an_outage_in_the_middle_of_an_agents_sweep_loses_nothing(
    service: Service, machine: Callable[[str], Machine], fault: Fault, when: str
) -> None:
    here = machine("here")
    sweep = begin_sweep(here, sweep_file(here, "smoke.yaml", TWO, *LONG))
    agent = here.agent(sweep)
    if when == "within":
        logging_run(service)
    else:
        service.wait(here.records, 120)
    service.fault = fault
    service.wait(lambda: agent.poll() is not None or len(here.records()) == 1, 180)
    time.sleep(20)
    service.fault = None
    log = ended(service, here, agent)
    print(agent.returncode, log)
    assert here.records()[0]["status"] == "finished"
    assert f'File "{REPOSITORY}' not in log  # the client has tracebacks of its own
    before = {manifest["key"]: manifest for manifest in here.manifests()}
    finish_without_a_server(here)
    assert before.items() <= {manifest["key"]: manifest for manifest in here.manifests()}.items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGKILL, ()), (signal.SIGTERM, ()), (signal.SIGTERM, ("--forward-signals",))],
)
def test_a_cell_whose_agent_is_killed_saves_its_state_and_goes_on_in_the_next_agent(
    service: Service, machine: Callable[[str], Machine], number: int, options: tuple[str, ...]
) -> None:
    here = machine("here")
    sweep = begin_sweep(here, sweep_file(here, "smoke.yaml", TWO, *LONG))
    agent = here.agent(sweep, *options)
    run = logging_run(service)
    agent.send_signal(number)
    log = ended(service, here, agent, 60)
    assert "terminated; what was finished is kept" in log
    assert "Traceback" not in log
    assert here.records() == []
    assert (run.state, run.exit_code) == ("preempted", 143)
    again = here.agent(sweep)
    until_ended(here, again)
    assert "going on from epoch" in here.log(again)
    assert (run.state, run.starts) == ("finished", 2)
    assert run.logged("pretrain/epoch") == list(range(1, 61))
    assert [record["status"] for record in here.records()] == ["finished"] * 2


@pytest.mark.slow
def test_a_cell_that_is_killed_goes_on_without_a_server(service: Service, machine: Callable[[str], Machine]) -> None:
    here = machine("here")
    sweep = begin_sweep(here, sweep_file(here, "smoke.yaml", TWO, *LONG, "pretrain.checkpoint_epochs=10"))
    agent = here.agent(sweep, "--count", "1")
    logging_run(service)
    service.wait(lambda: list(here.root.glob("pretrained/*/checkpoint.npz")), 60)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    (cell,) = (pid for pid in children if "run.py" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(int(cell), signal.SIGKILL)
    log = ended(service, here, agent)
    assert "Traceback" not in log
    assert "going on from epoch" in finish_without_a_server(here).stderr


@pytest.mark.slow
def test_ctrl_c_ends_an_agent_with_its_cell_and_the_sweep_goes_on_without_a_server(
    service: Service, machine: Callable[[str], Machine]
) -> None:
    here = machine("here")
    sweep = begin_sweep(here, sweep_file(here, "smoke.yaml", TWO, *LONG))
    agent = here.agent(sweep, "--forward-signals")
    run = logging_run(service)
    agent.send_signal(signal.SIGINT)
    log = ended(service, here, agent)
    assert "interrupted; what was finished is kept" in log
    assert "Traceback" not in log
    assert (run.state, run.exit_code) == ("failed", 130)
    assert "going on from epoch" in finish_without_a_server(here).stderr
