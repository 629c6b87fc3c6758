"""Which images a pretraining sees at which step, and at which size: from its settings and the seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from simclr.config import PretrainConfig


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs at one training size: ``first`` to ``last``, the last one not included."""

    size: int
    first: int
    last: int


def stretches(stage: Stage, steps_per_epoch: int, begun: int) -> Iterator[tuple[int, int, int]]:
    """What is left of a stage after ``begun`` steps: first epoch, last (excluded), steps of the first one to skip.

    This is what can be done in one go: a fit begins with an epoch's first step, or after its first few.

    >>> list(stretches(Stage(32, 2, 6), 10, 34))
    [(3, 4, 4), (4, 6, 0)]
    """
    first, skipped = divmod(max(begun, stage.first * steps_per_epoch), steps_per_epoch)
    if skipped and first < stage.last:
        yield first, first + 1, skipped
        first += 1
    if first < stage.last:
        yield first, stage.last, 0


def stages(settings: PretrainConfig) -> Iterator[Stage]:
    """The training sizes in turn, each over its share of the steps, in whole epochs.

    >>> settings = PretrainConfig(epochs=10, sizes=[[32, 0.36], [48, 0.41], [64, 0.23]])
    >>> [(stage.size, stage.first, stage.last) for stage in stages(settings)]
    [(32, 0, 4), (48, 4, 8), (64, 8, 10)]
    """
    total = sum(share for _, share in settings.sizes)
    first, done = 0, 0.0
    for size, share in settings.sizes:
        done += share / total
        last = round(done * settings.epochs)
        if last > first:
            yield Stage(int(size), first, last)
        first = last


def batches(
    count: int, batch_size: int, seed: int, stage: Stage, skipped: int = 0, together: int | None = None
) -> tf.data.Dataset:
    """Positions of images, in a new order every epoch that only (seed, epoch) decides; what fills no batch waits.

    Args:
        count: images.
        batch_size: of them in a batch.
        seed: of the order.
        stage: the epochs.
        skipped: steps of the first one to leave out; with ``together``, a multiple of it.
        together: the number of steps in an element; None for one by itself.

    Returns:
        Elements (number of the step over the whole run: int64 scalar, positions: (batch_size,) int32); with
        ``together`` = K (numbers: (K,), positions: (K, batch_size)), and where K does not divide an epoch's steps also
        how many of the K are to be done: int32 scalar.
    """
    steps = count // batch_size

    def epoch_of(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count), tf.stack([tf.constant(seed, tf.int64), epoch]), alg="philox"
        )
        index = tf.reshape(order[: steps * batch_size], (steps, batch_size))
        numbers = epoch * steps + tf.range(steps, dtype=tf.int64)
        if together is None:
            return tf.data.Dataset.from_tensor_slices((numbers, index))
        groups = math.ceil(steps / together)
        missing = groups * together - steps
        elements = [
            tf.reshape(tf.pad(numbers, [[0, missing]]), (groups, together)),
            tf.reshape(tf.pad(index, [[0, missing], [0, 0]]), (groups, together, batch_size)),
        ]
        if missing:
            elements.append(tf.minimum(together, steps - together * tf.range(groups)))
        return tf.data.Dataset.from_tensor_slices(tuple(elements))

    options = tf.data.Options()
    options.deterministic = True
    # There is nothing to tune here, and the tuner's thread, asleep for up to a minute, can hold the end of a fit.
    options.autotune.enabled = False
    epochs = tf.data.Dataset.range(stage.first, stage.last).flat_map(epoch_of)
    return epochs.skip(skipped // (together or 1)).with_options(options)
