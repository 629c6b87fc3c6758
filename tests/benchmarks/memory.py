"""Peak memory of a whole run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.real_set import real_images

RUN = Path(__file__).parents[2] / "run.py"


def measure() -> Iterator[tuple[str, str]]:
    """Peak resident memory of one short run each of ``digits`` and, where it is at hand, ``imagenet5``."""
    for data in ["data=digits", *(["experiment=imagenet5"] if real_images() else [])]:
        with tempfile.TemporaryDirectory() as root:
            command = [sys.executable, str(RUN), data, f"root={root}", "pretrain.epochs=20"]
            run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
        assert run.returncode == 0
        yield f"{data}, peak", f"{used.ru_maxrss / 2**20:.2f} GiB"
