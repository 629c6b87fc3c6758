"""Several processes at one pretraining: the chief alone knows the store, and gives the others the word to begin.

Only the chief claims a pretraining, saves, publishes and measures. The others wait for its one message, which is the
state to begin from, or that there is nothing to do since the network is there already; they train along and are done.
Nothing of that needs a disk that they share.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simclr.config import PretrainConfig
from simclr.foundation.errors import RunFailed
from simclr.training.checkpoint import Checkpoint
from simclr.training.cluster import cluster

if TYPE_CHECKING:
    from simclr.training.replicas import Replicas

STATE = "state.npz"


@dataclass(frozen=True)
class Beginning:
    """That a pretraining begins: its key, and from which state (None for the beginning)."""

    key: str
    start: Checkpoint | None


class Crew:
    """The processes of a pretraining as one of them sees the others; of a process that is alone, nobody."""

    def __init__(self, settings: PretrainConfig) -> None:
        self._settings = settings
        self._waiting = cluster(settings.strategy).workers > 1  # for the chief's word

    def begin(self, word: Beginning) -> None:
        """As the chief: let all begin.

        Raises:
            RunFailed: another process has other data or settings.
        """
        if not self._waiting:
            return
        self._waiting = False
        _from_chief(word.key.encode() + b"\n" + (_packed(word.start) if word.start else b""))
        self._agree(True)

    def dismiss(self) -> None:
        """As the chief: let those go that still wait for a word, as there is nothing for them to do."""
        if not self._waiting:
            return
        from simclr.training.runtime import start_tensorflow

        self._waiting = False
        settings = self._settings
        start_tensorflow(settings.threads, settings.strategy, settings.xla, settings.workers_minutes)
        _from_chief(b"")

    def hear(self, key: str) -> Beginning | None:
        """As another process: wait for the word; None where there is nothing to do.

        Raises:
            RunFailed: the chief's is not this process's pretraining.
        """
        told, _, state = _from_chief(None).partition(b"\n")
        if not told:
            return None
        self._agree(told.decode() == key)
        return Beginning(key, _unpacked(state) if state else None)

    def _agree(self, same: bool) -> None:
        if _everyone().agreed(not same):
            raise RunFailed(
                "pretrain.strategy=multi_worker: the workers have different data, settings or precision; "
                "start all with the same command, on the same images"
            )


def _from_chief(message: bytes | None) -> bytes:
    """The chief's message, in every process; the others give None."""
    replicas = _everyone()
    size = int(replicas.from_first(np.array(len(message or b""), np.int64)))
    words = np.zeros(-(-size // 4), np.int32)
    if message:
        words[:] = np.frombuffer(message.ljust(4 * len(words), b"\0"), np.int32)
    return replicas.from_first(words).tobytes()[:size] if size else b""


def _everyone() -> Replicas:
    from simclr.training.replicas import Replicas, strategy_named

    with strategy_named("multi_worker").scope():
        return Replicas()


def _packed(state: Checkpoint) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        state.save(Path(folder) / STATE)
        return (Path(folder) / STATE).read_bytes()


def _unpacked(packed: bytes) -> Checkpoint | None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / STATE).write_bytes(packed)
        return Checkpoint.load(Path(folder) / STATE)
