"""NT-Xent, SimCLR's loss, the decoupled one, and what the same similarities say about a training run.

Everything here takes ``embeddings`` of shape (2N, D) in any float type: rows i and i + N are the two views of image i.
The similarities are the one expensive thing; :func:`similarities` computes them once for the loss and the accuracy.
:class:`Objective` is the loss that a configuration means, for whoever need not know which one that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from simclr.config import LossConfig
from simclr.foundation.errors import InvalidInput

LOSSES = ("nt_xent", "dcl")

# Far below any cosine similarity, also after division by a temperature, yet finite: an infinity on the diagonal
# turns into NaN as soon as it is multiplied by the zero gradient that belongs to it.
EXCLUDED = -1e9

# A row this short has no direction that float32 could tell; it counts as the zero vector.
SHORTEST = 1e-12


def nt_xent(embeddings: Any, temperature: float) -> Any:
    """The normalised, temperature-scaled cross entropy of SimCLR (Chen et al. 2020, arXiv 2002.05709, equation 1).

    Args:
        embeddings: (2N, D), rows i and i + N the two views of image i; any length, the cosine is taken here.
        temperature: the paper's tau, a positive number.

    Returns:
        A float32 scalar: the mean over the 2N anchors of -log softmax(cosine / tau) at the anchor's other view, the
        anchor itself left out of the sum. A row of zeros is equally similar to every other row and has no gradient.

    Raises:
        ValueError: the number of rows is known and odd.

    >>> views = [[1.0, 0.0], [0.0, 1.0]]  # two images at right angles, each the same in both views
    >>> print(f"{nt_xent(views + views, temperature=0.5):.4f}")  # log(1 + 2 exp(-1 / 0.5))
    0.2395
    """
    return loss_of(similarities(embeddings), temperature)


def chance(loss: LossConfig, batch_size: int) -> float:
    """The loss where all embeddings are the same: the logarithm of the number of views that an anchor is told from.

    Local views are told from as many, and DCLW's weights are then all 1.

    Args:
        loss: which one.
        batch_size: N, images (not views) in a batch, over all devices.

    >>> [round(chance(LossConfig(name), batch_size=16), 3) for name in LOSSES]  # ln 31, ln 30
    [3.434, 3.401]
    """
    return math.log(max(2 * batch_size - (2 if loss.name == "dcl" else 1), 2))


@dataclass(frozen=True)
class Objective:
    """A loss with its temperature.

    Raises:
        InvalidInput: there is no loss of that name.
    """

    loss: LossConfig
    temperature: float

    def __post_init__(self) -> None:
        if self.loss.name not in LOSSES:
            raise InvalidInput(f"loss.name={self.loss.name}: valid is {', '.join(LOSSES)}")

    def of(self, embeddings: Any) -> Any:
        """The loss of embeddings (2N, D); a float32 scalar."""
        return self.of_similarities(similarities(embeddings))

    def of_similarities(self, similarity: Any) -> Any:
        """The same from the matrix of :func:`similarities`, (2N, 2N) float32."""
        if self.loss.name == "dcl":
            return decoupled_loss_of(similarity, self.temperature, self._sigma)
        return loss_of(similarity, self.temperature)

    def of_local_views(self, local: Any, embeddings: Any) -> Any:
        """The loss of local views (V N, D) against two whole ones (2N, D); a float32 scalar."""
        if self.loss.name == "dcl":
            return decoupled_local_loss(local, embeddings, self.temperature, self._sigma)
        return local_loss(local, embeddings, self.temperature)

    @property
    def _sigma(self) -> float | None:
        return self.loss.sigma if self.loss.weights_positives else None


def similarities(embeddings: Any) -> Any:
    """The cosine similarity of every row of (2N, D) with every other one.

    Returns:
        (2N, 2N) float32, the diagonal replaced by :data:`EXCLUDED`: no row is compared with itself.

    Raises:
        ValueError: the number of rows is known and odd.
    """
    directions = _normalise(embeddings)
    rows = directions.shape[0]
    if rows is not None and rows % 2:
        raise ValueError(f"embeddings of shape {tuple(directions.shape)}: two views of each image are an even number")
    cosines = tf.matmul(directions, directions, transpose_b=True)
    return tf.linalg.set_diag(cosines, tf.fill(tf.shape(cosines)[:1], EXCLUDED))


def loss_of(similarity: Any, temperature: float) -> Any:
    """:func:`nt_xent` from the matrix of :func:`similarities`, (2N, 2N) float32; a float32 scalar."""
    return -tf.reduce_mean(_positives(tf.nn.log_softmax(similarity / temperature, axis=1)))


def decoupled_loss_of(similarity: Any, temperature: float, sigma: float | None = None) -> Any:
    """The decoupled contrastive loss (Yeh et al. 2021, arXiv 2110.06848): NT-Xent without its positive below the line.

    With s_p the cosine of an anchor and its other view, s_n those with the 2N - 2 views of other images, an anchor's
    loss is -w s_p / tau + log sum of exp(s_n / tau). NT-Xent's gradient fades as a positive comes close, and all the
    more the fewer negatives there are; this one's does not.

    Args:
        similarity: of :func:`similarities`, (2N, 2N) float32 with N > 1.
        temperature: the paper's tau, a positive number.
        sigma: None for w = 1; a positive number for the paper's weights of positives (DCLW),
            w = 2 - exp(s_p / sigma) / (mean over the anchors of exp(s_p / sigma)), whose mean is 1. They are weights:
            no gradient flows through them. (Implementations differ: lightly-ai/lightly detaches them as well, while in
            raminnakhli/Decoupled-Contrastive-Learning the gradient flows.)

    Returns:
        A float32 scalar, the mean over the 2N anchors, which may be negative. Where all rows are the same it is
        ln(2N - 2), with and without weights. A row of zeros has no gradient.

    Raises:
        ValueError: the matrix is known to be that of one image, which has no negatives.

    >>> views = [[1.0, 0.0], [0.0, 1.0]]  # two images at right angles, each the same in both views
    >>> print(f"{decoupled_loss_of(similarities(views + views), temperature=0.5):.4f}")  # -1 / 0.5 + log(2)
    -1.3069
    """
    if similarity.shape[0] == 2:
        raise ValueError("embeddings of one image: the decoupled loss needs negatives, that is another image")
    rows = tf.shape(similarity)[0]
    positive = _positives(similarity)  # (2N,)
    negatives = tf.where(tf.one_hot(_partners(rows), rows, True, False), EXCLUDED, similarity)
    negative = tf.reduce_logsumexp(negatives / temperature, axis=1)  # (2N,)
    return tf.reduce_mean(negative - _weights(positive, sigma) * positive / temperature)


def local_loss(local: Any, embeddings: Any, temperature: float) -> Any:
    """NT-Xent of local views against two whole ones (multi-crop, Caron et al. 2020, arXiv 2006.09882).

    Args:
        local: (V N, D), rows i, i + N, .. the local views of image i; they are anchors only.
        embeddings: (2N, D).
        temperature: as for :func:`nt_xent`.

    Returns:
        A float32 scalar: the mean over the local views, each with either view p of its image as the positive, of
        -log(e_p / (e_p + sum of e_n)), where e = exp(cosine / tau) and n are the views of all other images.
    """
    positive, negative = _local_cosines(local, embeddings, temperature)
    return tf.reduce_mean(tf.nn.softplus(negative - positive / temperature))


def decoupled_local_loss(local: Any, embeddings: Any, temperature: float, sigma: float | None = None) -> Any:
    """:func:`local_loss` without its positive below the line: the mean of -w s_p / tau + log sum of exp(s_n / tau).

    ``sigma`` is that of :func:`decoupled_loss_of`, the mean of the weights being over the pairs of a local view and a
    whole one.
    """
    positive, negative = _local_cosines(local, embeddings, temperature)
    return tf.reduce_mean(negative - _weights(positive, sigma) * positive / temperature)


def _local_cosines(local: Any, embeddings: Any, temperature: float) -> tuple[Any, Any]:
    """Of local views the cosines with both views of their image, (V, 2, N), and log sum of exp(s_n / tau), (V, 1, N).

    The latter is over the views of all other images.
    """
    anchors, others = _normalise(local), _normalise(embeddings)
    images = others.shape[0] // 2
    cosines = tf.reshape(tf.matmul(anchors, others, transpose_b=True), (-1, images, 2, images))
    same = tf.eye(images, dtype=tf.bool)[:, None]  # (N, 1, N), by image of the anchor and of the other view
    negative = tf.reduce_logsumexp(tf.where(same, EXCLUDED, cosines) / temperature, axis=(2, 3))  # (V, N)
    return tf.linalg.diag_part(tf.transpose(cosines, (0, 2, 1, 3))), negative[:, None]


def accuracy_of(similarity: Any) -> Any:
    """The contrastive accuracy: the share of anchors whose most similar other row is their positive.

    Args:
        similarity: of :func:`similarities`, (2N, 2N) float32.

    Returns:
        A float32 scalar from 0 to 1; about 1 / 2N by chance, and where all rows are the same.
    """
    rows = tf.shape(similarity)[0]
    nearest = tf.argmax(similarity, axis=1, output_type=tf.int32)
    return tf.reduce_mean(tf.cast(nearest == _partners(rows), tf.float32))


def embedding_spread(embeddings: Any) -> Any:
    """How far the directions of embeddings (2N, D) spread: 1 where they are isotropic, 0 where they have collapsed.

    The mean over the dimensions of the standard deviation over the batch of the normalised embeddings, times sqrt(D):
    a uniformly random unit vector has a standard deviation of 1 / sqrt(D) in each (as in SimSiam, arXiv 2011.10566,
    section 4.1). A float32 scalar.
    """
    directions = _normalise(embeddings)
    dimensions = tf.cast(tf.shape(directions)[1], tf.float32)
    return tf.reduce_mean(tf.math.reduce_std(directions, axis=0)) * tf.sqrt(dimensions)


def _partners(rows: Any) -> Any:
    """Of each of the 2N rows, the one of the same image's other view, as (2N,) int32."""
    return (tf.range(rows) + rows // 2) % rows


def _weights(positive: Any, sigma: float | None) -> Any:
    """The weights of positives of these cosines, of any shape, or 1 for all of them."""
    if sigma is None:
        return 1.0
    # exp(s / sigma) over its mean is the softmax times the number of pairs, which no sigma makes overflow.
    share = tf.reshape(tf.nn.softmax(tf.reshape(positive, (-1,)) / sigma), tf.shape(positive))
    return tf.stop_gradient(2 - share * tf.cast(tf.size(positive), tf.float32))


def _positives(matrix: Any) -> Any:
    """The entries (i, i + N) and (i + N, i) of a (2N, 2N) matrix, as (2N,)."""
    images = (matrix.shape[0] or tf.shape(matrix)[0]) // 2
    first = tf.linalg.diag_part(matrix[:images, images:])
    second = tf.linalg.diag_part(matrix[images:, :images])
    return tf.concat([first, second], axis=0)


def _normalise(embeddings: Any) -> Any:
    """The rows' directions: (2N, D) float32 of unit length, zero where a row is (shorter than) :data:`SHORTEST`."""
    vectors = tf.cast(embeddings, tf.float32)
    squares = tf.reduce_sum(tf.square(vectors), axis=1, keepdims=True)
    # Both branches of a `where` are differentiated, so the length must be safe also where it is not used. The
    # comparison is false for NaN: a diverged network shows in the loss rather than as a row of zeros.
    too_short = squares < SHORTEST**2
    scale = tf.math.rsqrt(tf.where(too_short, tf.ones_like(squares), squares))
    return tf.where(too_short, tf.zeros_like(vectors), vectors * scale)
