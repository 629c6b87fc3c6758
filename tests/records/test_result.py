"""Records on disk."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from omegaconf import OmegaConf

from simclr.config.cell import coordinates
from simclr.config.validation import as_yaml
from simclr.records import result


def record(composed, status: str = "finished", **fields):
    return {**result.blank(coordinates(composed("probe.layer=relu_1"))), "status": status, **fields}


def test_a_record_is_written_with_the_configuration_that_made_it(composed, tmp_path):
    path = result.write(tmp_path, "a-cell", record(composed), as_yaml(composed()))
    assert path == tmp_path / "results" / "a-cell" / "result.json"
    assert json.loads(path.read_text())["cell"]["layer"]["name"] == "relu_1"
    assert OmegaConf.load(path.parent / "config.yaml").pretrain.epochs == 40


def test_nothing_but_whole_files_is_ever_seen(composed, tmp_path):
    result.write(tmp_path, "a-cell", record(composed), "", {"predictions.npz": {"labels": np.arange(3)}})
    names = sorted(file.name for file in (tmp_path / "results" / "a-cell").iterdir())
    assert names == ["config.yaml", "predictions.npz", "result.json"]


def test_a_write_that_fails_leaves_the_old_record(composed, tmp_path):
    path = result.write(tmp_path, "a-cell", record(composed), "")
    before = path.read_text()
    with pytest.raises(TypeError):
        result.write(tmp_path, "a-cell", record(composed, error=object()), "")
    assert path.read_text() == before
    assert not list(path.parent.glob(".*"))


def test_numbers_that_json_does_not_have_become_null(composed, tmp_path):
    path = result.write(tmp_path, "a-cell", record(composed, seconds=math.nan, steps=np.int64(3)), "")
    found = json.loads(path.read_text())
    assert found["seconds"] is None
    assert found["steps"] == 3


def test_predictions_come_back_without_unpickling(composed, tmp_path):
    path = result.write(tmp_path, "a-cell", record(composed), "", {"predictions.npz": {"labels": np.arange(3)}})
    assert np.load(path.parent / "predictions.npz", allow_pickle=False)["labels"].tolist() == [0, 1, 2]


def test_records_are_a_tidy_frame_one_row_a_cell(composed, tmp_path):
    accuracy = {"test_accuracy": {"mean": 0.5, "values": [0.4, 0.6]}}
    result.write(tmp_path, "one", record(composed, probe=accuracy), "")
    result.write(tmp_path, "two", record(composed, "skipped"), "")
    frame = result.load(tmp_path)
    assert frame["name"].tolist() == ["one", "two"]
    assert frame["status"].tolist() == ["finished", "skipped"]
    assert frame["probe.test_accuracy.mean"].tolist()[0] == 0.5
    assert frame["cell.layer.name"].tolist() == ["relu_1", "relu_1"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 99}', "\udcff\udcfe"])
def test_a_file_that_is_no_record_is_named_and_left_out(composed, tmp_path, content, caplog):
    result.write(tmp_path, "good", record(composed), "")
    bad = tmp_path / "results" / "bad" / "result.json"
    bad.parent.mkdir()
    bad.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert result.load(tmp_path)["name"].tolist() == ["good"]
    assert str(bad) in caplog.text


def test_no_records_are_an_empty_frame(tmp_path):
    assert result.load(tmp_path / "nowhere").empty
