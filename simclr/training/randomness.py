"""Random numbers that are a function of (seed, step, position), the same on every device and under every compiler.

TensorFlow's stateless numbers are so only as long as XLA does not compile them: it draws others. These are the outputs
of SplitMix64 (Steele, Lea and Flood 2014) at a counter, in integer arithmetic, which compiles to the same anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

_STEP, _FIRST, _SECOND = (value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""SplitMix64's constants as signed numbers: not every device multiplies unsigned ones."""


def uniform(key: Sequence[int | tf.Tensor], shape: tuple[int, ...]) -> tf.Tensor:
    """Numbers from the 2^24 evenly spaced ones in [0, 1): ``shape``, which is static, float32.

    ``key`` are integers, scalars; other ones give independent numbers.
    """
    state = tf.constant(0, tf.int64)
    for part in key:
        state = _mix(state + _STEP + tf.cast(part, tf.int64))
    counter = tf.range(1, math.prod(shape) + 1, dtype=tf.int64)
    bits = _shifted(_mix(state + counter * _STEP), 40)
    return tf.reshape(tf.cast(bits, tf.float32) * 2.0**-24, shape)


def normal(key: Sequence[int | tf.Tensor], shape: tuple[int, ...]) -> tf.Tensor:
    """Numbers of the standard normal distribution (Box and Muller 1958), from two of :func:`uniform` a pair."""
    count = math.prod(shape)
    pairs = (count + 1) // 2
    length, angle = tf.unstack(uniform(key, (2, pairs)))
    radius = tf.sqrt(-2 * tf.math.log(1 - length))
    turn = 2 * math.pi * angle
    return tf.reshape(tf.concat([radius * tf.cos(turn), radius * tf.sin(turn)], axis=0)[:count], shape)


def around_zero(draw: tf.Tensor, reach: float) -> tf.Tensor:
    """Numbers from [0, 1) spread evenly over [-reach, reach)."""
    return reach * (2 * draw - 1)


def between(draw: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Numbers from [0, 1) spread evenly over [low, high)."""
    return low + draw * (high - low)


def log_between(draw: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Numbers from [0, 1) spread over [low, high), their logarithms evenly."""
    return tf.exp(between(draw, math.log(low), math.log(high)))


def _mix(state: tf.Tensor) -> tf.Tensor:
    """SplitMix64's output function: 64 bits in, 64 bits out, each of which depends on all."""
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return state ^ _shifted(state, 31)


def _shifted(state: tf.Tensor, places: int) -> tf.Tensor:
    """Bits moved to the right, zeros coming in: of a signed number the sign would."""
    return tf.bitwise.right_shift(state, tf.constant(places, tf.int64)) & ((1 << (64 - places)) - 1)
