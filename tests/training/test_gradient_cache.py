"""The gradient of a batch, a microbatch at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from simclr.config import EncoderConfig, HeadConfig
from simclr.model.layers import FusedBatchNormalization
from simclr.model.network import build_network
from simclr.training.embedding import cached_gradients
from simclr.training.loss import nt_xent
from simclr.training.pretrain import pretrain
from tests.training.test_pretrain import TINY, weights

HEAD = HeadConfig(name="one_relu", hidden=[10, 10], output=6)


def network(norm: str):
    encoder = EncoderConfig(name="small_resnet", widths=[8, 16], blocks=[1, 1], stem="strided", norm=norm)
    return build_network(encoder, HEAD, 1, 16, seed=0)


def views(count: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).random((2 * count, 16, 16, 1), dtype=np.float32))


def loss(embeddings: tf.Tensor) -> tf.Tensor:
    return nt_xent(embeddings, 0.2)


def whole_gradients(model, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        embeddings = model(images, training=True)
        value = loss(embeddings)
    return embeddings, tape.gradient(value, model.trainable_variables)


@pytest.mark.parametrize("microbatch", [2, 4, 8])
def test_without_a_batch_in_its_norm_the_gradients_are_the_whole_batch_s(microbatch):
    model, images = network("group"), views(8)
    embeddings, gradients = whole_gradients(model, images)
    cached, found = tf.function(lambda batch: cached_gradients(model, batch, microbatch, loss))(images)
    assert cached.numpy() == pytest.approx(embeddings.numpy(), abs=1e-5)
    for one, other in zip(gradients, found, strict=True):
        assert other.numpy() == pytest.approx(one.numpy(), abs=1e-5)


def test_a_microbatch_of_the_whole_batch_is_the_same_with_batch_norm_too():
    model, images = network("batch"), views(8)
    _, gradients = whole_gradients(model, images)
    _, found = cached_gradients(model, images, 8, loss)
    for one, other in zip(gradients, found, strict=True):
        assert other.numpy() == pytest.approx(one.numpy(), abs=1e-5)


def test_batch_norm_sees_the_microbatch():
    model, images = network("batch"), views(8)
    embeddings, _ = whole_gradients(model, images)
    cached, _ = cached_gradients(model, images, 2, loss)
    assert np.abs(cached.numpy() - embeddings.numpy()).max() > 1e-3


def test_moving_statistics_see_each_microbatch_once():
    once, twice = network("batch"), network("batch")
    images = views(4)
    once(images, training=True)
    cached_gradients(twice, images, 4, loss)
    moving = [
        [
            norm.moving_mean.numpy()
            for norm in model.get_layer("backbone").layers
            if isinstance(norm, FusedBatchNormalization)
        ]
        for model in (once, twice)
    ]
    for one, other in zip(*moving, strict=True):
        assert other == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_run_in_microbatches_ends_where_one_in_whole_batches_does(composed, made_up_split, precision):
    group = (*TINY, "encoder.norm=group", "pretrain.epochs=2")
    images = made_up_split(50)
    one = pretrain(composed(*group).recipe, images, precision)
    other = pretrain(composed(*group, "pretrain.microbatch=4").recipe, images, precision)
    assert weights(other.network) == pytest.approx(weights(one.network), abs=2e-3 if precision == "float32" else 2e-2)
    assert other.history[-1]["loss"] == pytest.approx(
        one.history[-1]["loss"], abs=2e-3 if precision == "float32" else 5e-2
    )


def test_norms_of_the_head_see_the_microbatch_and_each_once():
    """As the encoder's do: without another batch norm, what differs from the whole batch is the head's doing."""
    encoder = EncoderConfig(name="small_resnet", widths=[8, 16], blocks=[1, 1], stem="strided", norm="group")
    head = replace(HEAD, norm="batch")
    whole, parts = (build_network(encoder, head, 1, 16, seed=0) for _ in range(2))
    images = views(8)
    embeddings, gradients = whole_gradients(whole, images)
    cached, found = tf.function(lambda batch: cached_gradients(parts, batch, 8, loss))(images)
    assert cached.numpy() == pytest.approx(embeddings.numpy(), abs=1e-4)
    for one, other in zip(gradients, found, strict=True):
        assert other.numpy() == pytest.approx(one.numpy(), abs=1e-4)
    for name in ("norm_1", "projection_norm"):
        moving = [model.get_layer(name).moving_variance.numpy() for model in (whole, parts)]
        assert moving[1] == pytest.approx(moving[0], abs=1e-6)
        assert np.abs(moving[0] - 1).max() > 1e-4
    cached, _ = cached_gradients(parts, images, 2, loss)
    assert np.abs(cached.numpy() - embeddings.numpy()).max() > 1e-3


def test_a_microbatch_that_does_not_divide_the_batch_is_refused(composed):
    from simclr.foundation.errors import InvalidInput

    with pytest.raises(InvalidInput, match=r"pretrain\.microbatch=5: valid is a divisor of pretrain\.batch_size=16"):
        composed(*TINY, "pretrain.microbatch=5")
