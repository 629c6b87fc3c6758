"""Which features are computed and kept: of few images all, of many those that somebody asks for, in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simclr import data, experiment, store
from simclr.config.cell import describe
from simclr.config.compose import compose
from simclr.experiment import pretrained, seen
from simclr.experiment.session import Session
from simclr.records import result

QUICK = (
    "pretrain.epochs=1",
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "head=one_relu",
    "head.hidden=[16,8]",
    "head.output=6",
    "probe.subsets=2",
    "pretrain.precision=float32",
)
MANY = "store.features_gib=0"


def kept(root: Path, key: str) -> set[str]:
    return {path.parent.name for path in store.folder(root, key).glob("features/*/*/manifest.json")}


@pytest.fixture(scope="module")
def few(composed, tmp_path_factory):
    """A cell of few images, and its root."""
    root = tmp_path_factory.mktemp("few")
    return experiment.run(composed(*QUICK, f"root={root}")), root


@pytest.fixture(scope="module")
def many(composed, tmp_path_factory):
    """The same where so much is not kept."""
    root = tmp_path_factory.mktemp("many")
    return experiment.run(composed(*QUICK, MANY, f"root={root}")), root


def test_of_few_images_every_layer_and_stage_is_kept(few):
    layers = ("encoder", "dense_1", "relu_1", "projection", "stage_1", "stage_2")
    expected = {f"{network}-{layer}" for network in (store.TRAINED, store.UNTRAINED) for layer in layers}
    assert kept(few[1], few[0]["pretraining"]["key"]) == expected


def test_of_many_the_layer_that_is_asked_for_to_the_same_numbers(few, many):
    assert kept(many[1], many[0]["pretraining"]["key"]) == {"trained-encoder", "untrained-encoder"}
    for part in ("probe", "baselines", "representation"):
        assert many[0][part] == few[0][part]


def test_a_further_layer_is_added_from_the_same_weights(few, many, composed):
    further = [composed(*QUICK, "probe.layer=-2", MANY, f"root={root}") for _, root in (few, many)]
    expected, found = map(experiment.run, further)
    assert found["pretraining"]["reused"]
    assert "features" not in expected["timing"]
    assert found["timing"]["features"] > 0
    assert {"trained-relu_1", "trained-encoder"} <= kept(many[1], many[0]["pretraining"]["key"])
    for part in ("probe", "baselines", "representation"):
        assert found[part] == expected[part]


def test_layers_that_a_grid_asks_for_come_from_one_pass(run_command, tmp_path):
    root = tmp_path / "runs"
    done = run_command("-m", "probe.layer=-1,-2,encoder", *QUICK, MANY, f"root={root}", "launch=serial", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    passes = [record["timing"].get("features") for _, record in result.records(root)]
    assert sum(seconds is not None for seconds in passes) == 1
    (key,) = {record["pretraining"]["key"] for _, record in result.records(root)}
    assert kept(root, key) == {
        f"{network}-{layer}" for network in ("trained", "untrained") for layer in ("encoder", "relu_1", "projection")
    }


def test_cells_that_see_images_otherwise_ask_for_themselves(composed, tmp_path):
    config = composed(*QUICK, MANY, f"root={tmp_path}")
    others = [
        composed(*QUICK, "probe.layer=-2", *more)
        for more in ((), ("probe.image_size=24",), ("seed=1",), ("pretrain.epochs=2",))
    ]
    images = data.load(config.data, tmp_path / "data")
    for number, asked in enumerate(others):
        wanted = seen._wanted(describe(config, images.digest), images, lambda asked=asked: [asked])
        assert set(wanted) == ({"encoder", "relu_1"} if number == 0 else {"encoder"})


def test_a_network_that_begins_with_the_same_weights_is_not_asked_again_before_its_first_step(many, composed):
    again = experiment.run(composed(*QUICK, "pretrain.temperature=0.5", MANY, f"root={many[1]}"))
    assert not again["pretraining"]["reused"]
    assert kept(many[1], again["pretraining"]["key"]) == {"trained-encoder"}
    assert again["baselines"] == many[0]["baselines"]
    other = experiment.run(composed(*QUICK, "pretrain.temperature=0.5", "probe=knn", MANY, f"root={many[1]}"))
    assert kept(many[1], again["pretraining"]["key"]) == {"trained-encoder", "untrained-encoder"}
    assert other["baselines"]["untrained"] != many[0]["baselines"]["untrained"]


def test_features_that_are_asked_for_by_another_way_of_looking_are_kept_beside(many, composed):
    config = composed(*QUICK, MANY, "probe.image_size=24", f"root={many[1]}")
    images = data.load(config.data, many[1] / "data")
    found = pretrained.obtain(describe(config, images.digest), images, Session())
    assert found is not None
    assert found[1].folder.parent.name == "24px-whole"
    assert len({path.name for path in (found[0].folder / "features").iterdir()}) == 2


@pytest.fixture(scope="module")
def hundred(tmp_path_factory) -> Path:
    """A folder of a hundred classes, each of its own shade."""
    root, generator = tmp_path_factory.mktemp("hundred"), np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for number in range(100):
            folder = root / split / f"class {number:02}"
            folder.mkdir(parents=True)
            for each in range(count):
                pixels = generator.normal((number * 2.5, 255 - number * 2.5, 90), 3, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{each}.png")
    return root


def test_of_a_hundred_classes_the_record_stays_short_and_tells_of_five(hundred, tmp_path):
    given = ("data=folder", f"data.root={hundred}", "data.image_size=16", "pretrain.batch_size=50", "probe.subsets=1")
    record = experiment.run(compose([*QUICK, *given, "probe.label_fraction=1", f"root={tmp_path}"]))
    path = Path(record["path"])
    assert path.stat().st_size < 20_000
    assert record["probe"]["confusion"] is None
    with np.load(path.with_name("confusion.npz"), allow_pickle=False) as file:
        counts = file["counts"]
    assert counts.shape == (100, 100)
    assert counts.sum(axis=1).tolist() == [2] * 100
    assert np.trace(counts) / 200 == pytest.approx(record["probe"]["test_accuracy"]["mean"])
    assert len(record["probe"]["confused"]) == 10
    first = record["probe"]["confused"][0]
    classes = record["probe"]["classes"]
    assert counts[classes.index(first["true"]), classes.index(first["given"])] == first["count"] > 0
    near, right = record["probe"]["top5_accuracy"], record["probe"]["test_accuracy"]
    assert near["mean"] > right["mean"]
    assert near["ci95"][0] <= near["mean"] <= near["ci95"][1]
