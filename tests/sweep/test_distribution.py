"""Each distribution against its definition in W&B's documentation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simclr.sweep.distribution import (
    Beta,
    Categorical,
    Constant,
    IntUniform,
    LogNormal,
    LogUniform,
    Normal,
    Rounded,
    Uniform,
    ends,
    is_whole,
    values,
)

UNIFORM = np.random.default_rng(7).uniform(size=4_000)

CONTINUOUS = [
    (Uniform(-2, 3), stats.uniform(-2, 5)),
    (LogUniform(1e-4, 10), stats.loguniform(1e-4, 10)),
    (Normal(3, 0.5), stats.norm(3, 0.5)),
    (LogNormal(-1, 0.7), stats.lognorm(s=0.7, scale=np.exp(-1))),
    (Beta(2, 5), stats.beta(2, 5)),
]


@pytest.mark.parametrize(("distribution", "defined"), CONTINUOUS)
def test_a_continuous_distribution_is_sampled_as_it_is_defined(distribution, defined):
    sampled = [distribution.at(uniform) for uniform in UNIFORM]
    assert stats.kstest(sampled, defined.cdf).pvalue > 0.01
    assert distribution.at(0.3) == pytest.approx(defined.ppf(0.3))


@pytest.mark.parametrize(("distribution", "defined"), CONTINUOUS)
@pytest.mark.parametrize("q", [0.25, 1, 2.0])
def test_a_rounded_one_is_the_nearest_multiple(distribution, defined, q):
    for uniform in UNIFORM[:200]:
        rounded, exact = Rounded(distribution, q).at(uniform), distribution.at(uniform)
        assert rounded == pytest.approx(np.round(exact / q) * q)
        assert isinstance(rounded, int) is (q in (1, 2.0))


def test_the_inverse_of_a_log_uniform_number_is_log_uniform():
    sampled = [1 / LogUniform(0.01, 5).at(uniform) for uniform in UNIFORM]
    assert stats.kstest(np.log(sampled), stats.uniform(-np.log(5), np.log(5) - np.log(0.01)).cdf).pvalue > 0.01


def test_whole_numbers_are_equally_probable_with_both_ends():
    sampled = [IntUniform(3, 7).at(uniform) for uniform in UNIFORM]
    assert set(sampled) == {3, 4, 5, 6, 7}
    assert stats.chisquare(np.bincount(sampled)[3:]).pvalue > 0.01


def test_values_have_their_probabilities():
    sampled = [Categorical(("a", "b", "c", "d"), (0.1, 0.0, 0.6, 0.3)).at(uniform) for uniform in UNIFORM]
    counts = [sampled.count(value) for value in "acd"]
    assert "b" not in sampled
    assert stats.chisquare(counts, len(sampled) * np.array([0.1, 0.6, 0.3])).pvalue > 0.01
    even = [Categorical(("a", "b")).at(uniform) for uniform in UNIFORM]
    assert stats.binomtest(even.count("a"), len(even)).pvalue > 0.01


ANY = st.one_of(
    st.builds(Constant, st.integers()),
    st.builds(IntUniform, st.integers(-5, 0), st.integers(0, 5)),
    st.builds(Uniform, st.floats(-5, 0), st.floats(0, 5)),
    st.builds(LogUniform, st.floats(1e-6, 1), st.floats(1, 1e6)),
    st.builds(Categorical, st.lists(st.text(), min_size=1).map(tuple)),
)


@given(ANY, st.floats(0, 1))
def test_what_comes_out_lies_between_the_ends(distribution, uniform):
    value, limits = distribution.at(uniform), ends(distribution)
    assert value in limits if isinstance(distribution, Categorical) else limits[0] <= value <= limits[-1]


def test_the_ends_of_the_unit_interval_are_numbers_too():
    for distribution, _ in CONTINUOUS:
        assert np.isfinite([distribution.at(0.0), distribution.at(1.0)]).all()


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (Constant(3), [3]),
        (Categorical(("a", None)), ["a", None]),
        (IntUniform(2, 4), [2, 3, 4]),
        (Rounded(Uniform(0, 1), 0.25), [0, 0.25, 0.5, 0.75]),
        (Rounded(Uniform(1, 4), 1.0), [1, 2, 3]),
        (Uniform(0, 1), None),
        (Rounded(Normal(0, 1), 1), None),
        (Categorical(("a", "b"), (0.5, 0.5)), None),
    ],
)
def test_a_grid_goes_through_what_wandbs_grid_goes_through(distribution, expected):
    assert values(distribution) == expected


def test_which_are_whole_numbers():
    assert is_whole(IntUniform(1, 2))
    assert is_whole(Rounded(Uniform(1, 9), 2.0))
    assert not is_whole(Rounded(Uniform(1, 9), 0.5))
    assert not is_whole(Uniform(1, 9))
