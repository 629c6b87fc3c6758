"""What a plan will take, in time, disk and machine-hours, from what was measured before and from nothing else."""

from __future__ import annotations

import heapq
import json
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from simclr.foundation.errors import InvalidInput
from simclr.foundation.machine import resolve_precision
from simclr.grid.plan import STARTS, Plan, Planned, jobs

Sizes = tuple[tuple[int, float], ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # equally safe, and ten times as fast where it is there

RECORDS = 500
"""So many of the newest records are looked at: opening each of a hundred thousand would take longer than it tells."""


@dataclass(frozen=True)
class Measured:
    """A finished cell that trained its own network: what it took, and of what that depends."""

    name: str
    encoder: str
    sizes: Sizes
    digest: str
    images: int
    epochs: int
    precision: str
    probe: str
    training_seconds: float
    other_seconds: float
    disk_bytes: int
    threads: int
    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class Estimate:
    """What is left of a plan will take; a figure is None where nothing like it was ever measured."""

    seconds: float | None
    machine_hours: float | None
    disk_bytes: int | None
    records: tuple[str, ...]
    """The cells whose records this comes from."""
    unknown: tuple[str, ...]
    """Encoders and sizes without one; the figures are then those of the rest, and lower bounds."""


def estimate(plan: Plan, records: Iterable[Measured], workers: int = 1, threads: int | None = None) -> Estimate:
    """What a plan will take on some workers.

    Args:
        plan: the grid's.
        records: as :func:`measured` finds them, the newest first.
        workers: how many cells run at a time.
        threads: of each worker; by default as many as the record had. Half the threads take twice the time: two
            processes of one thread each have the throughput of one of two threads.
    """
    records = list(records)
    counts = {each.digest: each.images for each in records}
    used: dict[str, None] = {}
    unknown: dict[str, None] = {}
    machine_seconds = 0.0
    disk = 0

    @cache  # a hundred thousand cells are of a few kinds
    def nearest(encoder: str, sizes: Sizes, *asked: str) -> Measured | None:
        """The newest record of the encoder and sizes, of the same data, precision and probe where there is one."""
        return max(
            (each for each in records if (each.encoder, each.sizes) == (encoder, sizes)),
            key=lambda each: tuple(map(operator.eq, asked, (each.digest, each.precision, each.probe))),
            default=None,
        )

    def seconds(planned: Planned) -> float:
        nonlocal machine_seconds, disk
        assert planned.cell is not None
        config, digest = planned.cell.config, planned.cell.digest
        sizes = _sizes(config.pretrain.sizes)
        precision = resolve_precision(config.pretrain.precision)
        record = nearest(config.encoder.name, sizes, digest, precision, config.probe.name)
        if record is None or digest not in counts:
            unknown[f"{config.encoder.name} at {', '.join(str(side) for side, _ in sizes)} px"] = None
            return 0.0
        used[record.name] = None
        taken = record.other_seconds
        if planned.state in STARTS:
            share = 1 - (planned.epoch or 0) / config.pretrain.epochs
            work = config.pretrain.epochs * counts[digest] / (record.epochs * record.images)
            taken += share * work * record.training_seconds
            disk += record.disk_bytes
        machine_seconds += taken if record.gpus else taken * record.threads / max(record.cpus, record.threads)
        return taken if record.gpus or not threads else taken * record.threads / threads

    elapsed = makespan(plan, workers, seconds)
    known = bool(used) or not plan.left
    return Estimate(
        elapsed if known else None,
        machine_seconds / 3600 if known else None,
        disk if known else None,
        tuple(used),
        tuple(unknown),
    )


def makespan(plan: Plan, workers: int, seconds: Callable[[Planned], float]) -> float:
    """Seconds from start to end when workers take a plan's jobs in order; what others make counts as there."""
    free, there = [0.0] * workers, dict[str, float]()
    for job in jobs(plan):
        now = max(heapq.heappop(free), there.get(job[0].key, 0.0))
        for each in job:
            now += seconds(each)
            if each.state in STARTS:
                there[each.key] = now
        heapq.heappush(free, now)
    return max(free)


def measured(root: str | Path) -> list[Measured]:
    """The newest records below ``root`` of cells that trained their own network, the newest first."""
    newest = []
    for path in Path(root).glob("results/*/result.json"):
        try:
            newest.append((path.stat().st_mtime, path))
        except OSError:
            continue
    found = (_measured(path) for _, path in heapq.nlargest(RECORDS, newest))
    return [each for each in found if each is not None]


def _measured(path: Path) -> Measured | None:
    try:
        record = json.loads(path.read_bytes())
        training = record["pretraining"]
        if record["status"] != "finished" or training["reused"]:
            return None
        config = yaml.load((path.parent / "config.yaml").read_bytes(), _LOADER)  # noqa: S506
        host, network = record["host"], path.parents[2] / "pretrained" / training["key"]
        gpus = host.get("gpus")
        return Measured(
            name=path.parent.name,
            encoder=record["cell"]["encoder"],
            sizes=_sizes(config["pretrain"]["sizes"]),
            digest=record["data"].get("content") or record["data"]["digest"],
            images=record["data"]["train"] + record["data"].get("unlabeled", 0),
            epochs=training["epochs"],
            precision=training.get("precision") or resolve_precision(config["pretrain"]["precision"]),
            probe=record["cell"]["probe"],
            training_seconds=training["seconds"],
            # Baselines are other networks' trainings, which the cells of a grid share.
            other_seconds=max(
                0.0, record["seconds"] - training["seconds"] - (record.get("timing") or {}).get("baselines", 0.0)
            ),
            disk_bytes=sum(file.stat().st_size for file in network.rglob("*") if file.is_file()),
            threads=host["threads"],
            cpus=host["cpus"],
            gpus=len(gpus) if isinstance(gpus, list) else int(gpus or 0),
        )
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, InvalidInput):
        return None


def _sizes(sizes: Iterable[Any]) -> Sizes:
    return tuple((int(side), float(share)) for side, share in sizes)
