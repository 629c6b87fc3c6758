"""This project's training step on a GPU, for :mod:`tests.benchmarks.gpu`: ``NETWORK:SIZE:BATCH:VIEWS[:PRECISION] ...``.

``NETWORK`` is ``resnet50``, ``documents`` (the same in their protocol), ``imagenet5`` or ``digits``; ``VIEWS`` is
``given`` or ``made``, or ``profile``, which does the same as ``made`` and writes where an execution's time goes on the
card to a JSON file of the program's name in the folder ``PROFILES``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from simclr.foundation import machine
from simclr.training.runtime import start_tensorflow
from tests.benchmarks.recipe import PLAIN, compose_config, made_up_images
from tests.benchmarks.turns import Step, serve

AT_ONCE, SECONDS = 10, 1.0
"""Steps between two looks of the host, and about how long a program is timed."""

Execution = Callable[[], float]
"""Does :data:`AT_ONCE` steps and says the seconds of all."""

EXPERIMENTS = {
    "documents": ("experiment=documents",),
    "resnet50": ("experiment=documents", "augment=simclr", "pretrain.precision=auto", "pretrain.statistics=together"),
    "imagenet5": PLAIN,
    "digits": ("data=digits",),
}

KINDS = {
    "convolutions and matrix products": ("conv", "cudnn", "gemm", "cutlass", "xmma", "sm80", "sm90", "nvjet", "dot"),
    "pooling": ("pool", "select_and_scatter", "reduce_window"),
    "reductions (norms, means)": ("reduc", "norm"),
    "copies and transpositions": ("copy", "transpose", "memcpy", "memset"),
}
"""Kernels by parts of their names, the first that fits; others are fusions of what goes element by element."""


def prepared(spec: str) -> tuple[float, Step]:
    """A step that is traced, compiled and warm: seconds to there, and what times it."""
    compiled, execution = _execution(spec.replace(":profile", ":made"))

    def steps() -> float:
        if ":profile" in spec and not (kept := Path(os.environ["PROFILES"], f"{spec.replace(':', '-')}.json")).exists():
            kept.write_text(json.dumps(_profile(execution), indent=1))
        times = [execution()]
        times += [execution() for _ in range(int(SECONDS / times[0]))]
        return sum(times) / (len(times) * AT_ONCE)

    return compiled, steps


@cache
def _execution(spec: str) -> tuple[float, Execution]:
    import numpy as np
    import tensorflow as tf

    from simclr.model.network import build_network
    from simclr.training.loss import Objective
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
        network,
        images,
        config.augment,
        Objective(config.loss, config.pretrain.temperature),
        0,
        size,
        statistics=config.pretrain.statistics,
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

    return compiled, execution


def _profile(execution: Execution) -> dict[str, dict[str, float]]:
    """Shares of an execution's time that the card spends on each kind of kernel, and on those that take the longest."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            seconds = execution()
        recorded = [xplane_pb2.XSpace.FromString(path.read_bytes()) for path in Path(folder).rglob("*.xplane.pb")]
    spent: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    for plane in (plane for space in recorded for plane in space.planes if plane.name.startswith("/device:GPU")):
        for event in (event for line in plane.lines if line.name.startswith("Stream") for event in line.events):
            name, share = plane.event_metadata[event.metadata_id].name, event.duration_ps * 1e-12 / seconds
            spent[next((kind for kind, parts in KINDS.items() if _is(name.lower(), parts)), "other fusions")] += share
            kernels[name] += share
    spent["nothing: waiting for the host"] = 1 - sum(spent.values())
    return {"kinds": dict(spent.most_common()), "kernels": dict(kernels.most_common(30))}


def _is(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name for part in parts)


if __name__ == "__main__":
    start_tensorflow(None)
    serve((spec, lambda spec=spec: prepared(spec)) for spec in sys.argv[1:])  # type: ignore[misc]
