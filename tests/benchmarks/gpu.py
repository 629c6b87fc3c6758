"""What a GPU makes of it: speeds beside PyTorch's, starts, a shared card, and where the time goes.

At most eight minutes on an H100. PyTorch is taken from the interpreter that ``TORCH_PYTHON`` names, where it has one.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.alone import RUN
from tests.benchmarks.programs import torch_interpreter
from tests.benchmarks.turns import Programs

ROUNDS = 3
OURS = [sys.executable, "-m", "tests.benchmarks.gpu_program"]
TORCH = str(Path(__file__).with_name("torch_resnet50.py"))
SHARED = "imagenet5:64:128:made"
SMALL = ("digits:16:128:made", "imagenet5:32:128:made", "imagenet5:48:128:made", SHARED)
PROFILES = ("resnet50:224:64:profile", "digits:16:128:profile", "imagenet5:64:128:profile")
DETERMINISM = {
    "no determinism": "--xla_gpu_deterministic_ops=false",
    "kernels chosen by time": "--xla_gpu_exclude_nondeterministic_ops=true",
}
"""What to compare with: XLA as it comes, and its other flag for the same bits."""


def measure() -> Iterator[tuple[str, str]]:
    """Figures by name, each the median of three; nothing where no GPU is found."""
    card = _card()
    if card is None:
        yield "GPU", "not measured: nvidia-smi shows none"
        return
    yield "card", card
    yield from _speeds()
    yield from _shared_card()
    yield from _commands()
    yield from _flags()


def _card() -> str | None:
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return listed.stdout.splitlines()[0]


def _speeds() -> Iterator[tuple[str, str]]:
    """Images a second of every program, measured in turns; those of PyTorch on the same card beside ours.

    Programs are compiled side by side; what holds much of the card's memory is ended before the next is begun.
    """
    ours = {batch: [f"resnet50:224:{batch}:{views}" for views in ("given", "made")] for batch in (64, 256)}
    torch = {batch: [f"{kind}:{batch}" for kind in ("eager", "compiled")] for batch in (64, 256)}
    yield from _measured(
        [
            ("this project", _Group([*OURS, *ours[64], *PROFILES[:1]])),
            ("this project", _Group([*OURS, "documents:224:64:made:float32"])),
            ("this project", _Group([*OURS, *SMALL, *PROFILES[1:]])),
            *_torch(torch[64]),
        ]
    )
    yield from _measured([("this project", _Group([*OURS, program])) for program in ours[256]])
    yield from _measured(_torch(torch[256]))


def _flags() -> Iterator[tuple[str, str]]:
    """What XLA's flags cost, on a small network: one of them makes a step so slow that a large one would not end."""
    given = os.environ.get("XLA_FLAGS", "")
    yield from _measured(
        [(name, _Group([*OURS, SHARED], {"XLA_FLAGS": f"{given} {flag}"})) for name, flag in DETERMINISM.items()], 1
    )


class _Group(Programs):
    """Programs of one process, with another environment than this one's, and their images a second."""

    def __init__(self, command: list[str], changes: Mapping[str, str | None] | None = None) -> None:
        changed = {**os.environ, **(changes or {})}
        super().__init__(command, {name: value for name, value in changed.items() if value is not None})

    def speeds(self, rounds: int) -> Iterator[tuple[str, float, float]]:
        for name, compiled in self.compiled.items():
            seconds = statistics.median(self.step(name) for _ in range(rounds))
            yield name, int(re.findall(r":(\d+)", name)[-1]) / seconds, compiled


def _torch(programs: list[str]) -> list[tuple[str, _Group]]:
    """PyTorch's programs, where an interpreter has it; what leads TensorFlow to its libraries would lead it astray."""
    interpreter = torch_interpreter()
    unset = dict.fromkeys(("PYTHONPATH", "LD_LIBRARY_PATH", "XLA_FLAGS", "TF_XLA_FLAGS"))
    return [("PyTorch", _Group([interpreter, TORCH, *programs], unset))] if interpreter else []


def _measured(groups: list[tuple[str, _Group]], rounds: int = ROUNDS) -> Iterator[tuple[str, str]]:
    """Every program's figure; a group that does not get ready costs its own figures only."""
    ready = []
    for name, group in groups:
        try:
            group.wait()
            ready.append((name, group))
        except RuntimeError as error:
            yield name, f"not measured: {error}"
    for name, group in ready:
        for program, speed, compiled in group.speeds(rounds):
            yield f"{name}, {program}", f"{speed:,.0f} images/s (ready in {compiled:.1f} s)"
    for _, group in ready:
        group.stop()


def _shared_card() -> Iterator[tuple[str, str]]:
    """Four processes that train at once, against one after another."""
    processes = [Programs([*OURS, SHARED]) for _ in range(4)]
    for each in processes:
        each.wait()
    alone = statistics.median(processes[0].step(SHARED) for _ in range(ROUNDS))
    together = []
    for _ in range(ROUNDS):
        for each in processes:
            each.begin(SHARED)
        together.append(max(each.end() for each in processes))
    for each in processes:
        each.stop()
    yield f"four at once of {SHARED} against one after another", f"{4 * alone / statistics.median(together):.2f} times"


def _commands() -> Iterator[tuple[str, str]]:
    """Whole commands: the README's first one, and a second pretraining of the documents' network to its first step."""
    with tempfile.TemporaryDirectory() as root:
        told = (f"root={root}", "tracking.mode=disabled", "hydra.verbose=simclr.training.resume")
        for name, overrides in (
            ("README's first command", ("head=two_relu", "probe.layer=-4")),
            ("documents, one epoch", ("experiment=documents", "pretrain.epochs=1", "pretrain.monitor_epochs=0")),
        ):
            for number in range(2):
                begun = time.time()
                done = subprocess.run(
                    [*RUN, *overrides, *told, f"seed={number}"], capture_output=True, text=True, check=False
                )
                took = time.time() - begun
                first = re.search(r"first step at (\d+\.\d+)", done.stderr)
                if done.returncode or not first:
                    yield f"{name}, run {number + 1}", f"exit {done.returncode}: {done.stderr[-300:]}"
                    continue
                told_parts = re.search(r"\d+ epochs at .*in all", done.stdout)
                yield (
                    f"{name}, run {number + 1}",
                    f"first step after {float(first[1]) - begun:.1f} s, {took:.1f} s in all; "
                    + (told_parts[0] if told_parts else ""),
                )
