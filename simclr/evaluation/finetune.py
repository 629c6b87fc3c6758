"""A whole network trained with a few labels: from pretrained weights (``probe=finetune``), or from its first ones.

As in SimCLRv2 (Chen et al. 2020, arXiv 2006.10029, section 2) fine-tuning may begin at any layer: the network is cut
there, and a linear classifier takes the place of what came after. It begins as the linear probe of the labelled
images (Kumar et al. 2022, arXiv 2202.10054): from a random one, the first steps would spoil the features. Then all
weights are trained, with AdamW, a learning rate that rises over the first tenth of the epochs and falls along a
cosine, and one view of each image per epoch: the geometry of the experiment's augmentation (crop, flip, affine map),
without its colours, blur and noise.

The learning rate and where along the cosine to stop are chosen by cross-validation inside the labelled subset: the pair
with the least held-out log loss. Then the network is trained once more, with the whole subset. The test images are
looked at once, at the end; their labels never come here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import log_softmax

from simclr.config import ProbeConfig, Recipe
from simclr.config.cell import labelled_augment, probed_view
from simclr.data import AnySplit, Images, StreamedSplit
from simclr.data.labels import Positions, stratified_folds
from simclr.evaluation.eye import Eye
from simclr.evaluation.judgement import Fitted, best_classes
from simclr.evaluation.labelled import classifier, labelled_views
from simclr.evaluation.linear import LinearClassifier, linear_classifier
from simclr.evaluation.rows import gathered
from simclr.foundation.machine import resolve_precision
from simclr.model.network import assign_by_name, build_network, representation
from simclr.training.augment import line_order
from simclr.training.feed import Feed, ready
from simclr.training.optimizer import NOT_KERNELS, FusedAdamW
from simclr.training.runtime import compiles
from simclr.training.stages import Stage, batches

WARMUP = 0.1
"""Share of the epochs over which the learning rate rises."""

ImagesAt = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Lines (N, S, C, S) and aspects (N,) of those of some images that are at the positions (N,) among them."""


