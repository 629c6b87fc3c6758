from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import simclr.training.loss
from simclr.training.loss import (
    EXCLUDED,
    accuracy_of,
    embedding_spread,
    local_loss,
    loss_of,
    nt_xent,
    similarities,
)

Array = Any

shapes = st.tuples(st.integers(1, 5), st.integers(2, 8), st.integers(0, 2**32 - 1))
temperatures = st.floats(0.1, 5.0)


def draw(images: int, dimensions: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(2 * images, dimensions))


def equation_1(embeddings: Array, temperature: float) -> float:
    """SimCLR's equation 1 and the average of Algorithm 1, term by term, in float64."""
    count = len(embeddings)

    def sim(i: int, j: int) -> float:
        u, v = embeddings[i], embeddings[j]
        return float(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))

    def loss(i: int, j: int) -> float:
        others = sum(np.exp(sim(i, k) / temperature) for k in range(count) if k != i)
        return float(-np.log(np.exp(sim(i, j) / temperature) / others))

    half = count // 2
    return sum(loss(i, (i + half) % count) for i in range(count)) / count


def slope(embeddings: Array, temperature: float, step: float = 1e-6) -> Array:
    """The gradient of equation 1 by central differences in float64."""
    result = np.zeros_like(embeddings)
    for index in np.ndindex(embeddings.shape):
        moved = np.zeros_like(embeddings)
        moved[index] = step
        difference = equation_1(embeddings + moved, temperature) - equation_1(embeddings - moved, temperature)
        result[index] = difference / (2 * step)
    return result


