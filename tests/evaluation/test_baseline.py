"""What needs no pretraining is measured once and kept."""

from __future__ import annotations

import numpy as np
import pytest

from simclr.data import Images
from simclr.data.content import Content
from simclr.evaluation import baseline
from simclr.evaluation.finetune import FineTuning

QUICK = (
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "pretrain.precision=float32",
    "probe.epochs=2",
    "probe.stops=1",
    "probe.folds=2",
    "probe.batch_size=8",
    "probe.learning_rates=[0.01]",
)
SUBSETS = [np.arange(0, 24), np.arange(24, 48)]


@pytest.fixture(scope="module")
def images(made_up_split):
    return Images(("below", "above"), Content("d" * 64), made_up_split(48), made_up_split(30), made_up_split(0))


@pytest.fixture
def trained(monkeypatch):
    """The subsets that a network was trained with, as first positions, in order."""
    calls = []
    original = FineTuning.__call__

    def counted(self, subset):
        calls.append(int(subset[0]))
        return original(self, subset)

    monkeypatch.setattr(FineTuning, "__call__", counted)
    return calls


def measured(config, images, layer="encoder", subsets=SUBSETS):
    said = []
    asked = baseline.Comparison(config.root, config.recipe, config.probe, images, subsets, said.append)
    return baseline.supervised_baseline(asked, layer), said


def kept(root):
    return sorted(path.name for path in (root / "baselines").iterdir() if not path.name.startswith("."))


@pytest.fixture(scope="module")
def first(composed, images, tmp_path_factory):
    """A baseline that was measured, and the root below which it is kept."""
    root = tmp_path_factory.mktemp("runs")
    return measured(composed(*QUICK, f"root={root}"), images)[0], root


def test_it_is_a_record_like_a_probes_with_an_accuracy_for_each_subset(first):
    evaluation, _ = first
    assert evaluation.predictions.shape == (2, 30)
    accuracy = evaluation.record["test_accuracy"]
    assert len(accuracy["values"]) == 2
    assert accuracy["ci95"][0] <= accuracy["mean"] <= accuracy["ci95"][1]


@pytest.mark.parametrize(
    "override",
    [
        "pretrain.temperature=0.5",
        "pretrain.epochs=7",
        "head=none",
        "augment.brightness=0.9",
        "augment.crop_fit=redrawn",
        "augment.blur_draw=uniform",
        "optimizer=sgd",
        "probe.layer=-4",
    ],
)
def test_cells_that_share_data_labels_and_encoder_share_it(first, images, composed, trained, override):
    evaluation, root = first
    again, said = measured(composed(*QUICK, override, f"root={root}"), images)
    assert trained == []
    assert said == []
    assert again.record == evaluation.record
    assert (again.predictions == evaluation.predictions).all()


def test_another_encoder_seed_training_or_layer_is_measured_by_itself(composed, images, tmp_path, monkeypatch):
    monkeypatch.setattr(FineTuning, "__init__", lambda self, *_: None)
    nothing = baseline.Fitted(np.zeros(24, int), np.zeros(30, int), None)
    monkeypatch.setattr(FineTuning, "__call__", lambda self, subset: nothing)
    root = f"root={tmp_path}"
    for override in ("seed=0", "encoder.widths=[8,16]", "seed=1", "probe.epochs=3", "augment.rotation=3"):
        measured(composed(*QUICK, override, root), images)
    assert len(kept(tmp_path)) == 5
    for head, layer, so_far in (
        ("two_relu", "relu_1", 6),
        ("one_relu", "relu_1", 6),  # the same network up to there
        ("one_relu", "projection", 7),
        ("two_relu", "stage_1", 8),
        ("none", "stage_1", 8),
    ):
        measured(composed(*QUICK, f"head={head}", root), images, layer)
        assert len(kept(tmp_path)) == so_far


def test_one_that_was_measured_before_crops_were_redrawn_is_found_again(composed, images, tmp_path, monkeypatch):
    identities = []
    monkeypatch.setattr(baseline, "_once", lambda *given: identities.append(given[2]["augment"]))
    for crop in ("clipped", "redrawn"):
        measured(composed(*QUICK, "augment=simclr", f"augment.crop_fit={crop}", f"root={tmp_path}"), images)
    before, now = identities
    assert "crop_aspect" in before
    assert not {"crop_fit", "blur_draw"} & set(before)
    assert now == {**before, "crop_fit": "redrawn"}


def test_one_that_is_stopped_goes_on_with_the_next_subset_to_the_same_answers(
    first, images, composed, tmp_path, monkeypatch
):
    original, config = FineTuning.__call__, composed(*QUICK, f"root={tmp_path}")
    trained = []

    def interrupted(self, subset):
        if trained == [0]:
            raise KeyboardInterrupt
        trained.append(int(subset[0]))
        return original(self, subset)

    with monkeypatch.context() as patched:
        patched.setattr(FineTuning, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measured(config, images)
    assert not list(tmp_path.glob("baselines/*/manifest.json"))

    evaluation, said = measured(config, images)
    assert len(said) == 1
    assert said[0].endswith("24 labels: subset 2 of 2")
    assert evaluation.record == first[0].record
    (folder,) = (tmp_path / "baselines").glob("[!.]*")
    assert {file.name for file in folder.iterdir()} == {"manifest.json", "record.json", "predictions.npz"}


def test_one_that_is_damaged_is_set_aside_and_measured_again(composed, images, tmp_path, monkeypatch):
    monkeypatch.setattr(FineTuning, "__init__", lambda self, *_: None)
    nothing = baseline.Fitted(np.zeros(24, int), np.zeros(30, int), 0.5)
    monkeypatch.setattr(FineTuning, "__call__", lambda self, subset: nothing)
    config = composed(*QUICK, f"root={tmp_path}")
    measured(config, images)
    (folder,) = (tmp_path / "baselines").glob("[!.]*")
    (folder / "record.json").write_text("{}")
    evaluation, said = measured(config, images)
    assert "set aside" in said[0]
    assert evaluation.record["validation_accuracy"]["values"] == [0.5, 0.5]
