"""Streamed images on their way into training: read ahead of the steps, on other threads than theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr.data import StreamedSplit
from simclr.errors import RunFailed

AHEAD = 2
"""Batches that are kept ready."""

Step = Callable[[Any, Any], Any]


class Feed:
    """Turns positions of streamed images into the images, inside a pipeline of tf.data."""

    def __init__(self, images: StreamedSplit) -> None:
        self._images = images
        self._failure: RunFailed | None = None

    def batches(self, order: tf.data.Dataset) -> tf.data.Dataset:
        """Elements (step's number, (lines, aspects)) in place of (step's number, positions)."""
        return ready(order.map(lambda step, index: (step, self.images_at(index))))

    def images_at(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Lines (N, S, C, S) uint8 and aspects (N,) of the images at the positions ``index`` (N,)."""
        count, side = index.shape[0], self._images.side
        lines, aspect = tf.numpy_function(self._read, [index], (tf.uint8, tf.float32))
        return tf.ensure_shape(lines, (count, side, self._images.channels, side)), tf.ensure_shape(aspect, (count,))

    def _read(self, index: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        try:
            pixels, aspect = self._images.at(index)
        except RunFailed as failure:
            self._failure = failure
            raise
        return np.ascontiguousarray(pixels.transpose(0, 1, 3, 2)), aspect

    @contextmanager
    def failing(self, save: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Let a file that cannot be read fail the block by itself, after ``save``; TensorFlow would tell it at length.

        Raises:
            RunFailed: with that file's name.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self._failure is None:
                raise
            save()
            raise self._failure from error


def after_its_batch(step: Step) -> Step:
    """A training step of which nothing happens before its batch is there.

    TensorFlow would decay weights and count the step meanwhile: a batch that cannot be read has to end a run between
    two steps, where its state can be saved.
    """

    @wraps(step)
    def ordered(model: Any, batch: Any) -> Any:
        with tf.control_dependencies(tf.nest.flatten(batch)):
            return step(model, batch)

    return ordered


def ready(elements: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements, the next few computed before they are asked for."""
    options = tf.data.Options()
    # Threads of its own: the step keeps the one that it has, and waits for none that waits for a disk.
    options.threading.private_threadpool_size = 1
    return elements.prefetch(AHEAD).with_options(options)
