from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from simclr.data import digits

FIRST_TEST_IMAGES = [1, 3, 8, 9, 13, 21, 27, 30]
DIGEST = "5d9e0a332573382f83547ef277eb16ab71e4c887237a6e44eb77b19f31e9f847"


def test_the_digits_are_those_that_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), digits.read()
    np.testing.assert_array_equal(ours.labels, theirs.target)
    np.testing.assert_array_equal(ours.pixels, np.rint(theirs.images * 255 / 16))
    assert ours.pixels.max() == 255


def test_a_scikit_learn_that_keeps_the_file_elsewhere_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = digits.read()
    monkeypatch.setattr("pathlib.Path.exists", lambda _: False)
    np.testing.assert_array_equal(digits.read().pixels, ours.pixels)
    np.testing.assert_array_equal(digits.read().labels, ours.labels)


def test_a_quarter_of_each_class_is_kept_for_the_test() -> None:
    read = digits.read()
    for label in range(10):
        members = read.is_test[read.labels == label]
        assert abs(members.sum() - len(members) / 4) <= 0.5
    assert (~read.is_test).sum() == 1347


def test_the_split_is_the_same_for_good() -> None:
    assert np.flatnonzero(digits.read().is_test)[:8].tolist() == FIRST_TEST_IMAGES
    assert digits.read().digest == DIGEST


def test_reading_the_digits_does_not_import_scikit_learn() -> None:
    program = "import sys, simclr.data.digits as digits; digits.catalogue(); print('sklearn' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_resizing_keeps_the_brightness_and_adds_a_channel() -> None:
    pixels = digits.read().pixels[:20]
    resized = digits.resized(pixels, 16)
    assert (resized.shape, resized.dtype) == ((20, 16, 16, 1), np.uint8)
    np.testing.assert_allclose(resized.mean((1, 2, 3)), pixels.mean((1, 2)), atol=12)


def test_at_their_own_size_the_digits_stay_as_they_are() -> None:
    pixels = digits.read().pixels[:5]
    np.testing.assert_array_equal(digits.resized(pixels, 8)[..., 0], pixels)
