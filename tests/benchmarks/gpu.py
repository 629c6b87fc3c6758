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
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.alone import RUN
from tests.benchmarks.programs import torch_interpreter
from tests.benchmarks.turns import Programs

ROUNDS = 3
OURS = [sys.executable, "-m", "tests.benchmarks.gpu_program"]
RESNET50 = ["resnet50:224:64:given", "resnet50:224:64:made", "resnet50:224:256:given", "resnet50:224:256:made"]
SMALL = ["digits:16:128:made", "imagenet5:32:128:made", "imagenet5:48:128:made", "imagenet5:64:128:made"]
TORCH = ["eager:64", "compiled:64", "eager:256", "compiled:256"]
SHARED = "imagenet5:64:128:made"
ONE_SEED_EACH = "pretrain.epochs=40"


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
    """Images a second of every program, measured in turns; those of PyTorch on the same card beside ours."""
    groups = {"ours": Programs([*OURS, *RESNET50]), "small": Programs([*OURS, *SMALL])}
    interpreter = torch_interpreter()
    if interpreter:
        # What leads TensorFlow to its libraries would lead PyTorch astray.
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
        command = [interpreter, str(Path(__file__).with_name("torch_resnet50.py")), *TORCH]
        groups["PyTorch"] = Programs(command, clean)
    for programs in groups.values():
        programs.wait()
    seconds = {
        name: statistics.median(programs.step(name) for _ in range(ROUNDS))
        for programs in groups.values()
        for name in programs.compiled
    }
    for programs in groups.values():
        for name, compiled in programs.compiled.items():
            batch = int(name.split(":")[1 if programs is groups.get("PyTorch") else 2])
            yield f"images/s, {name}", f"{batch / seconds[name]:,.0f} (ready in {compiled:.1f} s)"
        programs.stop()
    for batch in (64, 256):
        given, made = (seconds[f"resnet50:224:{batch}:{views}"] for views in ("given", "made"))
        yield f"ResNet-50, batch {batch}: making the views costs", f"{made / given - 1:+.1%}"
        if interpreter:
            best = min(seconds[f"{kind}:{batch}"] for kind in ("eager", "compiled"))
            yield f"ResNet-50, batch {batch}: as many images/s as PyTorch's better one, times", f"{best / given:.2f}"


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
        told = (f"root={root}", "tracking.mode=disabled", "hydra.verbose=simclr.resume")
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
