"""A grid before it runs: what its points mean, what of it is there already, and what it will take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simclr import data, experiment, store
from simclr.config import Config, DataConfig
from simclr.config.cell import fingerprint
from simclr.config.compose import Composer
from simclr.foundation.errors import InvalidInput
from simclr.foundation.machine import resolve_precision
from simclr.grid.estimate import Estimate, estimate, measured
from simclr.grid.plan import Facts, Job, Plan, Point, finished_cells, identify, jobs, plan
from simclr.store.explain import availability
from simclr.training.cluster import check_strategy


@dataclass(frozen=True)
class Grid:
    """A planned grid: its folder, its plan, and its jobs."""

    root: Path
    folder: Path
    plan: Plan
    jobs: tuple[Job, ...]

    @property
    def typed(self) -> list[tuple[Config, Sequence[str]]]:
        """The configuration and the overrides of every point that there is."""
        points = (point for each in self.plan.cells for point in each.points)
        return [(point.cell.config, point.overrides) for point in points if point.cell is not None]


def prepare(points: Sequence[Sequence[str]], composer: Composer, root: str | Path, *, rerun: bool = False) -> Grid:
    """Plan a grid, given the overrides of each point; takes no lock and writes nothing.

    Raises:
        InvalidInput: an override is not valid, the data cannot be used, or a job would need several processes:
            nothing was started.
    """
    configs = [_with_precision(composer(point)) for point in points]
    for config in configs:
        if config.pretrain.strategy == "multi_worker":
            raise InvalidInput(
                "pretrain.strategy=multi_worker: a grid's jobs are one process each; valid is mirrored, or single runs"
            )
        check_strategy(config.pretrain)
    elsewhere = {config.root for config in configs} - {str(root)}
    if elsewhere:
        raise InvalidInput(f"root={','.join(sorted(elsewhere))}: a grid has one root; valid is root=DIR once")
    known = _Data()
    identified = identify(points, configs, known.digests, known.check)
    made = plan(identified, facts(root, identified), rerun)
    name = fingerprint({"cells": sorted({point.name for point in identified})})[:12]
    return Grid(Path(root), Path(root) / "grids" / name, made, tuple(jobs(made)))


def _with_precision(config: Config) -> Config:
    """What ``auto`` means here, for all workers: cells are named by it, and theirs have to be the plan's."""
    return replace(config, pretrain=replace(config.pretrain, precision=resolve_precision(config.pretrain.precision)))


def expected(grid: Grid, workers: int = 1, threads: int | None = None) -> Estimate:
    """What a grid will take on so many workers, as far as anything like it was ever measured below its root."""
    return estimate(grid.plan, measured(grid.root), workers, threads)


def facts(root: str | Path, points: Sequence[Point]) -> Facts:
    """What is there of a grid's cells and pretrainings."""
    there = {path.name for path in store.every(root)}
    keys = {point.cell.key for point in points if point.cell} & there
    return Facts(finished_cells(root, points), {key: availability(root, key) for key in keys})


class _Data:
    """The catalogues and digests of a grid's data, each looked up once."""

    def __init__(self) -> None:
        self._catalogues: dict[tuple[Any, ...], data.Catalogue] = {}
        self._digests: dict[tuple[Any, ...], str] = {}

    def digests(self, config: Config) -> tuple[str, str | None]:
        cache = experiment.cache_folder(config)
        pretrained_on = self._digest(config.data, cache)
        return pretrained_on, self._digest(config.asked, cache) if config.transfer.name is not None else None

    def check(self, config: Config) -> None:
        with experiment.about_transfer() if config.transfer.name is not None else nullcontext():
            asked = self._catalogue(config.asked, experiment.cache_folder(config))
        experiment.check_cell(config, asked)

    def _digest(self, images: DataConfig, cache: Path) -> str:
        if (place := images.selection) not in self._digests:
            self._digests[place] = data.digest(self._catalogue(images, cache), cache, remember=False)
        return self._digests[place]

    def _catalogue(self, images: DataConfig, cache: Path) -> data.Catalogue:
        if (place := images.selection) not in self._catalogues:
            self._catalogues[place] = data.catalogue(images, cache)
        return self._catalogues[place]
