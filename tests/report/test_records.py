"""What is read under a root."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from simclr.report.records import read
from tests.report.constructed import Made, build


@pytest.fixture
def one(tmp_path):
    return build(tmp_path, [Made("two_relu", "encoder", 0, 1.0)])


def folder_of(root):
    return next(iter(root.glob("results/*")))


def test_everything_that_gives_no_number_is_counted_and_named(written):
    findings = written.findings
    assert findings.count() == {
        "finished": 15,
        "unfinished": 1,
        "failed": 1,
        "skipped": 1,
        "corrupt": 2,
        "foreign": 3,
    }
    named = {left.name: left for left in findings.left_out}
    assert named["cut"].state == "corrupt"
    assert named["failed"].reason == "<b>out</b> of memory"
    assert "cell.head" in named["no-number"].reason


def test_a_root_that_is_not_there_is_empty(tmp_path):
    assert read(tmp_path / "nowhere").count() == {"finished": 0}


def test_a_configuration_that_cannot_be_read_leaves_what_the_record_tells(one):
    (folder_of(one) / "config.yaml").write_text(": [")
    (cell,) = read(one).cells
    assert cell.settings["head.name"] == "two_relu"
    assert cell.settings["pretrain.epochs"] == 40


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_predictions_that_cannot_be_read_are_none(one, content):
    (folder_of(one) / "predictions.npz").write_bytes(content)
    (cell,) = read(one).cells
    assert cell.predictions == {}


def test_predictions_are_never_unpickled(one):
    np.savez(folder_of(one) / "predictions.npz", trained=np.array([print, 1], dtype=object))
    (cell,) = read(one).cells
    assert cell.predictions == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cell.seed", "zero"),
        ("cell.layer", None),
        ("cell.label_fraction", "a tenth"),
        ("probe.test_accuracy.mean", float("nan")),
        ("probe", 3),
    ],
)
def test_a_record_with_a_field_of_the_wrong_kind_is_corrupt(one, path, value):
    file = folder_of(one) / "result.json"
    record = json.loads(file.read_text())
    *above, last = path.split(".")
    place = record
    for part in above:
        place = place[part]
    place[last] = value
    file.write_text(json.dumps(record))
    findings = read(one)
    assert not findings.cells
    assert [left.state for left in findings.left_out] == ["corrupt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_record_that_may_not_be_read_is_corrupt(one):
    (folder_of(one) / "result.json").chmod(0)
    assert [left.state for left in read(one).left_out] == ["corrupt"]


def test_a_killed_pretraining_is_unfinished(one):
    draft = one / "pretrained" / ".0123456789abcdef.x1"
    draft.mkdir()
    (draft / "history.csv").write_text("epoch,loss\n")
    assert [(left.state, left.name) for left in read(one).left_out] == [("unfinished", draft.name)]
