"""What watches a pretraining."""

from __future__ import annotations

import csv
import logging
import math
from functools import partial

import numpy as np
import pytest

from simclr.config import LossConfig
from simclr.evaluation.monitor import NeighbourMonitor
from simclr.foundation.errors import RunFailed
from simclr.training.callbacks import EpochFacts, ShowHistory, StopOnCollapse, StopOnNonFiniteLoss, write_history
from simclr.training.loss import chance
from simclr.training.pretrain import pretrain
from tests.training.test_pretrain import TINY

CHANCE = chance(LossConfig(), batch_size=16)


def test_a_loss_that_is_not_finite_ends_the_run_at_once_and_says_what_to_try(composed, made_up_split):
    config = composed(*TINY, "optimizer=sgd", "optimizer.learning_rate=1000", "optimizer.decay_steps=null")
    config.optimizer.learning_rate = float("inf")  # no learning rate that the schema lets through fails as surely
    watch = StopOnNonFiniteLoss(1000, 0.2, "mixed_bfloat16")
    with pytest.raises(RunFailed, match="the loss became nan at epoch 1, step [23]: try a lower optimizer.learning_r"):
        pretrain(config.recipe, made_up_split(50), "float32", [watch])


@pytest.mark.parametrize(("precision", "mentioned"), [("float32", False), ("mixed_float16", True)])
def test_float32_is_only_advised_where_it_is_not_in_use(precision, mentioned):
    stops = StopOnNonFiniteLoss(0.1, 0.2, precision)
    stops.set_params({"steps": 3})
    with pytest.raises(RunFailed) as caught:
        stops.on_train_batch_end(0, {"loss": math.inf})
    assert ("pretrain.precision=float32" in str(caught.value)) is mentioned


def test_a_collapse_is_told_once(caplog):
    watch = StopOnCollapse(0, CHANCE)
    with caplog.at_level(logging.WARNING):
        for epoch in range(3):
            watch.on_epoch_end(epoch, {"spread": 0.001})
    assert [record.getMessage()[:33] for record in caplog.records] == ["the representation has collapsed:"]


def test_a_network_that_cannot_tell_images_apart_is_called_collapsed(composed, made_up_split, caplog):
    same = made_up_split(32)
    identical = type(same)(np.zeros_like(same.pixels), same.labels, same.aspect, same.paths)
    config = composed(*TINY, "augment.noise=0", "augment.brightness=0")
    with caplog.at_level(logging.WARNING):
        pretrain(config.recipe, identical, "float32", [StopOnCollapse(0, CHANCE)])
    assert "collapsed" in caplog.text


def test_a_network_that_stays_collapsed_ends_the_run_and_says_what_to_try(composed, made_up_split):
    same = made_up_split(32)
    identical = type(same)(np.zeros_like(same.pixels), same.labels, same.aspect, same.paths)
    config = composed(*TINY, "augment.noise=0", "augment.brightness=0")
    with pytest.raises(RunFailed, match=r"collapsed for 2 epochs \(at epoch 2 .* try a lower learning rate"):
        pretrain(config.recipe, identical, "float32", [StopOnCollapse(2, CHANCE)])


@pytest.mark.parametrize("weighted", ["loss.weighted=false", "loss.weighted=true"])
def test_the_chance_that_a_collapse_is_told_by_is_the_losss_own(composed, made_up_split, weighted):
    two = made_up_split(4)  # of two images a batch, ln 3 for NT-Xent and ln 2 for the decoupled loss
    identical = type(two)(np.zeros_like(two.pixels), two.labels, two.aspect, two.paths)
    still = ("pretrain.batch_size=2", "augment.noise=0", "augment.brightness=0", "loss=dcl", weighted)
    config = composed(*TINY, *still)
    with pytest.raises(RunFailed, match=r"collapsed for 2 epochs .*; chance is 0\.693"):
        pretrain(config.recipe, identical, "float32", [StopOnCollapse(2, chance(config.loss, 2))])
    pretrain(config.recipe, identical, "float32", [StopOnCollapse(2, chance(LossConfig(), 2))])


COLLAPSED, STARTING, LEARNING = (
    {"spread": 0.01, "loss": CHANCE},
    {"spread": 0.3, "loss": CHANCE},
    {"spread": 0.01, "loss": 0.9 * CHANCE},
)


@pytest.mark.parametrize("other", [STARTING, LEARNING], ids=["spread", "below chance"])
def test_a_network_that_recovers_is_left_alone(other):
    watch = StopOnCollapse(3, CHANCE)
    for epoch, logs in enumerate([COLLAPSED, COLLAPSED, other] * 4):
        watch.on_epoch_end(epoch, logs)


def test_epochs_of_earlier_attempts_count_as_collapsed_too():
    watch = StopOnCollapse(3, CHANCE, [STARTING, COLLAPSED, COLLAPSED])
    with pytest.raises(RunFailed, match="for 3 epochs"):
        watch.on_epoch_end(3, COLLAPSED)


def test_a_collapsed_run_goes_on_where_that_is_wanted():
    watch = StopOnCollapse(0, CHANCE)
    for epoch in range(100):
        watch.on_epoch_end(epoch, COLLAPSED)


def test_a_healthy_run_is_not_called_collapsed(composed, made_up_split, caplog):
    with caplog.at_level(logging.WARNING):
        pretrain(composed(*TINY).recipe, made_up_split(50), "float32", [StopOnCollapse(1, CHANCE)])
    assert caplog.text == ""


def test_the_history_file_has_a_row_an_epoch_with_all_facts(composed, made_up_split, tmp_path):
    images = made_up_split(50)
    watching = [
        EpochFacts(16),
        NeighbourMonitor(images, every=2, epochs=3, centre=False, seed=0),
        ShowHistory([partial(write_history, tmp_path / "history.csv")]),
    ]
    done = pretrain(composed(*TINY).recipe, images, "float32", watching)
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) == pytest.approx(done.history[-1]["loss"])
    assert float(rows[0]["learning_rate"]) > float(rows[1]["learning_rate"]) > 0
    assert done.history[0]["images_per_second"] > 0
    assert "images_per_second" not in rows[0], "a run's file is the same to the byte each time"
    looked = [math.isfinite(float(row["monitor/knn_accuracy"])) for row in rows]
    assert looked == [False, True, True]


def test_the_online_probe_sees_classes_that_are_plain_to_see(composed, made_up_split):
    images = made_up_split(200)
    monitor = NeighbourMonitor(images, every=3, epochs=3, centre=False, seed=0)
    done = pretrain(composed(*TINY).recipe, images, "float32", [monitor])
    assert done.history[-1]["monitor/knn_accuracy"] > 0.9


def test_the_online_probe_asks_about_other_images_than_it_knows(made_up_split):
    monitor = NeighbourMonitor(made_up_split(100), every=1, epochs=1, centre=False, seed=0)
    assert len(monitor._queries) == 20
    assert not set(monitor._queries) & set(monitor._bank)
