"""Where a training step's time goes on a CPU, by TensorFlow's profiler."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from simclr import machine
from tests.benchmarks import programs

KINDS = {
    "convolutions": ("Conv2D", "kernel_gradient"),
    "batch norms": ("FusedBatchNorm",),
    "ReLU, pooling, sums": ("Relu", "AvgPool", "AddN", "AddV2", "Mean"),
    "optimizer": ("ResourceApply", "AssignSub", "AssignVariable"),
}
"""Operations by a part of their name or kind; kernel gradients that are matrix products count as convolutions."""


def measure() -> Iterator[tuple[str, str]]:
    """Shares of the time in operations, of the whole step and of the step on given views, whose difference is views."""
    from simclr.runtime import start_tensorflow

    start_tensorflow(None)
    precision = machine.resolve_precision("auto")
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
