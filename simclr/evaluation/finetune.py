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
        channels, side = images.train.channels, recipe.pretrain.side
        network = build_network(recipe.encoder, recipe.head, channels, side, recipe.seed, precision=precision)
        if weights is not None:
            assign_by_name(network, weights)
        self._model = classifier(representation(network, layer), len(images.classes))
        dtype = network.get_layer("backbone").compute_dtype
        size, augment = int(recipe.pretrain.sizes[-1][0]), labelled_augment(recipe.augment)
        # A variable and no constant of the step: one compiled for a seed serves them all.
        seed = tf.Variable(recipe.seed, dtype=tf.int64, trainable=False, name="seed")
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

    def __call__(self, subset: Positions) -> Fitted:
        """Choose how to train inside the subset, train with all of it, and classify its images and the test's."""
        folds = stratified_folds(self._labels[subset], self._seed, self._settings.folds)
        folds = [(subset[inside], subset[outside]) for inside, outside in folds]
        # The same for the folds and the whole: a step is then one compiled function throughout.
        batch = min([self._settings.batch_size, len(subset), *(len(inside) for inside, _ in folds)])
        rate, epochs, validation_accuracy = self._choose(folds, batch)
        self._fit(subset, self._probe(subset), rate, epochs, batch)
        train = self._logits(self._train, subset).argmax(axis=1)
        test = self._logits(self._test)
        best = best_classes(test, np.arange(test.shape[1]))
        return Fitted(train, test.argmax(axis=1), validation_accuracy, best)

    def _choose(self, folds: list[tuple[Positions, Positions]], batch: int) -> tuple[float, int, float | None]:
        """The rate and number of epochs with the least held-out log loss, and their accuracy.

        Where nothing can be held out, the rate in the middle and all epochs.
        """
        rates = sorted(self._settings.learning_rates)
        stops = stopping_points(self._settings.epochs, self._settings.stops)
        if not folds:
            return rates[(len(rates) - 1) // 2], stops[-1], None
        examined = [self._examined(inside, outside, rates, stops, batch) for inside, outside in folds]
        loss, hits = np.moveaxis(np.sum(examined, axis=0), -1, 0)
        row, column = divmod(int(np.where(np.isfinite(loss), loss, np.inf).argmin()), len(stops))
        asked = sum(len(outside) for _, outside in folds)
        return rates[row], stops[column], float(hits[row, column] / asked)

    def _examined(
        self, inside: Positions, outside: Positions, rates: list[float], stops: list[int], batch: int
    ) -> NDArray[np.float64]:
        """Log loss, summed, and hits of held-out images at each rate and wherever training might stop, (R, S, 2)."""
        probe, labels, found = self._probe(inside), self._labels[outside], []

        def examine(epoch: int, _: object) -> None:
            if epoch + 1 in stops:
                logits = self._logits(self._train, outside).astype(float)
                loss = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].sum()
                found.append((loss, (logits.argmax(axis=1) == labels).sum()))

        exam = keras.callbacks.LambdaCallback(on_epoch_end=examine)
        for rate in rates:
            self._fit(inside, probe, rate, stops[-1], batch, exam)
        return np.reshape(found, (len(rates), len(stops), 2))

    def _fit(
        self, positions: Positions, probe: LinearClassifier, rate: float, epochs: int, batch: int, *watching: Any
    ) -> None:
        """Train from the beginning and the images' linear probe on, for the first epochs of the schedule."""
        self._begin(probe)

        def schedule(epoch: int, _: float) -> float:
            return rate * share_of_rate(epoch, self._settings.epochs)

        with self._feed.failing() if self._feed else nullcontext():
            self._model.fit(
                self._batches(positions, epochs, batch),
                epochs=epochs,
                steps_per_epoch=len(positions) // batch,
                callbacks=[keras.callbacks.LearningRateScheduler(schedule), *watching],
                shuffle=False,
                verbose=0,
            )

    def _probe(self, positions: Positions) -> LinearClassifier:
        """The linear probe of the images at these positions, as the network sees them at its beginning."""
        self._begin()
        seen = (some["features"] for some in self._eye.at_a_time(self._train, positions))
        features, labels = gathered(seen, len(positions), self._room), self._labels[positions]
        strengths, classes = tuple(self._settings.strengths), self._model.output.shape[-1]
        return linear_classifier(features, labels, classes, strengths, self._seed)

    def _begin(self, probe: LinearClassifier | None = None) -> None:
        """Put every weight back to its beginning, and with a probe make it the classifier."""
        for variable, value in self._beginning:
            variable.assign(value)
        if probe is None:
            return
        standardised, dense = map(self._model.get_layer, ("standardised", "classifier"))
        standardised.moving_mean.assign(probe.mean)
        standardised.moving_variance.assign(probe.spread**2)
        dense.kernel.assign(probe.kernel)
        dense.bias.assign(probe.bias)

    def _batches(self, positions: Positions, epochs: int, batch: int) -> tf.data.Dataset:
        """Batches as :class:`LabelledModel` takes them, in an order that only the seed decides."""
        order = batches(len(positions), batch, self._seed, Stage(0, 0, epochs))
        split, feed, labels = self._train, self._feed, tf.constant(self._labels[positions])
        # Most often the labelled images fit into memory, where all images do not.
        if feed is None or (isinstance(split, StreamedSplit) and split.may_keep(len(positions))):
            pixels, shapes = split.at(positions)
            lines, aspect = line_order(pixels), tf.constant(shapes)

            def kept(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, ...]:
                return step, tf.gather(lines, index), tf.gather(aspect, index), tf.gather(labels, index)

            return order.map(kept)
        places = tf.constant(positions, tf.int32)

        def read(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return step, *feed.images_at(tf.gather(places, index)), tf.gather(labels, index)

        return ready(order.map(read))

    def _logits(self, split: AnySplit, positions: Positions | None = None) -> NDArray[np.float32]:
        return np.concatenate([some["logits"] for some in self._eye.at_a_time(split, positions)])


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