class FineTuning:
    """The procedure from one starting point: called with the positions of labelled images, it begins there each time.

    It is built once for many subsets: every training runs the same compiled step.
    """

    def __init__(
        self,
        recipe: Recipe,
        probe: ProbeConfig,
        images: Images,
        layer: str,
        weights: dict[str, NDArray[Any]] | None,
        room: Path,
    ) -> None:
        """Build the network.

        Args:
            recipe: the network, augmentation and seed; the network computes in the precision of the pretraining and
                is trained at the last size of it.
            probe: how to train, and how the network looks at the images that it is asked for.
            images: the data; of the test's, the pixels alone are read.
            layer: the representation that the classifier takes.
            weights: to begin with, as :func:`.network.variables_by_name` gives them; None for the first ones.
            room: a folder on a disk with room for the features of the labelled images, where they are many.
        """
        self._settings, self._seed, self._room = probe, recipe.seed, room
        self._train, self._test, self._labels = images.train, images.test, images.train.labels
        self._feed = Feed(images.train) if isinstance(images.train, StreamedSplit) else None
        precision = resolve_precision(recipe.pretrain.precision)
        network = build_network(
            recipe.encoder,
            recipe.head,
            images.train.channels,
            recipe.pretrain.side,
            recipe.seed,
            precision=precision,
        )
        if weights is not None:
            assign_by_name(network, weights)
        self._model = classifier(representation(network, layer), len(images.classes))
        dtype = network.get_layer("backbone").compute_dtype
        size, augment, seed = int(recipe.pretrain.sizes[-1][0]), labelled_augment(recipe.augment), recipe.seed
        self._model.views = lambda step, lines, aspect: labelled_views(augment, lines, aspect, size, seed, step, dtype)
        optimizer = FusedAdamW(0.0, weight_decay=float(probe.weight_decay))
        optimizer.exclude_from_weight_decay(var_names=[NOT_KERNELS])
        if precision == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self._model.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._model.compile(optimizer=optimizer, loss=loss, jit_compile=compiles(recipe.pretrain.xla))
        self._beginning = [(each, each.numpy()) for each in (*self._model.variables, *optimizer.variables)]
        standardised = self._model.get_layer("standardised")
        read = {"features": standardised.input, "logits": self._model.output}
        self._eye = Eye(keras.Model(self._model.input, read), probed_view(probe, recipe.augment))
        self._probes: dict[bytes, LinearClassifier] = {}

    def __call__(self, subset: Positions) -> Fitted:
        """Choose how to train inside the subset, train with all of it, and classify its images and the test's."""
        self._probes.clear()
        folds = stratified_folds(self._labels[subset], self._seed, self._settings.folds)
        folds = [(subset[inside], subset[outside]) for inside, outside in folds]
        # The same for the folds and the whole: a step is then one compiled function throughout.
        batch = min([self._settings.batch_size, len(subset), *(len(inside) for inside, _ in folds)])
        rate, epochs, validation_accuracy = self._choose(folds, batch)
        self._fit(subset, rate, epochs, batch)
        train = self._logits(self._train, subset).argmax(axis=1)
        test = self._logits(self._test)
        best = best_classes(test, np.arange(test.shape[1]))
        return Fitted(train, test.argmax(axis=1), validation_accuracy, best)

    def _choose(self, folds: list[tuple[Positions, Positions]], batch: int) -> tuple[float, int, float | None]:
        """The rate and number of epochs with the least held-out log loss, and their accuracy.

        Where nothing can be held out, the rate in the middle and all epochs.
        """
        rates, stops = (
            sorted(self._settings.learning_rates),
            stopping_points(self._settings.epochs, self._settings.stops),
        )
        if not folds:
            return rates[(len(rates) - 1) // 2], stops[-1], None
        loss, hits = np.zeros((len(rates), len(stops))), np.zeros((len(rates), len(stops)))
        for row, rate in enumerate(rates):
            for inside, outside in folds:
                exam = _Exam(self, outside, stops)
                self._fit(inside, rate, stops[-1], batch, [exam])
                loss[row] += exam.loss
                hits[row] += exam.hits
        row, column = divmod(int(np.where(np.isfinite(loss), loss, np.inf).argmin()), len(stops))
        asked = sum(len(outside) for _, outside in folds)
        return rates[row], stops[column], float(hits[row, column] / asked)

    def _fit(
        self, positions: Positions, rate: float, epochs: int, batch: int, watching: list[Any] | None = None
    ) -> None:
        """Train from the beginning with the images at these positions, for the first epochs of the schedule."""
        for variable, value in self._beginning:
            variable.assign(value)
        self._begin_with_probe(positions)

        def schedule(epoch: int, _: float) -> float:
            return rate * share_of_rate(epoch, self._settings.epochs)

        with self._feed.failing() if self._feed else nullcontext():
            self._model.fit(
                self._batches(positions, epochs, batch),
                epochs=epochs,
                steps_per_epoch=len(positions) // batch,
                callbacks=[keras.callbacks.LearningRateScheduler(schedule), *(watching or ())],
                shuffle=False,
                verbose=0,
            )

    def _begin_with_probe(self, positions: Positions) -> None:
        """Make the classifier the linear probe of these images; the network is at its beginning."""
        name, standardised, dense = positions.tobytes(), *map(self._model.get_layer, ("standardised", "classifier"))
        if name not in self._probes:
            seen = (some["features"] for some in self._eye.at_a_time(self._train, positions))
            features, labels = gathered(seen, len(positions), self._room), self._labels[positions]
            strengths = tuple(self._settings.strengths)
            self._probes[name] = linear_classifier(features, labels, dense.units, strengths, self._seed)
        probe = self._probes[name]
        standardised.moving_mean.assign(probe.mean)
        standardised.moving_variance.assign(probe.spread**2)
        dense.kernel.assign(probe.kernel)
        dense.bias.assign(probe.bias)

    def _batches(self, positions: Positions, epochs: int, batch: int) -> tf.data.Dataset:
        """Batches as :class:`LabelledModel` takes them, in an order that only the seed decides."""
        order = batches(len(positions), batch, self._seed, Stage(0, 0, epochs))
        labels, streamed = tf.constant(self._labels[positions]), self._is_streamed(len(positions))
        images_at = self._from_files(positions) if streamed else self._from_memory(positions)

        def labelled(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return step, *images_at(index), tf.gather(labels, index)

        return ready(order.map(labelled)) if streamed else order.map(labelled)

    def _is_streamed(self, count: int) -> bool:
        """Whether so many labelled images are read in every epoch: most often they fit, where all images do not."""
        return isinstance(self._train, StreamedSplit) and not self._train.may_keep(count)

    def _from_memory(self, positions: Positions) -> ImagesAt:
        pixels, shapes = self._train.at(positions)
        lines, aspect = line_order(pixels), tf.constant(shapes)
        return lambda index: (tf.gather(lines, index), tf.gather(aspect, index))

    def _from_files(self, positions: Positions) -> ImagesAt:
        feed, place = self._feed, tf.constant(positions, tf.int32)
        assert feed is not None
        return lambda index: feed.images_at(tf.gather(place, index))

    def _logits(self, split: AnySplit, positions: Positions | None = None) -> NDArray[np.float32]:
        return np.concatenate([some["logits"] for some in self._eye.at_a_time(split, positions)])

    def held_out(self, positions: Positions) -> tuple[float, int]:
        """Log loss, summed, and hits of the network as it is, on training images that it was not trained with."""
        labels = self._labels[positions]
        logits = self._logits(self._train, positions).astype(float)
        loss = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].sum()
        return float(loss), int((logits.argmax(axis=1) == labels).sum())


class _Exam(keras.callbacks.Callback):  # type: ignore[misc]
    """Asks the network for held-out images wherever training might stop."""

    def __init__(self, tuning: FineTuning, positions: Positions, stops: list[int]) -> None:
        super().__init__()
        self._tuning, self._positions, self._stops = tuning, positions, stops
        self.loss: list[float] = []
        self.hits: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch + 1 in self._stops:
            loss, hits = self._tuning.held_out(self._positions)
            self.loss.append(loss)
            self.hits.append(hits)


def stopping_points(epochs: int, stops: int) -> list[int]:
    """The numbers of epochs after which training may end, evenly spread, the last one being all.

    >>> stopping_points(60, 4), stopping_points(2, 4)
    ([15, 30, 45, 60], [1, 2])
    """
    return sorted({max(1, round(epochs * number / stops)) for number in range(1, stops + 1)})


def share_of_rate(epoch: int, epochs: int) -> float:
    """The share of the learning rate that is used in an epoch: a rise in equal steps, then a cosine towards zero.

    >>> [round(share_of_rate(epoch, 10), 2) for epoch in (0, 1, 5, 9)]
    [1.0, 0.98, 0.5, 0.02]
    """
    warmup = max(1, round(WARMUP * epochs))
    return min(1.0, (epoch + 1) / warmup) * (1 + math.cos(math.pi * epoch / epochs)) / 2
