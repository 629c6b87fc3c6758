"""Embeddings of views in training: in one call of the network, or in one for each view, or a microbatch at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from simclr.model.layers import statistics_kept


def embed(network: Any, views: tf.Tensor, statistics: str = "together", count: int = 2) -> tf.Tensor:
    """The embeddings of ``count`` views of each image, the network in training mode.

    Implementations of SimCLR differ here without saying so: its own code joins the views, many others, the documents
    among them, call the network for each. A batch norm then takes its statistics from one view at a time, in which a
    change that all images of a view share (one augmentation for the whole batch) is taken out; from both together it
    stays in, and tells the views apart. Moving averages follow the calls, one after another.

    Args:
        network: of :func:`simclr.model.network.build_network`.
        views: (V N, H, W, C), rows i, i + N, .. the V = ``count`` views of image i.
        statistics: ``together`` or ``apart``.
        count: of views.

    Returns:
        (V N, D).
    """
    if statistics == "together":
        return network(views, training=True)
    return tf.concat([network(view, training=True) for view in tf.split(views, count)], axis=0)


def cached_gradients(
    network: Any,
    views: tf.Tensor,
    microbatch: int,
    loss_of: Callable[[tf.Tensor], tf.Tensor],
    statistics: str = "together",
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Embeddings of a batch and the gradients of its loss (GradCache, Gao et al. 2021, arXiv 2101.06983).

    The loss needs the embeddings of all images, but a network's activations only those of the images it is
    differentiated at. So the embeddings are computed first, without keeping activations; the loss gives a gradient for
    each; and each microbatch is embedded again, and that gradient carried back through it alone::

        dL/dw = sum over microbatches m of (dL/dz_m) (dz_m/dw)

    which is the same sum in another order: one more forward pass, for activations of a microbatch instead of a batch.
    A batch norm takes its statistics from the microbatch; a network without one (``encoder.norm=group``,
    ``head.norm=none``) makes the result independent of its size.

    Args:
        network: from images to embeddings.
        views: (2N, H, W, C), rows i and i + N the two views of image i.
        microbatch: images at a time, a divisor of N.
        loss_of: from embeddings (2N, D) to the scalar that is differentiated.
        statistics: of a microbatch's views ``together`` or ``apart``, see :func:`embed`.

    Returns:
        The embeddings (2N, D), and the gradient of each trainable variable.
    """
    variables = network.trainable_variables
    chunks = _in_chunks(views, microbatch)
    with statistics_kept(network):
        embedded = tf.map_fn(
            lambda chunk: embed(network, chunk, statistics),
            chunks,
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )
    embeddings = _in_order(embedded, microbatch)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = loss_of(embeddings)
    pulls = _in_chunks(tape.gradient(loss, embeddings), microbatch)

    def add(index: tf.Tensor, sums: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            pulled = tf.reduce_sum(embed(network, chunks[index], statistics) * pulls[index])
        return index + 1, [total + part for total, part in zip(sums, tape.gradient(pulled, variables), strict=True)]

    zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
    _, gradients = tf.while_loop(lambda index, _: index < chunks.shape[0], add, (0, zeros), parallel_iterations=1)
    return embeddings, gradients


def _in_chunks(rows: tf.Tensor, microbatch: int) -> tf.Tensor:
    """Rows (2N, ...) as chunks (K, 2m, ...): both views of an image in one, as in a batch of that size."""
    count, rest = rows.shape[0] // (2 * microbatch), rows.shape[1:]
    return tf.reshape(_swapped(tf.reshape(rows, (2, count, microbatch, *rest))), (count, 2 * microbatch, *rest))


def _in_order(chunks: tf.Tensor, microbatch: int) -> tf.Tensor:
    """The inverse of :func:`_in_chunks`."""
    count, rest = chunks.shape[0], chunks.shape[2:]
    return tf.reshape(_swapped(tf.reshape(chunks, (count, 2, microbatch, *rest))), (2 * count * microbatch, *rest))


def _swapped(array: tf.Tensor) -> tf.Tensor:
    """Its first two axes in the other order."""
    return tf.transpose(array, (1, 0, *range(2, len(array.shape))))
