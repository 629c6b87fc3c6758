"""The same grid on every launcher: one job per GPU, a Ray cluster, submitit without a scheduler, and Slurm itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.grid import slurm
from tests.grid.processes import (
    GRID,
    HALF,
    RUN,
    TINY,
    Command,
    logs,
    made_here,
    numbers,
    present,
    pretrained,
    records,
    statuses,
    training,
)
from tests.mounts import inside, private_mounts

pytestmark = pytest.mark.slow

THREE = ["finished"] * 6 + ["skipped"] * 3
THREADS = f"pretrain.threads={HALF}"
NO_TOKEN = {"RAY_AUTH_MODE": "disabled", "RAY_DISABLE_IMPORT_WARNING": "1"}

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="no Ray here: pip install 'simclr[ray]'")
needs_submitit = pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_submitit_launcher") is None, reason="no submitit here: pip install 'simclr[slurm]'"
)


def is_the_same(root: Path, serial: Command) -> bool:
    """Whether a grid below ``root`` has the nine results of the serial one, to the bit, from three pretrainings."""
    assert statuses(root) == THREE
    assert made_here(root) == len(pretrained(root)) == 3
    assert not present(root)
    return numbers(root) == numbers(serial.root)


# Ray


def gpus_of_jobs(grid: Command) -> list[tuple[str, ...]]:
    """Which GPUs the jobs that ran at once said they had, looked at again and again until the grid has ended well."""
    seen: list[tuple[str, ...]] = []
    while grid.process.poll() is None:
        seen.append(tuple(each.get("gpus", "none") for each in present(grid.root)))
        time.sleep(0.05)
    assert grid.code() == 0, grid.errors
    return seen


@needs_ray
def test_each_job_has_a_gpu_of_its_own_and_two_run_at_once(serial, start):
    two = ("hydra.launcher.ray.init.num_gpus=2", "hydra.launcher.ray.init.num_cpus=2")
    grid = start(RUN, *GRID, *TINY, THREADS, "launch=gpus", *two, **NO_TOKEN)
    seen = gpus_of_jobs(grid)
    assert is_the_same(grid.root, serial)
    assert {gpu for at_once in seen for gpu in at_once} == {"0", "1"}
    assert all(len(set(at_once)) == len(at_once) for at_once in seen)
    assert max(map(len, seen)) == 2


@needs_ray
def test_two_jobs_share_a_gpu_where_each_asks_for_half(serial, start):
    one = ("hydra.launcher.ray.init.num_gpus=1", "hydra.launcher.ray.init.num_cpus=4")
    half = "hydra.launcher.ray.remote.num_gpus=0.5"
    grid = start(RUN, *GRID, *TINY, THREADS, "launch=gpus", *one, half, **NO_TOKEN)
    seen = gpus_of_jobs(grid)
    assert is_the_same(grid.root, serial)
    assert {gpu for at_once in seen for gpu in at_once} == {"0"}
    assert max(map(len, seen)) == 2


@contextmanager
def ray_nodes(
    folder: Path, count: int, last: Sequence[str] = ()
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Ray cluster of nodes of one processor each, on the loopback address; its address, and the nodes.

    Args:
        folder: for its files.
        count: of nodes.
        last: what to put before the command that starts the last of them.
    """
    ray = str(Path(sys.executable).with_name("ray"))
    port = slurm.free_port()
    address = f"127.0.0.1:{port}"
    common = ["--block", "--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats"]
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
    nodes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        for number in range(count):
            out = stack.enter_context((folder / f"node-{number}.out").open("wb"))
            which = [f"--address={address}"] if number else head
            before = last if number == count - 1 else ()
            command = [*before, ray, "start", *which, "--node-ip-address=127.0.0.1", *common]
            nodes.append(
                subprocess.Popen(
                    command, stdout=out, stderr=out, env={**os.environ, **NO_TOKEN}, start_new_session=True
                )
            )
            asking = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(len(ray.nodes()))"
            end = time.monotonic() + 90
            while (
                subprocess.run(
                    [sys.executable, "-c", asking, address],
                    env={**os.environ, **NO_TOKEN},
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout
                != f"{number + 1}\n"
            ):
                assert time.monotonic() < end, (folder / f"node-{number}.out").read_text()
                time.sleep(0.5)
        try:
            yield address, nodes
        finally:
            for node in reversed(nodes):
                _end_session(node)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End a node with all that it started, each by its number."""
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(process.pid)], capture_output=True, text=True, check=False)
    for number in map(int, listed.stdout.split()):
        try:
            os.kill(number, 9)
        except ProcessLookupError:
            continue
    process.wait()


@needs_ray
def test_a_cluster_of_two_ray_nodes_has_the_same_results_and_survives_the_loss_of_one(serial, start, tmp_path_factory):
    with ray_nodes(tmp_path_factory.mktemp("ray"), 2) as (address, nodes):
        grid = start(RUN, *GRID, *TINY, THREADS, "launch=ray", RAY_ADDRESS=address, **NO_TOKEN)
        seen = 0
        while grid.process.poll() is None:
            seen = max(seen, len(present(grid.root)))
            time.sleep(0.05)
        assert grid.code() == 0, grid.errors
        assert is_the_same(grid.root, serial)
        assert seen == 2

        more = (RUN, "head=none,two_relu", *TINY, "seed=1", "pretrain.epochs=200", "pretrain.checkpoint_minutes=0.02")
        grid = start(*more, "probe.layer=encoder", "launch=ray", RAY_ADDRESS=address, **NO_TOKEN)
        grid.until_it_trains(2)
        networks = pretrained(grid.root)
        _end_session(nodes.pop())
        code = grid.code()
        if code:
            start(*more, "probe.layer=encoder").done()
        assert statuses(grid.root) == ["finished"] * 8 + ["skipped"] * 3
        assert pretrained(grid.root).items() >= networks.items()


@needs_ray
def test_a_worker_that_does_not_see_the_grids_folder_is_named(start, tmp_path, tmp_path_factory):
    root = tmp_path / "runs"
    root.mkdir()
    with (
        private_mounts(f"mount -t tmpfs -o size=8m tmpfs '{root}'") as seen,
        ray_nodes(tmp_path_factory.mktemp("ray"), 2, inside(seen)) as (address, _),
    ):
        grid = start(RUN, *GRID, *TINY, THREADS, "launch=ray", RAY_ADDRESS=address, **NO_TOKEN)
        assert grid.code() == 1
    (line,) = [line for line in grid.errors.splitlines() if line.startswith("error: ")]
    assert f"does not see {root}/grids/" in line
    assert "root must be a folder that all workers share" in line
    assert "were not finished" in line or "was not finished" in line
    assert not present(root)


# submitit


@needs_submitit
def test_submitits_local_executor_has_the_same_results(serial, start):
    grid = start(RUN, *GRID, *TINY, THREADS, "hydra/launcher=submitit_local").done()
    assert is_the_same(grid.root, serial)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[dict[str, str]]:
    if why := slurm.missing():
        pytest.skip(why)
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


SLURM = (
    "launch=slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.gpus_per_node=0",
    "hydra.launcher.mem_gb=1",
)


@needs_submitit
def test_slurm_has_the_same_results(serial, start, cluster):
    grid = start(RUN, *GRID, *TINY, THREADS, *SLURM, **cluster).done()
    assert is_the_same(grid.root, serial)


@needs_submitit
@pytest.mark.parametrize(
    "preempt",
    [["scontrol", "requeue", "{job}"], ["scancel", "--signal=USR1", "{job}"]],
    ids=["requeued", "SIGUSR1"],
)
def test_a_job_that_slurm_preempts_goes_on_from_its_checkpoint(start, cluster, preempt):
    command = (RUN, "head=none,zero_relu", "probe.layer=encoder", *TINY, "pretrain.epochs=150", *SLURM)
    grid = start(*command, **cluster)
    at_it = grid.until_it_trains(2)
    environment = {**os.environ, **cluster}
    queued = subprocess.run(
        ["squeue", "-h", "-r", "-o", "%i"], env=environment, capture_output=True, text=True, check=True
    )
    first = min(queued.stdout.split())
    preempted = [part.format(job=first) for part in preempt]
    subprocess.run(preempted, env=environment, check=True, capture_output=True)
    assert grid.code() == 0, grid.errors
    assert statuses(grid.root) == ["finished"] * 2
    assert made_here(grid.root) == 2
    assert sum("going on from epoch" in line for line in logs(grid.root)) == 1
    assert len(at_it) == 2
    assert not training(grid.root)
    assert len(records(grid.root)) == 2


@needs_submitit
def test_ctrl_c_stops_the_jobs_of_a_scheduler_too_and_they_save(start, cluster):
    command = (RUN, "head=none,zero_relu,one_relu", "probe.layer=encoder", *TINY, "pretrain.epochs=5000", *SLURM)
    grid = start(*command, **cluster)
    grid.until_it_trains(2)
    grid.interrupt()
    assert grid.code() == 130
    assert len(list(grid.root.glob("pretrained/*/checkpoint.npz"))) == 2
    assert not present(grid.root)
    assert not records(grid.root)


# Seeds where they matter

QUESTION = ("head=none,zero_relu", "probe.layer=encoder", *TINY, THREADS, "seeds=auto", "max_seeds=2")


def is_answered(grid: Command) -> bool:
    """Whether one round has asked both heads with both seeds, and said what came of it."""
    assert "answer=best" in grid.output
    assert "after 1 round and 4 of 4 pretrainings" in grid.output
    assert statuses(grid.root) == ["finished"] * 4
    return made_here(grid.root) == len(pretrained(grid.root)) == 4


@pytest.mark.parametrize(
    "launch",
    [
        ("launch=local", "hydra.launcher.n_jobs=2"),
        pytest.param(("launch=gpus", "hydra.launcher.ray.init.num_gpus=2"), marks=needs_ray),
    ],
    ids=["local", "gpus"],
)
def test_rounds_of_seeds_go_through_workers(start, launch):
    assert is_answered(start(RUN, *QUESTION, *launch, **NO_TOKEN).done())


@needs_submitit
def test_rounds_of_seeds_go_through_slurm(start, cluster):
    assert is_answered(start(RUN, *QUESTION, *SLURM, **cluster).done())


# What is not installed


@pytest.mark.parametrize(("launch", "extra"), [("gpus", "ray"), ("ray", "ray"), ("slurm", "slurm")])
def test_a_launcher_that_is_not_installed_says_what_to_install(start, tmp_path, launch, extra):
    module = {"ray": "hydra_ray_launcher", "slurm": "hydra_submitit_launcher"}[extra]
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import pkgutil\n"
        "walk = pkgutil.walk_packages\n"
        "def without(*given, **named):\n"
        f"    return (each for each in walk(*given, **named) if '{module}' not in each.name)\n"
        "pkgutil.walk_packages = without\n"
    )
    grid = start(RUN, "head=none,one_relu", f"launch={launch}", PYTHONPATH=str(hidden))
    assert grid.code() == 2
    (line,) = grid.errors.splitlines()
    assert f"pip install 'simclr[{extra}]'" in line
    assert not grid.root.exists()
