"""What a GPU makes of it: speeds beside PyTorch's, starts, a shared card, and where the time goes.

At most eight minutes: what there is no time left for is not begun, and said. PyTorch is taken from the interpreter that
``TORCH_PYTHON`` names, where it has one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from simclr.foundation.machine import gpu_capabilities
from tests.benchmarks.alone import RUN
from tests.benchmarks.flops import PEAK_TERAFLOPS
from tests.benchmarks.programs import torch_interpreter
from tests.benchmarks.turns import Programs

ROUNDS = 3
LIMIT = 480.0
"""Seconds for everything."""
OURS = [sys.executable, "-m", "tests.benchmarks.gpu_program"]
TORCH = str(Path(__file__).with_name("torch_resnet50.py"))
RESNET, DOCUMENTS, SHARED = "resnet50:224:64", "documents:224:64:made:float32", "imagenet5:64:128"
SMALL = ("digits:16:128", "imagenet5:32:128", "imagenet5:48:128", SHARED)
NO_DETERMINISM = "--xla_gpu_deterministic_ops=false"
CHOSEN_BY_TIME = "--xla_gpu_exclude_nondeterministic_ops=true"
"""What to compare with: XLA as it comes, and its other flag for the same bits."""


Part = Callable[[], Iterator[tuple[str, str]]]


def measure() -> Iterator[tuple[str, str]]:
    """Figures by name, speeds the median of three; nothing where no GPU is found."""
    card = _card()
    if card is None:
        yield "GPU", "not measured: nvidia-smi shows none"
        return
    yield "card", card
    readme = ("head=two_relu", "probe.layer=-4")
    documents = ("experiment=documents", "probe=none", "pretrain.epochs=1", "pretrain.monitor_epochs=0")
    # About how many seconds each takes on an H100, a bit more than less.
    parts: dict[str, tuple[float, Part]] = {
        "README's first command": (80, partial(_command_twice, readme)),
        "documents, one epoch": (140, partial(_command_twice, documents)),
        "speeds of batches of 64 and of small networks, time on the card": (150, _speeds),
        "four at once": (30, _shared_card),
        "four at once under MPS": (30, _under_mps),
        "speeds of batches of 256": (90, _speeds_of_large_batches),
        "PyTorch's speeds of batches of 256": (60, lambda: _measured(_torch(["eager:256", "compiled:256"]))),
        "arithmetic": (15, _arithmetic),
    }
    yield from _while_time_is_left(parts, LIMIT)


def _while_time_is_left(parts: Mapping[str, tuple[float, Part]], limit: float) -> Iterator[tuple[str, str]]:
    """The figures of parts that can be done before so many seconds are over; one that fails costs its own only."""
    begun = time.monotonic()
    for name, (seconds, part) in parts.items():
        left = max(0.0, limit - (time.monotonic() - begun))
        if seconds > left:
            yield name, f"not measured: takes about {seconds:.0f} s, and of {limit:.0f} s {left:.0f} are left"
            continue
        try:
            yield from part()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            yield name, f"not measured: {error}"


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


def _ours(*programs: str, flag: str = "", profiles: str | None = None) -> _Group:
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    return _Group([*OURS, *programs], {"XLA_FLAGS": flags or None, "PROFILES": profiles})


def _speeds() -> Iterator[tuple[str, str]]:
    """Images a second of every program, measured in turns; those of PyTorch on the same card beside ours; and profiles.

    Programs are compiled side by side; what holds much of the card's memory is ended before the next is begun.
    """
    small = [f"{name}:{does}" for name in SMALL for does in ("made", "profile")]
    with tempfile.TemporaryDirectory() as profiles:
        yield from _measured(
            [
                ("this project", _ours(f"{RESNET}:given")),
                ("this project", _ours(f"{RESNET}:made", f"{RESNET}:profile", profiles=profiles)),
                ("this project", _ours(DOCUMENTS)),
                ("this project", _ours(*small, profiles=profiles)),
                ("no determinism", _ours(f"{SHARED}:made", flag=NO_DETERMINISM)),
                ("kernels chosen by time", _ours(f"{SHARED}:made", flag=CHOSEN_BY_TIME)),
                *_torch(["eager:64", "compiled:64"]),
            ]
        )
        yield from _profiles(Path(profiles))


def _speeds_of_large_batches() -> Iterator[tuple[str, str]]:
    """The same of a ResNet-50 with batches of 256; and what the same bits cost it."""
    yield from _measured(
        [
            ("this project", _ours("resnet50:224:256:given", "resnet50:224:256:made")),
            ("no determinism", _ours(f"{RESNET}:made", flag=NO_DETERMINISM)),
        ]
    )


def _arithmetic() -> Iterator[tuple[str, str]]:
    """What a ResNet-50's step costs of what the card can do."""
    counted = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.flops", "experiment=documents"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    peak = PEAK_TERAFLOPS.get(min(gpu_capabilities()))
    yield f"{RESNET}, GFLOP an image", f"{float(counted.stdout) * 1e-9:.1f}"
    if peak:
        yield "images/s at the card's dense 16-bit peak", f"{peak * 1e12 / float(counted.stdout):,.0f}"


