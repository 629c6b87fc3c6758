"""This project's training step on a GPU, for :mod:`tests.benchmarks.gpu`: ``NETWORK:SIZE:BATCH:VIEWS[:PRECISION] ...``.

``NETWORK`` is ``resnet50``, ``documents`` (the same in their protocol), ``imagenet5`` or ``digits``; ``VIEWS`` is
``given`` or ``made``, or ``profile``, which prints to standard error where one execution's time goes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from simclr.foundation import machine
from simclr.training.runtime import start_tensorflow
from tests.benchmarks.recipe import compose_config, made_up_images
from tests.benchmarks.turns import Step, serve

AT_ONCE, EXECUTIONS = 10, 3
"""Steps between two looks of the host, and how many such stretches are timed together."""

EXPERIMENTS = {
    "documents": ("experiment=documents",),
    "resnet50": ("experiment=documents", "augment=simclr", "pretrain.precision=auto", "pretrain.statistics=together"),
    "imagenet5": ("experiment=imagenet5",),
    "digits": ("data=digits",),
}

KINDS = {
    "convolutions and matrix products": ("conv", "cudnn", "gemm", "cutlass", "xmma", "sm80", "sm90", "nvjet", "dot"),
    "reductions (norms, means)": ("reduce",),
    "copies and transpositions": ("copy", "transpose", "memcpy", "memset"),
    "pooling": ("pool", "select_and_scatter", "reduce_window"),
}


def prepared(spec: str) -> tuple[float, Step]:
    """A step that is traced, compiled and warm: seconds to there, and what times it."""
    import numpy as np
    import tensorflow as tf

    from simclr.model.network import build_network
    from simclr.training.optimizer import build_optimizer
    from simclr.training.pretrain import ContrastiveModel

    network_name, size_text, batch_text, views, *precisions = spec.split(":")
    size, batch = int(size_text), int(batch_text)
    config = compose_config(*EXPERIMENTS[network_name], f"pretrain.sizes=[[{size},1.0]]")
    precision = precisions[0] if precisions else machine.resolve_precision("auto")
    channels = 1 if network_name == "digits" else 3
    images = made_up_images(max(2 * batch, 512), max(size, config.data.image_size), channels=channels)
    network = build_network(config.encoder, config.head, channels, size, 0, precision=precision)
    model = ContrastiveModel(
        network, images, config.augment, config.pretrain.temperature, 0, size, statistics=config.pretrain.statistics
    )
    optimizer = build_optimizer(config.optimizer, 100_000, 9, batch)
    optimizer.build(network.trainable_variables)
    index = tf.constant(np.arange(batch), tf.int32)
    if views == "given":
        kept = tf.Variable(model.views(tf.constant(0, tf.int64), index), trainable=False)
        model.views = lambda *_, **__: kept.value()
    model.steps_come_together = True
    model.compile(optimizer=optimizer, jit_compile=True, steps_per_execution=AT_ONCE)
    model.make_train_function()
    executions = iter(tf.data.Dataset.range(1_000_000).map(lambda step: (step, index)).batch(AT_ONCE, True))

    def execution() -> float:
        begun = time.perf_counter()
        float(model.train_function(executions)["loss"])
        return time.perf_counter() - begun

    begun = time.perf_counter()
    execution()
    compiled = time.perf_counter() - begun
    execution()

    def steps() -> float:
        if views == "profile":
            _profile(spec, execution)
        return sum(execution() for _ in range(EXECUTIONS)) / (EXECUTIONS * AT_ONCE)

    return compiled, steps


def _profile(spec: str, execution: Any) -> None:
    """Print where an execution's time goes on the card, by the kinds of its kernels."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            seconds = execution()
        recorded = [xplane_pb2.XSpace.FromString(path.read_bytes()) for path in Path(folder).rglob("*.xplane.pb")]
    spent: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    for space in recorded:
        for plane in space.planes:
            if not plane.name.startswith("/device:GPU"):
                continue
            for line in plane.lines:
                if not line.name.startswith("Stream"):
                    continue
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    kind = next((kind for kind, parts in KINDS.items() if _is(name.lower(), parts)), "other fusions")
                    spent[kind] += event.duration_ps
                    longest[name] += event.duration_ps
    busy = sum(spent.values()) * 1e-12
    print(f"profile {spec} busy {busy / seconds:.3f}", file=sys.stderr)
    for kind, picoseconds in spent.most_common():
        print(f"profile {spec} {kind}: {picoseconds * 1e-12 / seconds:.3f}", file=sys.stderr)
    for name, picoseconds in longest.most_common(25):
        print(f"profile {spec} kernel {name[:90]}: {picoseconds * 1e-12 / seconds:.4f}", file=sys.stderr)


def _is(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name for part in parts)


if __name__ == "__main__":
    start_tensorflow(None)
    serve((spec, lambda spec=spec: prepared(spec)) for spec in sys.argv[1:])  # type: ignore[misc]
