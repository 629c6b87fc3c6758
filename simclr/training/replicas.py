"""One pretraining on several devices in step, each with its share of the batch, all after the loss of the whole of it.

Every replica embeds its own images, gathers the embeddings of all, and computes the same loss from them; what it lets
flow back is the gradient at its own embeddings alone. The replicas' gradients then add up to that of one device with
the whole batch, and nothing but embeddings, statistics of norms and gradients of weights goes from one to the other.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simclr.training.cluster import cluster


@cache
def strategy_named(name: str) -> Any:
    """The ``tf.distribute`` strategy that ``pretrain.strategy`` means here; that of one device where there is one.

    ``multi_worker`` waits for the other workers, and has to be asked for before TensorFlow's first operation.
    """
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy(_resolver())
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if name == "mirrored" and len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


class Replicas:
    """The replicas of the strategy in whose scope this is made.

    Attributes:
        strategy: theirs.
        count: how many there are, in all processes together; 1: no method adds an operation.
    """

    def __init__(self) -> None:
        self.strategy = tf.distribute.get_strategy()
        self.count = int(self.strategy.num_replicas_in_sync)

    @property
    def share(self) -> tuple[int, int]:
        """Inside a step: which of the equal parts of the batch this replica has, and how many there are."""
        if self.count == 1:
            return 0, 1
        # A constant of the graph: each replica has its own.
        return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)), self.count

    def dealt(self, dataset: tf.data.Dataset) -> Any:
        """Elements (step's number, something of each image: (B, ...), ..), a share (B / count, ...) to each replica."""
        if self.count == 1:
            return dataset

        def of_process(context: Any) -> tf.data.Dataset:
            local = self.count // context.num_input_pipelines
            own = slice(local * context.input_pipeline_id, local * (context.input_pipeline_id + 1))

            def shares(step: tf.Tensor, batch: Any) -> tf.data.Dataset:
                parts = tf.nest.map_structure(
                    lambda each: tf.reshape(each, (self.count, -1, *each.shape[1:]))[own], batch
                )
                return tf.data.Dataset.from_tensor_slices((tf.repeat(step, local), parts))

            # One after another, which is how the replicas of a process take them. With no end to it, shapes stay known
            # and no worker asks the others before each step whether they still have images; fit counts the steps.
            return dataset.flat_map(shares).repeat()

        return self.strategy.distribute_datasets_from_function(of_process)

    def on_each_device(self, value: tf.Tensor) -> Any:
        """Copies of a tensor, one where each replica works, so that no step carries it over; see :meth:`here`."""
        if self.count == 1:
            return value
        copies = []
        for device in self.strategy.extended.worker_devices:
            with tf.device(device):
                copies.append(tf.identity(value))
        return tuple(copies)

    def here(self, copies: Any) -> tf.Tensor:
        """That one of :meth:`on_each_device`'s copies which is where this replica works; outside a step, any."""
        if self.count == 1:
            return copies
        number = 0 if tf.distribute.in_cross_replica_context() else self.share[0]
        return copies[number % len(copies)]  # each process has as many, and numbers them one after another

    def gathered(self, embeddings: tf.Tensor, views: int = 2) -> tf.Tensor:
        """The embeddings (V N, D) of the whole batch, from this replica's (V n, D): rows i, i + N, .. of image i.

        The gradient at them is taken to be the same on every replica, as that of one loss of all of them is: each then
        needs that of its own rows only, and none has to be sent.
        """
        if self.count == 1:
            return embeddings
        number, count = self.share
        rows, width = embeddings.shape

        @tf.custom_gradient
        def gather(own: tf.Tensor) -> tuple[tf.Tensor, Any]:
            every = tf.distribute.get_replica_context().all_gather(own, axis=0)  # (count V n, D), by replica, then view

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return tf.reshape(tf.reshape(upstream, (views, count, -1, width))[:, number], (rows, width))

            by_view = tf.transpose(tf.reshape(every, (count, views, rows // views, width)), (1, 0, 2, 3))
            return tf.reshape(by_view, (count * rows, width)), gradient

        return gather(embeddings)

    def all_or_none(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Gradients that are finite on every replica or on none, so that all skip a step whose loss scale is too high.

        ``LossScaleOptimizer`` asks only the first replica, and before gradients are added up.
        """
        if self.count == 1:
            return gradients
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in gradients])
        wrong = tf.distribute.get_replica_context().all_reduce("SUM", tf.where(finite, 0.0, 1.0))
        return [gradients[0] + tf.where(wrong > 0, float("nan"), 0.0), *gradients[1:]]

    def agreed(self, asked: bool) -> bool:
        """Outside a step: whether any of the processes was asked to stop, so that all do at the same step."""
        if not self.several_processes:
            return asked
        return bool(self._over_all(tf.constant(float(asked)), first=False) > 0)

    def from_first(self, value: NDArray[Any]) -> NDArray[Any]:
        """Outside a step: an array as the first process has it; each gives one of that shape."""
        return np.asarray(self._over_all(tf.constant(value), first=True))

    @tf.function
    def _over_all(self, value: tf.Tensor, first: bool) -> tf.Tensor:
        """The sum of what all replicas have, or what the first of them has."""

        def of_replica(value: tf.Tensor) -> tf.Tensor:
            # An argument of a function is on no device yet, and the reduction asks for one.
            mine = tf.zeros_like(value) if first and self.share[0] > 0 else tf.identity(value)
            return tf.distribute.get_replica_context().all_reduce("SUM", mine)

        return self.strategy.experimental_local_results(self.strategy.run(of_replica, args=(value,)))[0]

    @property
    def several_processes(self) -> bool:
        """Whether there are others, which have to take part in whatever goes from one to all."""
        return isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def own(self, variable: Any) -> NDArray[Any]:
        """The value of a metric's variable as a replica of this process has it: read as a whole, it is a sum of all."""
        return np.asarray(self.strategy.experimental_local_results(variable.value)[0])

    def assign_each(self, variable: Any, value: NDArray[Any]) -> None:
        """Set a metric's variable on every replica of this process to a value of :meth:`own`."""
        for each in self.strategy.experimental_local_results(variable.value):
            each.assign(value)

    def told(self, value: tf.Tensor) -> tf.Tensor:
        """A scalar as a train step may return it."""
        # Keras's fit takes the mean over workers along axis 0, which a scalar does not have (keras-team/keras 20585).
        return tf.reshape(value, (1,)) if self.several_processes else value


def meet_others(minutes: float) -> None:
    """Wait for the other workers, so many minutes at most, see :mod:`.meeting`."""
    from simclr.training import meeting

    told = _resolver().cluster_spec().as_dict()
    addresses = (*told.get("chief", ()), *told.get("worker", ()))
    meeting.end_when_asked()
    meeting.meet(addresses, cluster("multi_worker").number, minutes)


@cache
def _resolver() -> Any:
    if "TF_CONFIG" in os.environ:
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    # Jobs that share a machine need ports of their own. Which GPUs a task may use, Slurm has already decided.
    port = 10000 + 16 * (int(os.environ.get("SLURM_JOB_ID", "0")) % 1000)
    return tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=port, gpus_per_node=1, gpus_per_task=1, auto_set_gpu=False
    )
