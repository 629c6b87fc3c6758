"""How long it takes from the command to the first training step, the images having been decoded before."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator

from tests.benchmarks.alone import RUN
from tests.benchmarks.recipe import PLAIN
from tests.real_set import real_images


def measure(rounds: int = 3) -> Iterator[tuple[str, str]]:
    """Seconds to the first step of ``experiment=imagenet5`` where its images are at hand, else of ``digits``."""
    data = PLAIN if real_images() else ("data=digits",)
    with tempfile.TemporaryDirectory() as root:
        for start in range(rounds):
            begun = time.time()
            done = subprocess.run(
                # Another seed each time, or the second start would find the first one's pretraining.
                [
                    *RUN,
                    *data,
                    f"root={root}",
                    f"seed={start}",
                    "pretrain.epochs=1",
                    "hydra.verbose=simclr.training.resume",
                ],
                capture_output=True,
                text=True,
                check=True,
            )
            first = re.search(r"first step at (\d+\.\d+)", done.stderr)
            assert first, done.stderr
            yield f"{data[0]}, start {start + 1}", f"{float(first[1]) - begun:.1f} s"
