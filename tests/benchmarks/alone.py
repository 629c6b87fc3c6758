"""What is measured in a process of its own, so that its peak memory is its own as well."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

RUN = (sys.executable, str(Path(__file__).parents[2] / "run.py"))
"""The command whose runs are measured, without its overrides."""

PRETRAINING = """
import sys
from simclr.training.runtime import start_tensorflow
start_tensorflow(None)
from simclr.foundation import machine
from simclr.training.pretrain import pretrain
from tests.benchmarks.recipe import made_up_images, recipe
images, side, *overrides = sys.argv[1:]
config = recipe(f"pretrain.sizes=[[{side},1.0]]", f"data.image_size={side}", *overrides)
print(pretrain(config.recipe, made_up_images(int(images), int(side)), machine.resolve_precision("auto")).seconds)
"""


def pretraining(images: int, side: int, *overrides: str) -> tuple[float, float]:
    """Seconds of training, and GiB at the peak, of the benchmarks' recipe with overrides on made-up images."""
    command = [sys.executable, "-c", PRETRAINING, str(images), str(side), *overrides]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    printed = process.stdout.read().split()
    return float(printed[-1]), ended(process).peak


def seconds_of_run(*overrides: str) -> float:
    """How long ``run.py`` took with these overrides, which has to end well."""
    begun = time.perf_counter()
    subprocess.run([*RUN, *overrides], capture_output=True, check=True)
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Usage:
    """What a process took: GiB at its peak, and seconds of processor time."""

    peak: float
    processor: float


def ended(process: subprocess.Popen[str], *, stopped: bool = False) -> Usage:
    """Wait for the end of a process, which has to be a good one unless it was ``stopped``: what it took."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert stopped or process.returncode == 0, process.args
    return Usage(used.ru_maxrss / 2**20, used.ru_utime + used.ru_stime)
