from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from simclr.training.randomness import normal, uniform

WHOLE = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """The published algorithm's output for a state that was advanced, in Python's integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WHOLE
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WHOLE
    return state ^ (state >> 31)


@pytest.mark.parametrize("key", [(0, 0), (7, 3), (2**31 - 1, 123_456_789), (1, 2, 1)])
def test_the_numbers_are_those_of_splitmix64(key: tuple[int, ...]) -> None:
    golden, state = 0x9E3779B97F4A7C15, 0
    for part in key:
        state = splitmix64((state + golden + part) & WHOLE)
    expected = [(splitmix64((state + count * golden) & WHOLE) >> 40) / 2**24 for count in range(1, 9)]
    assert uniform(key, (2, 4)).numpy().ravel().tolist() == expected


def test_the_first_output_is_the_one_published_for_the_seed_zero() -> None:
    assert splitmix64(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("key", [(0, 0), (0, 1), (1, 0), (5, 1000)])
def test_numbers_are_distributed_as_they_say(key: tuple[int, int]) -> None:
    assert stats.kstest(uniform(key, (50, 400)).numpy().ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal(key, (50, 400)).numpy().ravel(), "norm").pvalue > 1e-3


def test_numbers_stay_inside_their_interval() -> None:
    drawn = uniform((0, 0), (1000, 1000)).numpy()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.isfinite(normal((0, 0), (1001,)).numpy()).all()


def test_seeds_steps_rows_and_columns_are_independent() -> None:
    count = 400
    drawn = np.stack([uniform((seed, step), (20, 20)).numpy().ravel() for seed in range(10) for step in range(10)])
    # The largest of the correlations of 100 streams of 400 numbers; each has a standard deviation of 1 / sqrt(400).
    correlation = np.corrcoef(drawn)
    np.fill_diagonal(correlation, 0)
    assert abs(correlation).max() < 5 / np.sqrt(count)
    assert stats.kstest(drawn[:, 0], "uniform").pvalue > 1e-3  # the same position over seeds and steps


@pytest.mark.parametrize("draw", [uniform, normal])
def test_xla_draws_the_same(draw: object) -> None:
    def drawn(step: tf.Tensor) -> tf.Tensor:
        return draw((3, step), (16, 25))  # type: ignore[operator]

    step = tf.constant(11, tf.int64)
    np.testing.assert_allclose(tf.function(drawn, jit_compile=True)(step), tf.function(drawn)(step), atol=1e-5)
