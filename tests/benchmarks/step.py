"""A training step against the bare forward and backward pass of the same network on the same views, in turns.

Once with the views given, as the bare passes have them, and once with the making of the views in the step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from simclr.foundation import machine
from tests.benchmarks.recipe import made_up_images, recipe

ROUNDS, STEPS = 7, 5


def measure(sizes: tuple[int, ...] = (32, 48, 64)) -> Iterator[tuple[str, str]]:
    """The ratio of the two at each of the recipe's training sizes, and the images per second of the step."""
    from simclr.training.runtime import start_tensorflow

    start_tensorflow(None)
    import tensorflow as tf

    from simclr.model.network import build_network
    from simclr.training.loss import Objective, nt_xent
    from simclr.training.optimizer import build_optimizer
    from simclr.training.pretrain import ContrastiveModel

    config = recipe()
    batch = config.pretrain.batch_size
    images = made_up_images(1250, config.data.image_size)
    precision = machine.resolve_precision(config.pretrain.precision)
    for size in sizes:
        network = build_network(config.encoder, config.head, 3, 64, 0, precision=precision)
        model = ContrastiveModel(
            network, images, config.augment, Objective(config.loss, config.pretrain.temperature), 0, size
        )
        optimizer = build_optimizer(config.optimizer, 1000, 9, batch)
        optimizer.build(network.trainable_variables)
        model.compile(optimizer=optimizer)
        index = tf.constant(np.arange(batch), tf.int32)
        stepping = tf.data.Dataset.range(1_000_000).map(lambda step, index=index: (step, index))
        views = model.views(tf.constant(0, tf.int64), index)
        steps = []
        for making in (lambda *_, views=views: views, model.views):
            model.views = making
            model.make_train_function(force=True)
            steps.append((model.train_function, iter(stepping)))
            _seconds(*steps[-1])  # traced now, with the views as they are now

        @tf.function
        def bare(views: tf.Tensor, network: object = network) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = nt_xent(network(views, training=True), 0.2)
            # The gradients have to be used, or the graph's optimiser takes their computation out.
            return tf.add_n([tf.reduce_sum(each) for each in tape.gradient(loss, network.trainable_variables)])

        rounds = [[_seconds(*call) for call in (*steps, (bare, views))] for _ in range(ROUNDS + 1)][1:]
        given, whole = (statistics.median(row[kind] / row[2] for row in rounds) for kind in (0, 1))
        yield f"step on given views / bare passes, {size} px, {precision}", f"{given:.3f}"
        yield f"step that makes its views / bare passes, {size} px", f"{whole:.3f}"
        yield f"images per second, {size} px", f"{batch / statistics.median(row[1] for row in rounds):.0f}"


def _seconds(step: Callable[[object], object], argument: object) -> float:
    """Seconds of one call, each call's result being waited for."""
    begun = time.perf_counter()
    for _ in range(STEPS):
        result = step(argument)
        float(result["loss"] if isinstance(result, dict) else result)  # type: ignore[arg-type]
    return (time.perf_counter() - begun) / STEPS
