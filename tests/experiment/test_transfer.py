"""``transfer``: a network that was pretrained on some images is asked about others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import simclr
from simclr import experiment, store
from simclr.config.compose import Composer
from simclr.foundation.errors import InvalidInput
from simclr.grid.prepare import prepare
from simclr.report.write import write
from tests.experiment import photographs

QUICK = (*photographs.QUICK, "pretrain.epochs=1")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two sets: of cats and dogs, and of three kinds of flowers."""
    root = tmp_path_factory.mktemp("images")
    for place, name in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        photographs.write(root / "pets" / name, 8, 100 * place)
    for place, name in enumerate(("rose", "tulip", "lily")):
        for part, count in (("train", 6), ("test", 4)):
            photographs.write(root / "flowers" / part / name, count, 1000 + 100 * place + 10 * count)
    return root


@pytest.fixture(scope="module")
def asked(composed, sets, tmp_path_factory):
    """Records of a network of pets asked about pets and about flowers, and of one of flowers; and their root."""
    root = tmp_path_factory.mktemp("runs")
    of = {name: f"data.root={sets / name}" for name in ("pets", "flowers")}
    to_flowers = ("transfer=folder", f"transfer.root={sets / 'flowers'}", "transfer.image_size=16")
    given = {"pets": (of["pets"],), "transferred": (of["pets"], *to_flowers), "flowers": (of["flowers"],)}
    return {name: experiment.run(composed(*QUICK, *more, f"root={root}")) for name, more in given.items()}, root


def test_the_pretraining_is_the_same_and_the_cell_another(asked):
    records, _ = asked
    assert records["transferred"]["pretraining"]["key"] == records["pets"]["pretraining"]["key"]
    assert records["transferred"]["pretraining"]["reused"]
    assert records["transferred"]["name"] != records["pets"]["name"]
    assert "folder-to-folder" in records["transferred"]["name"]


def test_the_record_says_what_was_pretrained_on_and_what_was_asked_about(asked):
    record = json.loads(Path(asked[0]["transferred"]["path"]).read_text())
    assert (record["cell"]["data"], record["cell"]["transfer"]) == ("folder", "folder")
    assert record["data"]["classes"] == {"cat": [8, 8], "dog": [8, 8]}
    assert record["transfer"]["classes"] == {"lily": [6, 4], "rose": [6, 4], "tulip": [6, 4]}
    assert record["transfer"]["digest"] == asked[0]["flowers"]["data"]["digest"]
    assert record["probe"]["classes"] == ["lily", "rose", "tulip"]
    assert np.sum(record["probe"]["confusion"]) == 2 * 12
    assert set(record["baselines"]) == {"pixels", "untrained"}


def test_raw_pixels_are_those_of_the_images_that_are_asked_about(asked):
    records, _ = asked
    assert records["transferred"]["baselines"]["pixels"] == records["flowers"]["baselines"]["pixels"]


def test_features_of_both_sets_are_kept_side_by_side(asked):
    records, root = asked
    pretraining = store.find(root, records["pets"]["pretraining"]["key"])
    views = [folder.name for folder in (pretraining.folder / "features").iterdir()]
    counts = {view.startswith("on-"): len(pretraining.features(view, store.TRAINED, "encoder").train) for view in views}
    assert counts == {False: 16, True: 18}


def test_networks_of_other_images_are_compared_where_the_same_is_asked(asked):
    records, root = asked
    panels = {len(panel["standings"]): panel for panel in simclr.answer(root)["panels"]}
    assert sorted(panels) == [1, 2]
    names = {name for standing in panels[2]["standings"] for name in standing["cells"]}
    assert names == {records["transferred"]["name"], records["flowers"]["name"]}
    assert panels[2]["digest"] == records["flowers"]["data"]["digest"]
    assert write(root).page is not None


def test_it_can_be_a_grids_axis(sets, tmp_path):
    root = f"root={tmp_path}"
    given = [*QUICK, f"data.root={sets / 'pets'}", root]
    transferred = [*given, "transfer=folder", f"transfer.root={sets / 'flowers'}"]
    plan = prepare([given, transferred], Composer(), tmp_path).plan
    assert plan.pretrainings == 1
    assert len(plan.cells) == 2


def test_test_images_that_were_pretrained_on_are_counted(composed, asked, sets, tmp_path):
    assert asked[0]["transferred"]["transfer"]["test_also_pretrained_on"] == 0
    photographs.write(tmp_path / "any", 12, 5000)
    for number, file in enumerate(sorted((sets / "flowers" / "test").rglob("*.png"))[:5]):
        (tmp_path / "any" / f"again{number}.png").write_bytes(file.read_bytes())
    flowers = ("transfer=folder", f"transfer.root={sets / 'flowers'}", "transfer.image_size=16")
    record = experiment.run(composed(*QUICK, *flowers, f"data.root={tmp_path / 'any'}", f"root={tmp_path / 'runs'}"))
    assert record["transfer"]["test_also_pretrained_on"] == 5


def test_images_without_labels_can_be_pretrained_on(composed, sets, tmp_path):
    photographs.write(tmp_path / "any", 16, 5000)
    flowers = ("transfer=folder", f"transfer.root={sets / 'flowers'}", "transfer.image_size=16")
    record = experiment.run(composed(*QUICK, *flowers, f"data.root={tmp_path / 'any'}", f"root={tmp_path / 'runs'}"))
    assert record["status"] == "finished"
    assert (record["data"]["unlabeled"], record["data"]["classes"]) == (16, {})
    assert len(record["probe"]["test_accuracy"]["values"]) == 2


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (["transfer=folder"], r"transfer\.root is missing"),
        (["data=digits", "transfer=cifar10"], "three channels, and those of data=digits have one channel"),
        (["data=imagenet5", "transfer=digits"], "one channel, and those of data=imagenet5 have three channels"),
    ],
)
def test_what_cannot_be_asked_is_told(composed, override, says):
    with pytest.raises(InvalidInput, match=says):
        composed(*override)


def test_what_is_wrong_with_the_images_that_are_asked_about_names_their_key(composed, sets, tmp_path):
    more = ("transfer=folder", f"transfer.root={tmp_path / 'data.none'}")
    config = composed(*QUICK, *more, f"data.root={sets / 'pets'}", f"root={tmp_path / 'runs'}")
    with pytest.raises(InvalidInput, match=rf"^transfer\.root={tmp_path}/data\.none: no such folder"):
        experiment.run(config)
    with pytest.raises(InvalidInput, match=r"^transfer\.root="):
        prepare([[*QUICK, *more, f"data.root={sets / 'pets'}", f"root={tmp_path}"]], Composer(), tmp_path)


def test_a_label_fraction_that_is_too_small_is_told_of_the_images_that_are_asked_about(composed, sets, tmp_path):
    flowers = ("transfer=folder", f"transfer.root={sets / 'flowers'}")
    config = composed(*QUICK, *flowers, f"data.root={sets / 'pets'}", f"root={tmp_path}", "probe.label_fraction=0.01")
    with pytest.raises(InvalidInput, match="leaves the class 'lily' of 6 training images without an example"):
        experiment.run(config)
