"""Peak memory: of a whole run, and of a batch by its size and by the microbatch that it is computed in."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator

from tests.benchmarks.alone import RUN, ended, pretraining
from tests.benchmarks.recipe import PLAIN
from tests.real_set import real_images

SMALLEST, TIMES = 64, (1, 4, 16)


def measure() -> Iterator[tuple[str, str]]:
    """Of a short run of ``digits`` and, where it is at hand, ``imagenet5``; then of larger and larger batches."""
    for data in [("data=digits",), *([PLAIN] if real_images() else [])]:
        with tempfile.TemporaryDirectory() as root:
            command = [*RUN, *data, f"root={root}", "pretrain.epochs=20"]
            used = ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True))
        yield f"{data[0]}, peak", f"{used.peak:.2f} GiB"
    images = SMALLEST * max(TIMES)
    for times in TIMES:
        batch = SMALLEST * times
        for microbatch in sorted({batch, SMALLEST}, reverse=True):
            divided = [] if microbatch == batch else [f"pretrain.microbatch={microbatch}"]
            seconds, peak = pretraining(images, 64, f"pretrain.batch_size={batch}", "pretrain.epochs=2", *divided)
            yield (
                f"batch of {batch} at 64 px in microbatches of {microbatch}, peak",
                f"{peak:.2f} GiB ({2 * images / seconds:.0f} images/s)",
            )
