"""Finished grids, made once for all tests of this folder, each in a process of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.grid.processes import GRID, HALF, RUN, TINY, Command

Start = Callable[..., Command]


@pytest.fixture(scope="session")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The grid of three heads and three layers, one job after another."""
    return Command(RUN, *GRID, *TINY, f"pretrain.threads={HALF}", work=tmp_path_factory.mktemp("serial")).done()


@pytest.fixture
def finished(serial: Command, tmp_path: Path) -> Path:
    """The root of that grid, as one's own."""
    return shutil.copytree(serial.root, tmp_path / "runs", copy_function=shutil.copy2)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(RUN, "head=none", ..)``: a grid below this test's ``runs``, ended with the test if it still runs."""
    started = []

    def begin(program: tuple[str, ...], *arguments: str, **variables: str) -> Command:
        started.append(Command(program, *arguments, work=tmp_path, **variables))
        return started[-1]

    yield begin
    for each in started:
        each.end()


@pytest.fixture
def file(tmp_path):
    """``file(text)``: a sweep file of this text."""

    def write(text: str):
        path = tmp_path / "sweep.yaml"
        path.write_text(dedent(text))
        return path

    return write
