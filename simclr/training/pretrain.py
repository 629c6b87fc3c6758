"""Contrastive pretraining: a Keras model whose step makes two views, embeds them and follows the loss's gradient."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from simclr.config import AugmentConfig, Recipe
from simclr.data import AnySplit, StreamedSplit
from simclr.foundation.interruption import deferred
from simclr.model.layers import statistics_kept, synchronise
from simclr.model.network import build_network
from simclr.training.augment import line_order, random_views
from simclr.training.cluster import check_shares
from simclr.training.embedding import cached_gradients, embed
from simclr.training.feed import Feed, TellWaiting
from simclr.training.loss import Objective, accuracy_of, embedding_spread, similarities
from simclr.training.optimizer import build_optimizer
from simclr.training.replicas import Replicas, strategy_named
from simclr.training.resume import FirstSteps, Run, Saving
from simclr.training.runtime import compiles
from simclr.training.stages import Stage, batches, stages, stretches

log = logging.getLogger(__name__)

STEPS_AT_ONCE_ON_GPU = 32
"""Steps between two looks of the host at a GPU, at most: enough to hide it, few enough to stop when it is asked."""


class ContrastiveModel(keras.Model):  # type: ignore[misc]
    """SimCLR's training step around a network (arXiv 2002.05709, algorithm 1).

    The images lie on the device as uint8; a batch is only their positions and the step's number. (Of streamed images a
    batch brings their lines and aspects in place of positions, see :class:`.feed.Feed`.) ``size`` is the side
    of the views; changing it needs a new train function, which ``compile`` makes. ``microbatch`` is the number of
    images that are differentiated at a time, None for the whole batch; ``statistics`` says whose a batch norm takes,
    see :func:`simclr.training.embedding.embed`. Where ``steps_come_together``, elements are those of several steps, see
    :func:`simclr.training.stages.batches`.
    """

    train_function: Any

    def __init__(
        self,
        network: Any,
        images: AnySplit,
        augment: AugmentConfig,
        objective: Objective,
        seed: int,
        size: int,
        *,
        microbatch: int | None = None,
        statistics: str = "together",
    ) -> None:
        super().__init__(name="contrastive")
        self.network = network
        self.augment = augment
        self.objective = objective
        # A variable and no constant of the step: one compiled for a seed serves them all.
        self.seed = tf.Variable(seed, dtype=tf.int64, trainable=False, name="seed")
        self.size = size
        self.microbatch = microbatch
        self.statistics = statistics
        self.steps_come_together = False
        self.replicas = Replicas()
        if not isinstance(images, StreamedSplit):
            self._lines = self.replicas.on_each_device(line_order(images.pixels))
            self._aspect = self.replicas.on_each_device(tf.constant(images.aspect))
        self._means = [keras.metrics.Mean(name=name) for name in ("loss", "contrastive_accuracy", "spread")]
        self.built = True  # the network is; Keras would call it on a batch to find out

    def _maybe_symbolic_build(self, **_: Any) -> None:
        # Nothing is left to build. Keras would add up a batch over the replicas to find out, which several workers
        # cannot do with one of more than one tensor.
        pass

    @property
    def metrics(self) -> list[Any]:
        """Means over an epoch: the loss, the contrastive accuracy, and how far the embeddings spread."""
        return self._means

    def make_train_function(self, force: bool = False) -> Any:
        """What does the steps of an execution: Keras's own, or where they come together one compiled program of them.

        Launching a compiled step takes the host several times as long as a small network's step takes a card.
        """
        if not self.steps_come_together or (self.train_function is not None and not force):
            return super().make_train_function(force)
        one_after_another = tf.function(self._steps, jit_compile=True, autograph=False)
        self.train_function = tf.function(lambda elements: one_after_another(*next(elements)), autograph=False)
        return self.train_function

    def _steps(self, numbers: tf.Tensor, index: tf.Tensor, count: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """The steps of these numbers (K,) on the images at ``index`` (K, N), or the first ``count`` of them."""
        most = numbers.shape[0]
        # A bound that the compiler knows spares the host a look at each step.
        bound = most if count is None else count

        def step(at: tf.Tensor) -> list[tf.Tensor]:
            self.train_step((numbers[at], index[at]))
            return [at + 1]

        tf.while_loop(lambda at: at < bound, step, [0], maximum_iterations=most, parallel_iterations=1)
        return {mean.name: mean.result() for mean in self._means}

    def images_at(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Lines (N, S, C, S) uint8 and aspects (N,) of the images at the positions ``index`` (N,), or those given."""
        if isinstance(index, tuple):
            return index
        return tf.gather(self.replicas.here(self._lines), index), tf.gather(self.replicas.here(self._aspect), index)

    def views(self, step: tf.Tensor, index: tf.Tensor, *, local: bool = False) -> tf.Tensor:
        """Two views (2N, size, size, C) of the images at ``index`` (N,); or their local views, of half the side."""
        lines, aspect = self.images_at(index)
        dtype = self.network.get_layer("backbone").compute_dtype
        size, share = self.size // 2 if local else self.size, self.replicas.share
        return random_views(self.augment, lines, aspect, size, self.seed, step, dtype, local=local, share=share)

    def _with_local_views(
        self, loss: tf.Tensor, embeddings: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
    ) -> tf.Tensor:
        """The mean loss over all anchors, the two views and the local ones of each image."""
        count = self.augment.local_views
        views = self.views(*batch, local=True)
        # A probe sees whole images: the norms' moving statistics are those of the two views.
        with statistics_kept(self.network):
            local = self.replicas.gathered(embed(self.network, views, self.statistics, count), count)
        return (2 * loss + count * self.objective.of_local_views(local, embeddings)) / (2 + count)

    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of gradient descent on a batch (step's number, positions of N images).

        Nothing of it happens before its batch is there. TensorFlow would decay weights and count the step meanwhile: a
        batch that cannot be read has to end a run between two steps, where its state can be saved.
        """
        with tf.control_dependencies(tf.nest.flatten(batch)):
            return self._descend(batch)

    def _descend(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        views = self.views(*batch)
        variables = self.network.trainable_variables
        if self.microbatch is None:
            with tf.GradientTape() as tape:
                embeddings = self.replicas.gathered(embed(self.network, views, self.statistics))
                similarity = similarities(embeddings)
                loss = self.objective.of_similarities(similarity)
                if self.augment.local_views:
                    loss = self._with_local_views(loss, embeddings, batch)
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, variables)
        else:

            def scaled_loss(embeddings: tf.Tensor) -> tf.Tensor:
                return self.optimizer.scale_loss(self.objective.of(self.replicas.gathered(embeddings)))

            embeddings, gradients = cached_gradients(self.network, views, self.microbatch, scaled_loss, self.statistics)
            embeddings = self.replicas.gathered(embeddings)
            similarity = similarities(embeddings)
            loss = self.objective.of_similarities(similarity)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = self.replicas.all_or_none(gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for mean, value in zip(self._means, (loss, accuracy_of(similarity), embedding_spread(embeddings)), strict=True):
            mean.update_state(value)
        return {mean.name: self.replicas.told(mean.result()) for mean in self._means}


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining: the network, its history by epoch, and what it took in all attempts together.

    Attributes:
        network: the trained network.
        history: an epoch a row.
        steps: of the optimizer.
        seconds: of training, what went before the first step left out.
        compiling: seconds of these that were spent on tracing and compiling steps, not on doing them.
        images_per_second: without those.
        precision: a Keras dtype policy.
        replicas: the number of devices that shared its batches.
    """

    network: Any
    history: list[dict[str, float]]
    steps: int
    seconds: float
    compiling: float
    images_per_second: float
    precision: str
    replicas: int = 1


def pretrain(
    recipe: Recipe,
    images: AnySplit,
    precision: str,
    callbacks: Sequence[Any] = (),
    saving: Saving | None = None,
) -> Pretrained:
    """Pretrain the network of a recipe on images, without their labels.

    Args:
        recipe: encoder, head, augmentation, loss, optimizer, the ``pretrain`` settings and the seed.
        images: N training images, at least a batch.
        precision: a Keras dtype policy, resolved.
        callbacks: told of every epoch, in this order; what one adds to an epoch's ``logs`` the next ones see and the
            history keeps.
        saving: where to go on from, and what to do with the state now and then; weights and history are the same to
            the bit however often a run is stopped and goes on.

    Raises:
        InvalidInput: the devices of ``pretrain.strategy`` cannot share a batch of that size.
        RunFailed: from a callback, say of a loss that is not finite.
        KeyboardInterrupt, SystemExit: stopped by a signal, after the state was saved.
    """
    with strategy_named(recipe.pretrain.strategy).scope():
        return _pretrain(recipe, images, precision, callbacks, saving or Saving())


def _pretrain(recipe: Recipe, images: AnySplit, precision: str, callbacks: Sequence[Any], saving: Saving) -> Pretrained:
    """:func:`pretrain`, in the scope of the strategy that it runs under."""
    settings = recipe.pretrain
    steps_per_epoch = len(images.labels) // settings.batch_size
    steps = settings.epochs * steps_per_epoch
    network = build_network(
        recipe.encoder, recipe.head, images.channels, settings.side, recipe.seed, precision=precision
    )
    model = ContrastiveModel(
        network,
        images,
        recipe.augment,
        Objective(recipe.loss, settings.temperature),
        recipe.seed,
        settings.side,
        microbatch=settings.microbatch,
        statistics=settings.statistics,
    )
    if model.replicas.count > 1:
        check_shares(settings, model.replicas.count)
        synchronise(network)
    optimizer = build_optimizer(recipe.optimizer, steps, steps_per_epoch, settings.batch_size)
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    run = Run(model, optimizer, steps_per_epoch, saving)
    on_gpu = bool(tf.config.list_logical_devices("GPU")) and model.replicas.count == 1
    compiled = model.replicas.count == 1 and compiles(settings.xla)
    feed = Feed(images) if isinstance(images, StreamedSplit) else None
    most = settings.steps_per_execution or (STEPS_AT_ONCE_ON_GPU if on_gpu else 1)
    model.steps_come_together = compiled and feed is None and most > 1
    with deferred() as pending, feed.failing(run.save) if feed else nullcontext():
        begun = run.begin(pending)
        for stage in stages(settings):
            left = list(stretches(stage, steps_per_epoch, begun))
            if not left:
                continue
            model.size = stage.size
            at_once = _steps_at_once(most, steps_per_epoch, left[0][2], even=not model.steps_come_together)
            # A new train function, of which the size is a part; the optimizer and its place in the schedule stay.
            model.compile(optimizer=optimizer, jit_compile=compiled, steps_per_execution=at_once)
            first_steps = FirstSteps(run, stage.size if compiled else None)
            for first, last, skipped in left:
                order = batches(
                    len(images.labels),
                    settings.batch_size,
                    recipe.seed,
                    Stage(stage.size, first, last),
                    skipped,
                    at_once if model.steps_come_together else None,
                )
                model.fit(
                    model.replicas.dealt(feed.batches(order) if feed else order),
                    initial_epoch=first,
                    epochs=last,
                    steps_per_epoch=steps_per_epoch - skipped,
                    callbacks=[first_steps, *([TellWaiting(feed)] if feed else []), *callbacks, run],
                    shuffle=False,
                    verbose=0,
                )
    seconds, compiling = run.seconds, run.compiling
    return Pretrained(
        network,
        run.history,
        steps,
        seconds,
        compiling,
        steps * settings.batch_size / (seconds - compiling),
        precision,
        model.replicas.count,
    )


def _steps_at_once(most: int, steps_per_epoch: int, skipped: int, *, even: bool) -> int:
    """The number of steps, at most ``most``, that an epoch is done in, also where ``skipped`` of them were done before.

    A divisor of the epoch's steps; or, where that need not be (not ``even``) and the largest is far below ``most``,
    what leaves the last ones of an epoch the fewest short.

    >>> [_steps_at_once(16, steps, 0, even=True) for steps in (9, 36, 37)]
    [9, 12, 1]
    >>> [_steps_at_once(16, steps, 0, even=False) for steps in (9, 36, 37)]
    [9, 12, 13]
    >>> [_steps_at_once(16, 36, skipped, even=False) for skipped in (24, 8)]
    [12, 4]
    """
    divisors = [steps for steps in range(1, min(most, steps_per_epoch) + 1) if steps_per_epoch % steps == 0]
    best = max(divisors)
    if not even and 4 * best < most:
        best = math.ceil(steps_per_epoch / math.ceil(steps_per_epoch / most))
    # What went before may have been done in others: on another device, say.
    return best if skipped % best == 0 else max(steps for steps in divisors if skipped % steps == 0)
