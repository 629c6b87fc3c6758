"""The online probe: what a representation is worth while it is being trained."""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np

from simclr.config.cell import View
from simclr.data import AnySplit
from simclr.evaluation.eye import Eye
from simclr.evaluation.neighbours import WeightedNeighbours
from simclr.model.network import representations


class NeighbourMonitor(keras.callbacks.Callback):  # type: ignore[misc]
    """The online probe: every few epochs, how well the encoder's nearest neighbours name a validation split.

    The split is a fifth of the training images (at most 200, which ask four times as many) and stays in pretraining, so
    its accuracy is a little optimistic. It never sees the test set, and a forward pass in inference mode changes no
    weight. A pass over N images costs a sixth of an epoch's 2N views forward and backward: every 10 epochs, 2 %.
    """

    def __init__(self, images: AnySplit, every: int, epochs: int, centre: bool, seed: int) -> None:
        super().__init__()
        self._every, self._epochs, self._centre = every, epochs, centre
        order = np.random.default_rng((seed, 0x0E7)).permutation(len(images.labels))
        cut = min(len(order) // 5, 200)
        self._queries, self._bank = order[:cut], order[cut : 5 * cut]
        self._images = images
        self._eyes: dict[int, Any] = {}
        self.seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        due = (epoch + 1) % self._every == 0 or epoch + 1 == self._epochs
        if logs is not None:
            logs["monitor/knn_accuracy"] = self._accuracy() if due else math.nan

    def _accuracy(self) -> float:
        begun = time.perf_counter()
        labels = self._images.labels
        bank, queries = self._features(self._bank), self._features(self._queries)
        found = WeightedNeighbours((20,)).classify(bank, labels[self._bank], queries, 20)
        self.seconds += time.perf_counter() - begun
        return float(np.mean(found == labels[self._queries]))

    def _features(self, positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Of the images at these positions, as the network sees them at the size it is being trained at."""
        size = self.model.size
        if size not in self._eyes:
            view = View(size, mirror=False, centre=self._centre)
            self._eyes[size] = Eye(representations(self.model.network, ["encoder"]), view)
        return self._eyes[size](self._images, positions)["encoder"]
