"""Fixtures: composed configurations, small made-up images, the real entry point as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from simclr.config import Config
from simclr.config.validation import resolve
from simclr.data import ImageSplit
from tests.wandb_service import Service

collect_ignore = ["benchmarks/torch_program.py", "benchmarks/torch_resnet50.py"]  # another interpreter's

REPOSITORY = Path(__file__).parents[1]

# Times belong in tests/benchmarks: on a busy machine an example may take any number of milliseconds.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Tracking takes seconds in every process; the tests of tracking ask for it.
os.environ["WANDB_MODE"] = "disabled"

Compose = Callable[..., Config]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def composed() -> Compose:
    """``composed("head=none", ...)``: the configuration that these overrides mean, as ``run.py`` has it."""

    @cache
    def made(overrides: tuple[str, ...]) -> Config:
        with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
            return resolve(compose("config", list(overrides)))

    return lambda *overrides: deepcopy(made(overrides))


@pytest.fixture(scope="session")
def run_command() -> Run:
    """``run_command("head=none", cwd=folder)``: the real ``run.py`` as a process of its own."""

    def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(REPOSITORY / "run.py"), *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture
def service() -> Iterator[Service]:
    """A stand-in for W&B's service, of which nothing is asked that it does not know."""
    with Service() as running:
        yield running
        assert running.unknown == []


@pytest.fixture(scope="session")
def made_up_split() -> Callable[..., ImageSplit]:
    """``made_up_split(count, side, channels)``: see :func:`made_up`."""
    return made_up


def made_up(count: int = 48, side: int = 16, channels: int = 1, aspect: float = 1.0) -> ImageSplit:
    """Images of two classes, bright above or bright below, with noise."""
    generator = np.random.default_rng(count)
    labels = np.arange(count, dtype=np.int32) % 2
    pixels = generator.integers(0, 80, (count, side, side, channels), dtype=np.uint8)
    for position, label in enumerate(labels):
        half = slice(0, side // 2) if label else slice(side // 2, side)
        pixels[position, half] += 150
    names = tuple(f"{position}.png" for position in range(count))
    return ImageSplit(pixels, labels, np.full(count, aspect, np.float32), names)
