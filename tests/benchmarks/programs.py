"""A training step against four other programs that do the same, in turns: same encoder, size and batch.

The bare forward and backward pass of the network, the step built from stock Keras layers in float32, a loop as
notebooks have it, and PyTorch. PyTorch is another process, of this interpreter where it has ``torch``, else of the
one that the environment variable ``TORCH_PYTHON`` names.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from simclr.foundation import machine
from tests.benchmarks.recipe import made_up_images, recipe

ROUNDS, STEPS, SIZE = 7, 3, 64
TEMPERATURE = 0.2

Program = Callable[[], float]


def measure() -> Iterator[tuple[str, str]]:
    """How much longer another program takes for a step than this one, and each one's images per second."""
    from simclr.training.runtime import start_tensorflow

    threads = start_tensorflow(None)
    config = recipe()
    batch = config.pretrain.batch_size
    precision = machine.resolve_precision("auto")
    with ExitStack() as stack:
        programs: dict[str, Program] = {
            "auto": ours(precision, given=False),
            "auto, given views": ours(precision, given=True),
            "float32": ours("float32", given=False),
            "bare passes": _bare(precision),
            "stock layers, float32": ours("float32", given=False, stock=True),
            "notebook loop, float32": _notebook(),
        }
        interpreter = torch_interpreter()
        for kind in ("eager", "compiled") if interpreter else ():
            programs[f"PyTorch {kind}, bfloat16, given views"] = stack.enter_context(
                _Torch([str(interpreter), kind, "bfloat16", str(SIZE), str(batch), str(threads)])
            )
        for program in programs.values():
            program()
        rounds = [{name: program() for name, program in programs.items()} for _ in range(ROUNDS)]

    def ratio(one: str, other: str) -> str:
        return f"{statistics.median(row[one] / row[other] for row in rounds):.3f}"

    yield f"step on given views, {precision} / bare passes", ratio("auto, given views", "bare passes")
    yield f"step that makes its views, {precision} / bare passes", ratio("auto", "bare passes")
    yield f"stock layers, float32 / step, {precision}", ratio("stock layers, float32", "auto")
    yield "stock layers, float32 / step, float32", ratio("stock layers, float32", "float32")
    yield f"notebook loop, float32 / step, {precision}", ratio("notebook loop, float32", "auto")
    yield "notebook loop, float32 / step, float32", ratio("notebook loop, float32", "float32")
    for name in programs:
        if name.startswith("PyTorch"):
            yield f"{name} / step on given views, {precision}", ratio(name, "auto, given views")
    if not interpreter:
        yield "PyTorch", "not measured: no torch here, and TORCH_PYTHON names no interpreter that has it"
    for name in programs:
        yield f"images per second, {SIZE} px: {name}", f"{batch / statistics.median(row[name] for row in rounds):.0f}"


def torch_interpreter() -> str | None:
    """A Python that can import ``torch``."""
    return sys.executable if importlib.util.find_spec("torch") else os.environ.get("TORCH_PYTHON")


def ours(precision: str, *, given: bool, stock: bool = False) -> Program:
    """This project's step; with ``stock``, of Keras's own layers."""
    import tensorflow as tf

    from simclr.model.network import build_network
    from simclr.training.loss import Objective
    from simclr.training.optimizer import build_optimizer
    from simclr.training.pretrain import ContrastiveModel

    config = recipe()
    batch = config.pretrain.batch_size
    images = made_up_images(1250, config.data.image_size)
    network = _stock_network() if stock else build_network(config.encoder, config.head, 3, SIZE, 0, precision=precision)
    model = ContrastiveModel(network, images, config.augment, Objective(config.loss, TEMPERATURE), 0, SIZE)
    optimizer = build_optimizer(config.optimizer, 1000, 9, batch)
    optimizer.build(network.trainable_variables)
    index = tf.constant(np.arange(batch), tf.int32)
    if given:
        views = model.views(tf.constant(0, tf.int64), index)
        model.views = lambda *_: views
    model.compile(optimizer=optimizer)
    model.make_train_function()
    batches = iter(tf.data.Dataset.range(1_000_000).map(lambda step: (step, index)))

    def steps() -> float:
        begun = time.perf_counter()
        for _ in range(STEPS):
            float(model.train_function(batches)["loss"])
        return (time.perf_counter() - begun) / STEPS

    return steps


