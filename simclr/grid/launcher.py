"""Hydra's launcher, and what a grid has to know of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig

from simclr.config.compose import Composer, without_hydra
from simclr.config.validation import typed
from simclr.foundation import machine


class Launcher:
    """Hydra's launcher with what belongs to it: where its jobs' configurations come from, how many run at a time."""

    def __init__(self, launcher: Any, config: DictConfig, loader: Any) -> None:
        self._launcher = launcher
        # Valid or not by itself: what a grid varies is not among it.
        self.settings = typed(without_hydra(config))
        self.composer = Composer(
            compose=lambda overrides: without_hydra(loader.load_configuration("config", overrides, RunMode.RUN))
        )

    def share(self, jobs: int) -> tuple[int, int | None]:
        """How many of so many jobs run at a time as far as is known, and with how many TensorFlow threads each.

        Processes that share this machine get its processors in equal parts, so that it is neither idle nor
        oversubscribed; those of a scheduler get what it was asked for. None where that is for each job to find out.
        """
        match self._kind:
            case "joblib":
                wanted = int(self._launcher.joblib["n_jobs"] or -1)
                workers = max(1, min(machine.cpus() if wanted < 0 else wanted, jobs))
                return workers, max(1, machine.cpus() // workers)
            case "ray":
                asked = self._launcher.ray_cfg.remote
                return 1, None if asked.get("num_gpus") else max(1, int(asked.get("num_cpus") or 1))
            case "slurm":
                options = self._launcher.params
                threads = None if options.get("gpus_per_node") else options.get("cpus_per_task")
                return max(1, min(int(options.get("array_parallelism") or 1), jobs)), threads
            case "local":  # submitit's executor without a scheduler starts all at once
                return max(1, jobs), max(1, machine.cpus() // max(1, jobs))
        return 1, None

    def places(self) -> int:
        """How many jobs of a search to start at a time."""
        if self._kind != "ray":
            return self.share(machine.cpus() if self._kind in ("joblib", "local") else sys.maxsize)[0]
        import ray
        from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

        start_ray(self._launcher.ray_cfg.init)
        there, asked = dict(ray.cluster_resources()), self._launcher.ray_cfg.remote
        needed = {"CPU": asked.get("num_cpus", 1), "GPU": asked.get("num_gpus", 0)}
        return max(1, min(int(there.get(what, 0) // count) for what, count in needed.items() if count))

    def launch(self, jobs: Sequence[Sequence[str]]) -> list[Exception]:
        """Start jobs, each by its overrides, and wait until all have ended; the errors of those that failed."""
        if self._kind == "joblib":
            self._launcher.joblib["n_jobs"], _ = self.share(len(jobs))
        # submitit has a job warned by SIGUSR2 unless it is told otherwise; SIGUSR1 is what clusters send by themselves.
        os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")
        ended = self._launcher.launch(list(map(list, jobs)), initial_job_idx=0)
        return [each._return_value for each in ended if each.status is JobStatus.FAILED]

    @property
    def elsewhere(self) -> bool:
        """Whether jobs may run on machines of another kind than this one."""
        return self._kind in ("slurm", "ray")

    @property
    def _kind(self) -> str:
        if hasattr(self._launcher, "joblib"):
            return "joblib"
        return "ray" if hasattr(self._launcher, "ray_cfg") else getattr(self._launcher, "_EXECUTOR", "")
