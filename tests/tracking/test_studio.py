"""The process that draws: the same pictures as here, and no harm where it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from simclr.tracking import pictures
from simclr.tracking.studio import Drawing, Studio

VIEWS = np.random.default_rng(0).uniform(size=(3, 2, 8, 8, 3))
HISTORY = [{"loss": 2.0, "contrastive_accuracy": 0.5, "monitor/knn_accuracy": float("nan")}]


@pytest.fixture
def studio() -> Iterator[Studio]:
    one = Studio()
    yield one
    one.close()


def test_pictures_are_those_that_would_be_drawn_here(studio: Studio) -> None:
    studio.draw({"a/views": Drawing("view_grid", {"views": VIEWS})})
    studio.draw({"loss": Drawing("loss_curve", facts={"history": HISTORY})})
    drawn, errors = studio.collect()
    assert errors == {}
    assert sorted(drawn) == ["a/views", "loss"]
    assert (drawn["a/views"] == pictures.view_grid(VIEWS)).all()
    assert (drawn["loss"] == pictures.loss_curve(HISTORY)).all()
    assert studio.collect() == ({}, {})


def test_one_that_cannot_be_drawn_does_not_take_the_others_along(studio: Studio) -> None:
    good = Drawing("view_grid", {"views": VIEWS})
    studio.draw({"bad": Drawing("confusion", facts={"counts": "none", "classes": []}), "good": good})
    studio.draw({"unknown": Drawing("system", facts={"command": "true"})})
    drawn, errors = studio.collect()
    assert list(drawn) == ["good"]
    assert sorted(errors) == ["bad", "unknown"]
    assert "there is no such picture" in errors["unknown"]


def test_a_process_that_dies_is_an_error_and_not_a_hang(studio: Studio) -> None:
    studio.open()
    assert studio._process is not None
    os.kill(studio._process.pid, signal.SIGKILL)
    studio._process.wait()
    with pytest.raises((EOFError, OSError)):
        studio.draw({"views": Drawing("view_grid", {"views": VIEWS})})
        studio.collect()


def test_more_than_a_pipe_holds_goes_both_ways(studio: Studio) -> None:
    many = np.zeros((64, 2, 64, 64, 3))
    for name in ("first", "second"):
        studio.draw({name: Drawing("view_grid", {"views": many})})
    drawn, _ = studio.collect()
    assert sorted(drawn) == ["first", "second"]


def test_it_ends_with_the_one_who_asks(studio: Studio) -> None:
    studio.open()
    process = studio._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0
