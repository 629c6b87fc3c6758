"""Machines and the service that they talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machine import Machine
from tests.wandb_service import Service


@pytest.fixture
def machine(service: Service, tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    """``machine("one")``: a machine of that name, on which nothing is left running."""
    made: list[Machine] = []

    def build(name: str) -> Machine:
        made.append(Machine(service, tmp_path / name))
        return made[-1]

    yield build
    for each in made:
        for process in each.started:
            process.kill()
            process.communicate()