def value_and_gradient(embeddings: Any, temperature: float) -> tuple[Array, Array]:
    tensor = tf.convert_to_tensor(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = nt_xent(tensor, temperature)
    return loss.numpy(), tf.cast(tape.gradient(loss, tensor), tf.float32).numpy()


@settings(deadline=None, max_examples=50)
@given(shapes, temperatures)
def test_the_loss_is_the_papers_equation(shape: tuple[int, int, int], temperature: float) -> None:
    embeddings = draw(*shape)
    expected = equation_1(embeddings, temperature)
    assert float(nt_xent(embeddings.astype("float32"), temperature)) == pytest.approx(expected, rel=1e-6, abs=2e-6)


@settings(deadline=None, max_examples=15)
@given(shapes, temperatures)
def test_its_gradient_is_the_slope_of_the_papers_equation(shape: tuple[int, int, int], temperature: float) -> None:
    embeddings = draw(*shape)
    # A short row has a steep slope, for the loss depends on directions only.
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    _, gradient = value_and_gradient(embeddings.astype("float32"), temperature)
    np.testing.assert_allclose(gradient, slope(embeddings, temperature), atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(shapes, temperatures)
def test_swapping_the_two_views_changes_nothing(shape: tuple[int, int, int], temperature: float) -> None:
    embeddings = draw(*shape).astype("float32")
    swapped = np.roll(embeddings, len(embeddings) // 2, axis=0)
    np.testing.assert_allclose(nt_xent(swapped, temperature), nt_xent(embeddings, temperature), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(shapes, temperatures, st.floats(-6, 6))
def test_the_length_of_the_embeddings_changes_nothing(
    shape: tuple[int, int, int], temperature: float, exponent: float
) -> None:
    embeddings = draw(*shape).astype("float32")
    scaled = (embeddings * 10**exponent).astype("float32")
    np.testing.assert_allclose(nt_xent(scaled, temperature), nt_xent(embeddings, temperature), rtol=1e-5, atol=1e-6)


def test_one_image_has_nothing_to_be_told_from() -> None:
    loss, gradient = value_and_gradient(np.array([[1.0, 2.0], [-3.0, 0.5]], "float32"), 0.1)
    assert loss == 0
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_two_images_with_orthogonal_embeddings() -> None:
    # Each anchor has its positive at cosine 1 and two negatives at cosine 0.
    embeddings = np.array([[1, 0], [0, 1], [2, 0], [0, 5]], "float32")
    expected = np.log(1 + 2 * np.exp(-1 / 0.5))
    assert float(nt_xent(embeddings, 0.5)) == pytest.approx(expected, rel=1e-6)
    assert float(accuracy_of(similarities(embeddings))) == 1


def test_views_in_neighbouring_rows_are_not_taken_for_pairs() -> None:
    interleaved = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], "float32")
    assert float(accuracy_of(similarities(interleaved))) == 0


def test_the_accuracy_is_the_share_of_anchors_nearest_to_their_positive() -> None:
    degrees = np.radians([0, 90, 5, 20])  # the last row's positive is at 90, the one at 5 is nearer
    embeddings = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype("float32")
    assert float(accuracy_of(similarities(embeddings))) == 0.75


def test_a_collapsed_representation_is_no_better_than_chance() -> None:
    embeddings = np.ones((16, 4), "float32")
    assert float(nt_xent(embeddings, 0.1)) == pytest.approx(np.log(15), rel=1e-6)
    assert float(accuracy_of(similarities(embeddings))) <= 1 / 8


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_value_and_gradient_are_finite_in_every_precision(dtype: str, temperature: float) -> None:
    loss, gradient = value_and_gradient(tf.cast(draw(8, 16, 0), dtype), temperature)
    assert loss.dtype == np.float32
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_embeddings_cost_only_their_own_rounding(dtype: str) -> None:
    rounded = tf.cast(draw(8, 16, 0), dtype)
    np.testing.assert_allclose(nt_xent(rounded, 0.1), nt_xent(tf.cast(rounded, "float32"), 0.1), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("zeros", [1, 16])
def test_embeddings_of_zero_have_a_finite_loss_and_no_gradient(dtype: str, zeros: int) -> None:
    embeddings = draw(8, 4, 0)
    embeddings[:zeros] = 0
    loss, gradient = value_and_gradient(tf.cast(embeddings, dtype), 0.01)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert not gradient[:zeros].any()


def test_embeddings_that_are_not_a_number_show_in_the_loss() -> None:
    embeddings = draw(4, 4, 0)
    embeddings[2, 1] = np.nan
    assert np.isnan(nt_xent(embeddings, 0.5))


def test_the_loss_is_read_from_the_matrix_that_the_accuracy_is_read_from() -> None:
    embeddings = draw(6, 5, 3).astype("float32")
    matrix = similarities(embeddings)
    assert matrix.shape == (12, 12)
    assert (np.diag(matrix) == np.float32(EXCLUDED)).all()
    assert float(loss_of(matrix, 0.3)) == float(nt_xent(embeddings, 0.3))


def test_an_odd_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="two views"):
        nt_xent(np.ones((3, 2), "float32"), 0.1)


def test_the_loss_compiles_under_xla() -> None:
    embeddings = tf.constant(draw(8, 16, 1), tf.float32)

    @tf.function(jit_compile=True)
    def compiled(rows: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            loss = nt_xent(rows, 0.2)
        return loss, tape.gradient(loss, rows), accuracy_of(similarities(rows)), embedding_spread(rows)

    loss, gradient, accuracy, spread = compiled(embeddings)
    expected_loss, expected_gradient = value_and_gradient(embeddings, 0.2)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)
    np.testing.assert_allclose(accuracy, accuracy_of(similarities(embeddings)))
    np.testing.assert_allclose(spread, embedding_spread(embeddings), rtol=1e-5)


def test_a_batch_whose_size_is_not_known_beforehand_has_the_same_loss() -> None:
    traced = tf.function(nt_xent, input_signature=[tf.TensorSpec((None, 5)), tf.TensorSpec(())])
    embeddings = draw(4, 5, 2).astype("float32")
    np.testing.assert_allclose(traced(embeddings, 0.2), nt_xent(embeddings, 0.2), rtol=1e-6)


def test_the_spread_is_one_for_isotropic_and_zero_for_collapsed_embeddings() -> None:
    assert float(embedding_spread(draw(2000, 32, 0))) == pytest.approx(1, abs=0.02)
    assert float(embedding_spread(np.ones((8, 4), "float32"))) == pytest.approx(0, abs=1e-3)
    assert float(embedding_spread(np.zeros((8, 4), "float32"))) == 0


def test_the_documentations_example_runs() -> None:
    assert doctest.testmod(simclr.training.loss) == (0, 5)


@given(shapes, temperatures, st.integers(1, 4))
def test_local_views_are_anchors_against_both_views_and_all_other_images(shape, temperature, views):
    images, dimensions, seed = shape
    embeddings = draw(images, dimensions, seed)
    local = np.random.default_rng(seed + 1).normal(size=(views * images, dimensions))

    def unit(rows: Array) -> Array:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    odds = np.exp(unit(local) @ unit(embeddings).T / temperature)
    terms = []
    for anchor, row in enumerate(odds):
        own = [anchor % images, anchor % images + images]
        others = np.delete(row, own).sum()
        terms += [-np.log(row[p] / (row[p] + others)) for p in own]
    assert float(local_loss(local, embeddings, temperature)) == pytest.approx(np.mean(terms), rel=1e-4, abs=1e-5)
