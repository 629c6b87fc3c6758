"""Streamed images on their way into training: read ahead of the steps, on other threads than theirs."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr.data import StreamedSplit
from simclr.foundation.errors import RunFailed

log = logging.getLogger(__name__)

AHEAD = 2
"""Batches that are kept ready."""


class Feed:
    """Turns positions of streamed images into the images, inside a pipeline of tf.data."""

    def __init__(self, images: StreamedSplit) -> None:
        self._images = images
        self._failure: RunFailed | None = None
        self.came: deque[float] = deque(maxlen=8 * AHEAD)
        """When each batch was ready that no step has taken yet; where no one takes them, the latest few."""

    def batches(self, order: tf.data.Dataset) -> tf.data.Dataset:
        """Elements (step's number, (lines, aspects)) in place of (step's number, positions)."""
        self.came.clear()
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
        lines = np.ascontiguousarray(pixels.transpose(0, 1, 3, 2))
        self.came.append(time.perf_counter())
        return lines, aspect

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


class TellWaiting(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells at the end of a fit for what share of its time the steps waited for images; made anew for each."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._begun = 0.0
        self._waited: list[float] = []
        self._took: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._waited.append(max(0.0, self._feed.came.popleft() - self._begun))
        self._took.append(time.perf_counter() - self._begun)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        # The first step is traced while its images are read.
        if took := sum(self._took[1:]):
            log.info("waited for images: %.1f %% of the time", 100 * sum(self._waited[1:]) / took)


def ready(elements: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements, the next few computed before they are asked for."""
    options = tf.data.Options()
    # Threads of its own: the step keeps the one that it has, and waits for none that waits for a disk.
    options.threading.private_threadpool_size = 1
    return elements.prefetch(AHEAD).with_options(options)
