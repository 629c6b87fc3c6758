"""A Slurm cluster of one controller and one node on the loopback address, in a folder of its own."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")

CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=requeue_setup_env_fail,sched_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
KillWait=20
MinJobAge=300
ReturnToService=2
SwitchType=switch/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)} here: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started as root"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start it, and stop it with all that runs on it; the variables with which its commands find it."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 500
    conf = folder / "slurm.conf"
    conf.write_text(
        CONFIGURATION.format(
            host=platform.node().split(".")[0],
            folder=folder,
            controller=free_port(),
            node=free_port(),
            cpus=os.cpu_count(),
            memory=memory,
        )
    )
    variables = {"SLURM_CONF": str(conf)}
    files = {
        f"--{name}": folder / f"munge.{name}" for name in ("socket", "key-file", "pid-file", "log-file", "seed-file")
    }
    files["--key-file"] = key
    daemons = [
        ["munged", "--foreground", "--force", "--num-threads=1", *(f"{name}={path}" for name, path in files.items())],
        ["slurmctld", "-D", "-i", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", platform.node().split(".")[0]],
    ]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in daemons:
            with (folder / f"{command[0]}.out").open("wb") as out:
                running.append(
                    subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **variables}, cwd=folder)
                )
            if command[0] == "munged":
                _until((folder / "munge.socket").exists, running, folder)
        _until(lambda: "idle" in _output(["sinfo", "-h", "-o", "%t"], variables), running, folder)
        yield variables
        subprocess.run(["scancel", "--full", "-u", "root"], env={**os.environ, **variables}, check=False, timeout=30)
    finally:
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in running:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _output(command: list[str], variables: dict[str, str]) -> str:
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout


def _until(
    happened: Callable[[], bool], running: list[subprocess.Popen[bytes]], folder: Path, seconds: float = 60
) -> None:
    end = time.monotonic() + seconds
    while not happened():
        logs = {path.name: path.read_text(errors="replace")[-2000:] for path in folder.glob("*.out")}
        assert all(daemon.poll() is None for daemon in running), logs
        assert time.monotonic() < end, logs
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
