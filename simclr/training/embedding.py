"""Embeddings of views in training: in one call of the network, or in one for each view."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


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
