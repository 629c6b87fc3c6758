"""Peak memory of a whole run."""

from __future__ import annotations

import resource
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
            subprocess.run(command, capture_output=True, check=True)
        # The largest child so far: the runs are ordered from small to large.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        yield f"{data}, peak", f"{peak / 2**20:.2f} GiB"
