"""What the runs of a sweep tell each other through their configurations: who wants to make which pretraining."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simclr.tracking import agent, client
from simclr.tracking.connection import Connection

CLAIM = "pretraining.claim."
"""The key in a run's configuration under which it says what it wants and what it has, before the number of the attempt:
what a preempted run has logged is handed out again, and the client lets nobody change what was handed out."""


@dataclass(frozen=True)
class Wish:
    """A run of a sweep that is under way: which pretraining it wants to make, and which ones it makes or has made."""

    run: str
    wants: str | None
    has: tuple[str, ...]


class Wishes:
    """Those of this run, and of the others of its sweep."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._attempt, self._has = 1, tuple[str, ...]()

    def beginning(self) -> dict[str, Any]:
        """What a run of an agent begins with in its configuration: what was handed out to it, and no claim yet."""
        handed = agent.handed_out(os.environ)
        self._attempt = 1 + max(_attempts(handed), default=0)
        # What was said before this attempt holds no more.
        return {agent.PARAMETERS: agent.parameters(handed), **self._own(None)}

    def want(self, key: str | None) -> None:
        """Say which pretraining this run would make, or that it would not any more."""
        self._connection.local(lambda run: run.config.update(self._own(key), allow_val_change=True))

    def take_on(self, key: str) -> None:
        """Say that this run makes a pretraining."""
        self._has = (*self._has, key)
        self.want(None)

    def give_up(self, key: str) -> None:
        """Say that this run does not make a pretraining after all."""
        if key in self._has:
            self._has = tuple(each for each in self._has if each != key)
            self.want(None)

    def all(self) -> list[Wish]:
        """What the runs of this sweep that are under way say, the oldest run first; empty where nobody can be asked."""
        connection = self._connection

        def ask() -> list[Wish]:
            project, _, sweep = connection.sweep_path.rpartition("/")
            filters = {"sweep": sweep, "state": "running"}
            runs = client.api(connection.patience).runs(project, filters=filters, order="+created_at", lazy=False)
            return [_wish(run.id, run.config) for run in runs]

        return (connection.ask("ask what others pretrain", ask) or []) if connection.sweep_id else []

    def _own(self, wants: str | None) -> dict[str, Any]:
        return {f"{CLAIM}{self._attempt}": {"wants": wants, "has": list(self._has)}}


def _attempts(configuration: Mapping[str, Any]) -> list[int]:
    numbers = [key.removeprefix(CLAIM) for key in configuration if key.startswith(CLAIM)]
    return [int(number) for number in numbers if number.isdecimal()]


def _wish(run: str, configuration: Mapping[str, Any]) -> Wish:
    """What a run says in its last attempt."""
    said = configuration.get(f"{CLAIM}{max(_attempts(configuration), default=0)}") or {}
    return Wish(run, said.get("wants"), tuple(said.get("has") or ()))