def _profiles(folder: Path) -> Iterator[tuple[str, str]]:
    """Where an execution's time goes on the card."""
    for file in sorted(folder.glob("*.json")):
        profile = json.loads(file.read_text())
        shares = {kind: f"{share:.0%} {kind}" for kind, share in profile["kinds"].items()}
        yield f"time on the card, {file.stem}", ", ".join(shares.values())
        for kernel, share in list(profile["kernels"].items())[:8]:
            yield f"time on the card, {file.stem}, {kernel[:80]}", f"{share:.1%}"


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
    try:
        for name, group in ready:
            for program, speed, compiled in group.speeds(rounds):
                yield f"{name}, {program}", f"{speed:,.0f} images/s (ready in {compiled:.1f} s)"
    finally:  # what is measured next is to have the card for itself
        for _, group in ready:
            group.stop()


def _shared_card(environment: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Four processes that train at once, against one after another."""
    program = f"{SHARED}:made"
    processes = [Programs([*OURS, program], environment) for _ in range(4)]
    try:
        for each in processes:
            each.wait()
        alone = statistics.median(processes[0].step(program) for _ in range(ROUNDS))
        together = []
        for _ in range(ROUNDS):
            for each in processes:
                each.begin(program)
            together.append(max(each.end() for each in processes))
    finally:
        for each in processes:
            each.stop()
    name = f"four at once of {program}{' under MPS' if environment else ''}"
    yield name, f"{4 * alone / statistics.median(together):.2f} times one after another"


def _under_mps() -> Iterator[tuple[str, str]]:
    """The same where NVIDIA's MPS lets kernels of several processes run side by side; else a card takes turns."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        raise RuntimeError("there is no nvidia-cuda-mps-control")
    with tempfile.TemporaryDirectory() as folder:
        served = {**os.environ, "CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        subprocess.run([control, "-d"], env=served, check=True)
        try:
            yield from _shared_card(served)
        finally:
            subprocess.run([control], input="quit\n", env=served, text=True, check=False)


def _command_twice(overrides: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """A whole command when nothing is compiled yet, whatever was measured before; and again, with another seed."""
    with tempfile.TemporaryDirectory() as root:
        told = (f"root={root}", "tracking.mode=disabled", "hydra.verbose=simclr.training.resume")
        anew = {**os.environ, "XDG_CACHE_HOME": str(Path(root, "cache"))}
        for number in range(2):
            name = f"{' '.join(overrides)}, {'a further seed' if number else 'nothing compiled before'}"
            begun = time.time()
            done = subprocess.run(
                [*RUN, *overrides, *told, f"seed={number}"], capture_output=True, text=True, check=False, env=anew
            )
            took = time.time() - begun
            first = re.search(r"first step at (\d+\.\d+)", done.stderr)
            if done.returncode or not first:
                yield name, f"exit {done.returncode}: {done.stderr[-300:]}"
                continue
            told_parts = re.search(r"\d+ epochs? at .*in all", done.stdout + done.stderr)
            yield (
                name,
                f"first step after {float(first[1]) - begun:.1f} s, {took:.1f} s in all; "
                + (told_parts[0] if told_parts else ""),
            )
