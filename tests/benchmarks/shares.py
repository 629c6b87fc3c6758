"""Where a training step's time goes on a CPU, by TensorFlow's profiler, and how near it comes to the peak."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from simclr.foundation import machine
from tests.benchmarks import programs
from tests.benchmarks.flops import PASSES, forward_flops
from tests.benchmarks.recipe import recipe

PRODUCT = 4096
"""Rows and columns of a matrix whose square tells the processor's speed."""

KINDS = {
    "convolutions": ("Conv2D", "kernel_gradient"),
    "batch norms": ("FusedBatchNorm",),
    "ReLU, pooling, sums": ("Relu", "AvgPool", "AddN", "AddV2", "Mean"),
    "optimizer": ("ResourceApply", "AssignSub", "AssignVariable"),
}
"""Operations by a part of their name or kind; kernel gradients that are matrix products count as convolutions."""


def measure() -> Iterator[tuple[str, str]]:
    """Shares of the time in operations, of the whole step and of the step on given views, whose difference is views."""
    from simclr.training.runtime import start_tensorflow

    start_tensorflow(None)
    precision = machine.resolve_precision("auto")
    config = recipe()
    images = programs.STEPS * config.pretrain.batch_size
    work = 2 * PASSES * images * forward_flops(config, programs.SIZE)
    peak = _product_flops(precision)
    yield f"a matrix product of {PRODUCT}, {precision}", f"{peak / 1e9:.0f} GFLOP/s"
    for given in (False, True):
        step = programs.ours(precision, given=given)
        step()
        spent = _profiled(step)
        total = sum(spent.values())
        shares: Counter[str] = Counter()
        for operation, seconds in spent.items():
            kind = next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), "other")
            shares[kind] += seconds / total
        named = "given views" if given else "views made in the step"
        for kind, share in shares.most_common():
            yield f"{kind}, {programs.SIZE} px, {precision}, {named}", f"{share:.1%}"
        for what, seconds in (("convolutions", shares["convolutions"] * total), ("all operations", total)):
            speed = work / seconds
            yield f"{what}, {named}", f"{speed / 1e9:.0f} GFLOP/s, {speed / peak:.0%} of the matrix product's"


def _product_flops(precision: str) -> float:
    """A second, of a large matrix product: what this machine can do at best."""
    import tensorflow as tf

    dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    ones = tf.ones((PRODUCT, PRODUCT), dtype)
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(ones, ones)))
    float(multiply())
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        float(multiply())
        best = min(best, time.perf_counter() - begun)
    return 2.0 * PRODUCT**3 / best


def _profiled(step: programs.Program) -> Counter[str]:
    """Seconds by operation while a program runs once."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            step()
        (recorded,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(recorded.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            if not line.name.startswith("tf_Compute"):
                continue
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if "::" not in name:  # the executor, of which the operations are parts
                    spent[name] += event.duration_ps * 1e-12
    return spent