def _bare(precision: str) -> Program:
    """The network's forward and backward pass on given views, and nothing else."""
    import tensorflow as tf

    from simclr.model.network import build_network
    from simclr.training.loss import nt_xent

    config = recipe()
    network = build_network(config.encoder, config.head, 3, SIZE, 0, precision=precision)
    dtype = network.get_layer("backbone").compute_dtype
    views = tf.cast(tf.random.uniform((2 * config.pretrain.batch_size, SIZE, SIZE, 3)), dtype)

    @tf.function
    def passes() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = nt_xent(network(views, training=True), TEMPERATURE)
        # The gradients have to be used, or the graph's optimiser takes their computation out.
        return tf.add_n([tf.reduce_sum(each) for each in tape.gradient(loss, network.trainable_variables)])

    return _timed(passes)


def _notebook() -> Program:
    """A loop as notebooks write it: two calls of the model, images changed a batch at a time, a boolean-masked loss."""
    import keras
    import tensorflow as tf

    config = recipe()
    batch = config.pretrain.batch_size
    network = _stock_network()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(network.trainable_variables)
    images = tf.random.uniform((batch, SIZE, SIZE, 3))
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    others = ~np.eye(batch, dtype=bool)

    def changed() -> tf.Tensor:
        view = tf.image.random_flip_left_right(images)
        view = tf.image.random_brightness(view, 0.8)
        view = tf.image.random_contrast(view, 0.2, 1.8)
        view = tf.image.random_saturation(view, 0.2, 1.8)
        return tf.clip_by_value(tf.image.random_hue(view, 0.2), 0, 1)

    def loss_of(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        first, second = tf.math.l2_normalize(first, axis=1), tf.math.l2_normalize(second, axis=1)
        positive = tf.reduce_sum(first * second, axis=1, keepdims=True) / TEMPERATURE
        everything = tf.concat([first, second], axis=0)
        total = 0.0
        for anchors in (first, second):
            similarity = tf.matmul(anchors, everything, transpose_b=True) / TEMPERATURE
            negatives = tf.reshape(
                tf.boolean_mask(similarity, np.concatenate([others, others], axis=1)), (batch, 2 * batch - 2)
            )
            total += cross_entropy(tf.zeros(batch, tf.int32), tf.concat([positive, negatives], axis=1))
        return total / (2 * batch)

    @tf.function
    def step() -> tf.Tensor:
        first, second = changed(), changed()
        with tf.GradientTape() as tape:
            loss = loss_of(network(first, training=True), network(second, training=True))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    return _timed(step)


def _stock_network() -> Any:
    """The recipe's network in float32, of Keras's own layers."""
    import keras

    from simclr.model.network import build_network
    from simclr.store.export import KERAS_LAYERS

    def plain(layer: Any) -> Any:
        kind = getattr(keras.layers, KERAS_LAYERS.get(type(layer).__name__, ""), type(layer))
        return kind.from_config(layer.get_config())

    config = recipe()
    network = build_network(config.encoder, config.head, 3, SIZE, 0, precision="float32")
    network = keras.models.clone_model(network, clone_function=plain, recursive=True)
    assert not any(type(each).__name__ in KERAS_LAYERS for each in network.get_layer("backbone").layers)
    return network


def _timed(function: Callable[[], Any]) -> Program:
    def steps() -> float:
        begun = time.perf_counter()
        for _ in range(STEPS):
            float(function())
        return (time.perf_counter() - begun) / STEPS

    return steps


class _Torch:
    """The step in PyTorch, a process that waits for its turn."""

    def __init__(self, arguments: list[str]) -> None:
        self.command = [arguments[0], str(Path(__file__).with_name("torch_program.py")), *arguments[1:]]

    def __enter__(self) -> _Torch:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", "PyTorch's program did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def __call__(self) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())
