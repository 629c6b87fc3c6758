"""The processes that share one pretraining, told without TensorFlow: how many there are, and which one this is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from simclr.config import PretrainConfig
from simclr.foundation.errors import InvalidInput
from simclr.foundation.machine import gpu_capabilities


@dataclass(frozen=True)
class Cluster:
    """One process, ``number``, of ``workers``, the chief being 0: it alone writes and measures."""

    workers: int = 1
    number: int = 0

    @property
    def chief(self) -> bool:
        """Whether this process keeps what comes of it."""
        return self.number == 0


def cluster(strategy: str, environment: Mapping[str, str] | None = None) -> Cluster:
    """The processes of a pretraining by ``pretrain.strategy``: one, unless it is ``multi_worker``.

    Args:
        strategy: as configured.
        environment: in which ``TF_CONFIG`` or else Slurm's variables of a job step say it; None for this process's.

    Raises:
        InvalidInput: there is neither, or ``TF_CONFIG`` does not name a worker of its own list.
    """
    if strategy != "multi_worker":
        return Cluster()
    environment = os.environ if environment is None else environment
    if "TF_CONFIG" in environment:
        return _of_tf_config(environment["TF_CONFIG"])
    if "SLURM_PROCID" in environment and "SLURM_STEP_NUM_TASKS" in environment:
        return Cluster(int(environment["SLURM_STEP_NUM_TASKS"]), int(environment["SLURM_PROCID"]))
    raise InvalidInput(
        "pretrain.strategy=multi_worker: neither TF_CONFIG nor a Slurm job step says who the workers are; "
        "valid is to start one process per machine with either (srun python run.py ...)"
    )


def _of_tf_config(text: str) -> Cluster:
    """The cluster of ``{"cluster": {"worker": [address, ..]}, "task": {"type": "worker", "index": 0}}``.

    A ``chief`` apart from the workers is number 0, as it is for TensorFlow.
    """
    try:
        told = json.loads(text)
        chiefs, workers = (list(told["cluster"].get(kind, ())) for kind in ("chief", "worker"))
        kind, index = str(told["task"]["type"]), int(told["task"]["index"])
        address = {"chief": chiefs, "worker": workers}[kind][index]
        wrong = next((each for each in chiefs + workers if not _is_address(each)), None)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InvalidInput(
            f"TF_CONFIG={text}: valid is "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    everyone = chiefs + workers
    if wrong is not None:
        raise InvalidInput(f"TF_CONFIG: {wrong!r} is no address; valid is host:port, say {str(wrong) or 'host'}:12345")
    if twice := next((each for each in everyone if everyone.count(each) > 1), None):
        raise InvalidInput(f"TF_CONFIG: {twice} is there twice; each worker has an address of its own")
    return Cluster(len(everyone), everyone.index(address))


def _is_address(text: object) -> bool:
    host, _, port = str(text).rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def check_strategy(settings: PretrainConfig) -> None:
    """Whether a batch can be shared out, as far as that is known without TensorFlow.

    Raises:
        InvalidInput: it cannot, or there is no such cluster.
    """
    if settings.strategy != "one":
        check_shares(settings, cluster(settings.strategy).workers * max(1, len(gpu_capabilities())))


def check_shares(settings: PretrainConfig, replicas: int) -> None:
    """Whether a batch divides among the devices, and what each gets of it into microbatches; without XLA.

    Raises:
        InvalidInput: it does not.
    """
    batch_size, microbatch = settings.batch_size, settings.microbatch
    if replicas > 1 and settings.xla:
        raise InvalidInput(
            f"pretrain.xla=true: {replicas} devices share a batch and talk to each other inside a step, which XLA "
            "cannot compile; valid is false or null"
        )
    if batch_size % replicas:
        below, above = batch_size // replicas * replicas, -(-batch_size // replicas) * replicas
        nearest = f"{below} or {above}" if below else f"{above}"
        raise InvalidInput(
            f"pretrain.batch_size={batch_size}: {replicas} devices share a batch; valid is a multiple of {replicas}, "
            f"say {nearest}"
        )
    if microbatch is not None and batch_size // replicas % microbatch:
        raise InvalidInput(
            f"pretrain.microbatch={microbatch}: each of {replicas} devices has {batch_size // replicas} images of a "
            "batch; valid is a divisor of that"
        )
