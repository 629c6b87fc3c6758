"""One cell from configuration to record, in this process, on real images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simclr import experiment
from simclr.config.cell import ImpossibleCell, describe
from simclr.foundation.errors import InvalidInput, RunFailed
from simclr.foundation.work import holder
from simclr.records import result

QUICK = ("pretrain.epochs=2", "encoder.widths=[8,12]", "encoder.blocks=[1,1]", "probe.subsets=2")


@pytest.fixture(scope="module")
def cell(composed, tmp_path_factory):
    """A quick cell, finished: its record and the folder below which everything lies."""
    root = tmp_path_factory.mktemp("runs")
    return experiment.run(composed(*QUICK, "probe.layer=-4", f"root={root}")), root


@pytest.fixture
def photographs(tmp_path):
    """A folder of small photographs of two classes, of all sorts."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name, shade in (("bright ones", 170), ("dark ones", 20)):
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(shade, shade + 80, (30 + number, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photographs"


def test_the_record_has_every_field_of_the_schema(cell):
    record = json.loads(Path(cell[0]["path"]).read_text())
    assert record["schema"] == 1
    assert record["status"] == "finished"
    assert record["error"] is None
    assert record["cell"] == {
        "data": "digits",
        "transfer": None,
        "encoder": "small_cnn",
        "head": "two_relu",
        "probe": "linear",
        "layer": {"index": -4, "name": "relu_1", "width": 256},
        "seed": 0,
        "label_fraction": 0.1,
    }
    for name in ("key", "reused", "epochs", "steps", "seconds", "images_per_second", "loss", "contrastive_accuracy"):
        assert record["pretraining"][name] is not None
    for accuracy in (record["probe"]["test_accuracy"], *record["baselines"].values()):
        assert len(accuracy["values"]) == 2
        assert accuracy["ci95"][0] <= accuracy["mean"] <= accuracy["ci95"][1]
        assert accuracy["std"] >= 0
    assert set(record["baselines"]) == {"pixels", "untrained"}
    assert set(record["representation"]) == {"alignment", "uniformity", "effective_rank", "knn_accuracy"}
    assert np.shape(record["probe"]["confusion"]) == (10, 10)
    assert np.sum(record["probe"]["confusion"]) == 2 * 450
    assert record["probe"]["classes"] == [str(digit) for digit in range(10)]
    assert set(record["versions"]) == {"python", "tensorflow", "keras", "numpy", "simclr"}
    assert record["pretraining"]["threads"] == record["host"]["threads"]
    assert set(record["host"]) == {"cpus", "gpus", "memory_gib", "threads", "replicas"}
    assert (record["data"]["train"], record["data"]["test"], record["data"]["ignored"]) == (1347, 450, 0)
    assert record["started"] <= record["finished"]
    assert record["finished"].endswith("+00:00")
    assert record["seconds"] > record["pretraining"]["seconds"]


def test_everything_lies_where_it_is_expected(cell):
    record, root = cell
    folder = Path(record["path"]).parent
    assert folder == root / "results" / record["name"]
    assert {file.name for file in folder.iterdir()} == {"result.json", "config.yaml", "predictions.npz"}
    pretrained = root / "pretrained" / record["pretraining"]["key"]
    kept = {"network.npz", "history.csv", "config.yaml", "manifest.json", "features"}
    assert {file.name for file in pretrained.iterdir()} == kept
    assert {entry.name for entry in root.iterdir()} <= {"results", "pretrained", "data", "baselines"}


def test_predictions_are_kept_and_give_the_accuracies(cell):
    record = cell[0]
    kept = np.load(Path(record["path"]).parent / "predictions.npz", allow_pickle=False)
    hits = (kept["trained"] == kept["labels"]).mean(axis=1)
    assert hits.tolist() == pytest.approx(record["probe"]["test_accuracy"]["values"])


def test_it_can_be_read_back_as_a_table(cell):
    frame = result.load(cell[1])
    assert frame["probe.test_accuracy.mean"].between(0.3, 1).all()


def test_another_layer_of_the_same_network_is_compared_on_the_same_labels_and_pixels(cell, composed):
    record, root = cell
    other = experiment.run(composed(*QUICK, "probe.layer=stage_1", f"root={root}"))
    assert other["pretraining"]["key"] == record["pretraining"]["key"]
    assert other["pretraining"]["loss"] == record["pretraining"]["loss"]
    assert other["baselines"]["pixels"] == record["baselines"]["pixels"]
    assert other["probe"]["test_accuracy"] != record["probe"]["test_accuracy"]
    assert other["path"] != record["path"]


@pytest.mark.parametrize("probe", ["knn", pytest.param("documents", marks=pytest.mark.slow)])
def test_every_probe_makes_a_record(composed, tmp_path, probe):
    record = experiment.run(composed(*QUICK, f"probe={probe}", "pretrain.epochs=1", f"root={tmp_path}"))
    assert record["cell"]["probe"] == probe
    assert len(record["probe"]["test_accuracy"]["values"]) == 2


LABELLED = ("probe.epochs=2", "probe.stops=1", "probe.folds=2", "probe.learning_rates=[0.003]")


@pytest.fixture(scope="module")
def fine_tuned(composed, cell):
    """The same pretraining fine-tuned, with all baselines, below the same root."""
    return experiment.run(
        composed(*QUICK, *LABELLED, "probe=finetune", "probe.layer=-4", "baselines=true", f"root={cell[1]}")
    )


def test_a_fine_tuned_cell_has_the_record_of_any_probe(cell, fine_tuned):
    frozen = cell[0]
    assert fine_tuned["status"] == "finished"
    assert fine_tuned["cell"]["probe"] == "finetune"
    assert fine_tuned["pretraining"]["reused"]
    assert fine_tuned["pretraining"]["key"] == frozen["pretraining"]["key"]
    assert set(fine_tuned["probe"]) == set(frozen["probe"])
    for part in ("test_accuracy", "validation_accuracy", "train_accuracy"):
        assert len(fine_tuned["probe"][part]["values"]) == 2
        assert 0 < fine_tuned["probe"][part]["mean"] <= 1
    assert np.sum(fine_tuned["probe"]["confusion"]) == 2 * 450
    assert fine_tuned["baselines"]["pixels"] == frozen["baselines"]["pixels"]
    assert fine_tuned["baselines"]["untrained"] != frozen["baselines"]["untrained"]
    assert fine_tuned["representation"] == frozen["representation"]
    with np.load(Path(fine_tuned["path"]).parent / "predictions.npz") as kept:
        shapes = {name: kept[name].shape for name in kept.files}
    assert shapes["trained"] == shapes["untrained"] == shapes["supervised_subset"] == (2, 450)
    assert shapes["supervised_all"] == (1, 450)


def test_supervised_baselines_are_trained_once_for_all_cells(cell, fine_tuned, composed, monkeypatch):
    from simclr.evaluation.finetune import FineTuning

    monkeypatch.delattr(FineTuning, "__init__")  # whoever trains would fail
    config = composed(*QUICK, *LABELLED, "head=none", "pretrain.epochs=1", "baselines=true", f"root={cell[1]}")
    other = experiment.run(config)
    supervised = ("supervised_subset", "supervised_all")
    assert set(other["baselines"]) == {"pixels", "untrained", *supervised}
    for name in supervised:
        assert other["baselines"][name] == fine_tuned["baselines"][name]
    assert len(other["baselines"]["supervised_all"]["values"]) == 1
    low, high = other["baselines"]["supervised_all"]["ci95"]
    assert low < other["baselines"]["supervised_all"]["mean"] < high


def test_the_report_shows_fine_tuning_and_supervised_baselines(cell, fine_tuned):
    from simclr.report.write import write

    text = (write(cell[1]).page.parent / "table.md").read_text()
    assert "supervised, same labels" in text
    assert f"{fine_tuned['probe']['test_accuracy']['mean']:.2f}" in text
    assert f"{fine_tuned['baselines']['supervised_all']['mean']:.3f}" in text


def test_baselines_are_no_part_of_a_cells_identity(composed, tmp_path):
    names = {describe(composed(f"baselines={each}"), "d" * 64).name for each in ("true", "false")}
    assert len(names) == 1


def test_an_impossible_cell_is_an_error_or_skipped_as_asked(composed, tmp_path):
    impossible = ("head=one_relu", "probe.layer=-6", f"root={tmp_path}")
    with pytest.raises(ImpossibleCell, match="one_relu has the layers"):
        experiment.run(composed(*impossible))
    assert not list(tmp_path.glob("results/*"))
    record = experiment.run(composed(*impossible, "on_invalid=skip"))
    assert record["status"] == "skipped"
    assert "one_relu has the layers" in json.loads(Path(record["path"]).read_text())["error"]
    assert record["cell"]["layer"] == {"index": -6, "name": "-6", "width": None}


def test_a_run_that_fails_is_recorded_with_its_reason(composed, tmp_path):
    config = composed(
        *QUICK,
        "optimizer=sgd",
        "optimizer.learning_rate=1000",
        "optimizer.weight_decay=10",
        "pretrain.precision=mixed_float16",
        f"root={tmp_path}",
    )
    with pytest.raises(RunFailed, match="the loss became nan at epoch 1.*try a lower") as caught:
        experiment.run(config)
    record = json.loads(Path(caught.value.path).read_text())
    assert record["status"] == "failed"
    assert "the loss became nan" in record["error"]
    assert record["probe"] is None
    assert not list(tmp_path.glob("pretrained/*/manifest.json"))
    assert not any(found.alive for path in tmp_path.glob("pretrained/.*.claim") if (found := holder(path)))


def test_a_folder_of_ones_own_images_works(composed, photographs, tmp_path):
    record = experiment.run(
        composed(
            "data=folder",
            f"data.root={photographs}",
            "data.image_size=16",
            "encoder=small_resnet",
            "encoder.widths=[8,12]",
            "encoder.blocks=[1,1]",
            "pretrain.batch_size=8",
            "pretrain.epochs=2",
            "pretrain.sizes=[[8,0.5],[16,0.5]]",
            "probe.label_fraction=0.5",
            f"root={tmp_path / 'runs'}",
        )
    )
    assert record["probe"]["classes"] == ["bright ones", "dark ones"]
    assert record["baselines"]["pixels"]["mean"] == 1


def test_a_corrupt_image_is_named_and_nothing_is_recorded(composed, photographs, tmp_path):
    broken = photographs / "train" / "dark ones" / "3.png"
    broken.write_bytes(broken.read_bytes()[:100])
    config = composed(
        "data=folder",
        f"data.root={photographs}",
        "pretrain.batch_size=8",
        "probe.label_fraction=0.5",
        f"root={tmp_path / 'runs'}",
    )
    with pytest.raises(InvalidInput, match=r"dark ones/3\.png"):
        experiment.run(config)
    assert not list((tmp_path / "runs").glob("results/*"))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "pretrain.batch_size=1348",
            "pretrain.batch_size=1348: digits has 1347 training images; valid is at most 1347",
        ),
        ("probe.label_fraction=0.001", "probe.label_fraction=0.001: leaves the class"),
        ("probe.layer=-7", "probe.layer=-7: head=two_relu has the layers"),
        ("root=/proc/nowhere", "root=/proc/nowhere: cannot be written to"),
    ],
)
def test_what_cannot_work_is_known_before_anything_starts(composed, tmp_path, override, says):
    root = () if override.startswith("root") else (f"root={tmp_path}",)
    with pytest.raises(InvalidInput, match=says):
        experiment.check(composed(override, *root))


def test_images_that_were_listed_just_now_are_not_listed_again(composed, cell, monkeypatch):
    from simclr.data import images

    config = composed(*QUICK, "probe.layer=-2", f"root={cell[1]}")
    listed = experiment.check(config)
    monkeypatch.setattr(images, "catalogue", lambda *_: pytest.fail("listed again"))
    assert experiment.run(config, listed=listed)["status"] == "finished"
