"""Cells of images without labels, some or all of them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

import simclr
from simclr import experiment
from simclr.foundation.errors import InvalidInput
from simclr.report.write import write
from tests.experiment import photographs

QUICK = (*photographs.QUICK, "pretrain.epochs=2")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for place, name in enumerate(("train/left", "train/right", "test/left", "test/right", "unlabeled/any")):
        photographs.write(root / name, 8, 100 * place)
    return root


@pytest.fixture(scope="module")
def shares(composed, images, tmp_path_factory):
    """A cell for each share of the images without labels, and their root."""
    root = tmp_path_factory.mktemp("runs")
    given = (f"data.root={images}", f"root={root}")
    return [experiment.run(composed(*QUICK, *given, f"data.unlabeled={share}")) for share in (0, 0.5, 1)], root


def test_the_more_are_seen_the_more_steps_an_epoch_has(shares):
    records, _ = shares
    assert [record["pretraining"]["steps"] for record in records] == [4, 4, 6]  # batches of 8 of 16, 20 and 24
    assert [record["data"]["unlabeled"] for record in records] == [0, 4, 8]
    assert {record["data"]["train"] for record in records} == {16}
    assert len({record["pretraining"]["key"] for record in records}) == 3


def test_none_of_them_is_the_pretraining_of_a_folder_that_has_none(shares, images, composed, tmp_path):
    labelled = tmp_path / "labelled"
    for part in ("train", "test"):
        shutil.copytree(images / part, labelled / part)
    record = experiment.run(composed(*QUICK, f"data.root={labelled}", f"root={shares[1]}"))
    assert record["pretraining"]["key"] == shares[0][0]["pretraining"]["key"]
    assert record["pretraining"]["reused"]


def test_the_share_is_an_axis_of_one_comparison(shares):
    _, root = shares
    [panel] = simclr.answer(root)["panels"]
    assert len(panel["standings"]) == 3
    write(root)
    table = (root / "report" / "table.md").read_text()
    for share in ("0", "0.5", "1"):
        assert f"data.unlabeled={share}" in table or f"| {share} |" in table


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    photographs.write(root / "2019" / "may", 24)
    return root


def test_a_folder_of_images_alone_is_pretrained_on_and_described(composed, alone, tmp_path, capsys):
    record = experiment.run(composed(*QUICK, "probe=none", f"data.root={alone}", f"root={tmp_path}"))
    kept = json.loads(Path(record["path"]).read_text())
    assert (kept["status"], kept["probe"], kept["baselines"]) == ("finished", None, {})
    assert kept["cell"]["label_fraction"] is None
    assert (kept["data"]["train"], kept["data"]["unlabeled"], kept["data"]["classes"]) == (0, 24, {})
    described = kept["representation"]
    assert described["knn_accuracy"] is None
    assert all(math.isfinite(described[name]) for name in ("alignment", "uniformity", "effective_rank"))
    from simclr.records.summary import print_summary

    print_summary(record)
    said = capsys.readouterr().out
    assert "effective rank" in said
    assert f"python -m simclr.store export {kept['pretraining']['key']} DIR --root {tmp_path}" in said
    [left] = write(tmp_path).findings.left_out
    assert (left.state, left.name) == ("unprobed", kept["name"])
    assert "effective rank" in left.reason


def test_any_other_probe_says_what_it_needs(composed, alone, tmp_path):
    with pytest.raises(InvalidInput) as caught:
        experiment.run(composed(*QUICK, f"data.root={alone}", f"root={tmp_path}"))
    assert "no train/ folder in it" in str(caught.value)
    assert "probe=none" in str(caught.value)
    assert not list(tmp_path.glob("results/*"))


def test_without_a_probe_labelled_images_are_described_beside_their_labels(composed, shares, images):
    record = experiment.run(composed(*QUICK, "probe=none", f"data.root={images}", f"root={shares[1]}"))
    assert record["pretraining"]["reused"]
    assert record["probe"] is None
    assert 0 <= record["representation"]["knn_accuracy"] <= 1


def test_nothing_is_compared_without_a_probe(composed):
    with pytest.raises(InvalidInput, match="baselines=true probe=none"):
        composed("probe=none", "baselines=true")
