"""Large batches on small devices: the gradient of the whole batch's loss, a microbatch at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from simclr.model.normalization import statistics_kept
from simclr.training.embedding import embed


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
        statistics: of a microbatch's views ``together`` or ``apart``, see :func:`simclr.training.embedding.embed`.

    Returns:
        The embeddings (2N, D), and the gradient of each trainable variable.
    """
    variables = network.trainable_variables
    count, image = views.shape[0] // (2 * microbatch), tuple(views.shape[1:])
    # Both views of an image are in the same chunk, as they would be in a batch of that size.
    chunks = tf.reshape(views, (2, count, microbatch, *image))
    chunks = tf.reshape(tf.transpose(chunks, (1, 0, 2, 3, 4, 5)), (count, 2 * microbatch, *image))

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
    _, gradients = tf.while_loop(lambda index, _: index < count, add, (0, zeros), parallel_iterations=1)
    return embeddings, gradients


def _in_order(chunks: tf.Tensor, microbatch: int) -> tf.Tensor:
    """Chunks (K, 2m, D), each with two views of m images, as (2N, D) with rows i and i + N the views of image i."""
    count, _, width = chunks.shape
    split = tf.reshape(chunks, (count, 2, microbatch, width))
    return tf.reshape(tf.transpose(split, (1, 0, 2, 3)), (2 * count * microbatch, width))


def _in_chunks(rows: tf.Tensor, microbatch: int) -> tf.Tensor:
    """The inverse of :func:`_in_order`."""
    count, width = rows.shape[0] // (2 * microbatch), rows.shape[1]
    split = tf.reshape(rows, (2, count, microbatch, width))
    return tf.reshape(tf.transpose(split, (1, 0, 2, 3)), (count, 2 * microbatch, width))
