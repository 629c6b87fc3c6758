"""Pretrained networks on disk."""

from __future__ import annotations

import pytest

from simclr import store
from simclr.config import EncoderConfig, HeadConfig
from simclr.network import build_network


def test_a_pretraining_is_seen_only_when_it_is_complete(tmp_path):
    with store.new(tmp_path, "key") as draft:
        (draft / "history.csv").write_text("epoch\n")
        assert not store.folder(tmp_path, "key").exists()
    assert (store.folder(tmp_path, "key") / "history.csv").read_text() == "epoch\n"
    assert [entry.name for entry in (tmp_path / "pretrained").iterdir()] == ["key"]


def test_one_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path):
    with store.new(tmp_path, "key") as draft:
        (draft / "file").write_text("good")
    with pytest.raises(KeyboardInterrupt), store.new(tmp_path, "key") as draft:
        (draft / "file").write_text("half")
        raise KeyboardInterrupt
    assert (store.folder(tmp_path, "key") / "file").read_text() == "good"
    assert [entry.name for entry in (tmp_path / "pretrained").iterdir()] == ["key"]


def test_a_newer_one_takes_the_place_of_an_older_one(tmp_path):
    for content in ("old", "new"):
        with store.new(tmp_path, "key") as draft:
            (draft / "file").write_text(content)
    assert (store.folder(tmp_path, "key") / "file").read_text() == "new"
    assert [entry.name for entry in (tmp_path / "pretrained").iterdir()] == ["key"]


def test_a_draft_outlives_another_process_that_finishes_the_same_one(tmp_path):
    with store.new(tmp_path, "key") as slower:
        with store.new(tmp_path, "key") as faster:
            (faster / "file").write_text("first")
        (slower / "file").write_text("second")
    assert (store.folder(tmp_path, "key") / "file").read_text() == "second"
    assert [entry.name for entry in (tmp_path / "pretrained").iterdir()] == ["key"]


def test_saved_weights_load_into_the_same_network(composed, tmp_path):
    encoder = EncoderConfig(name="small_cnn", widths=[8], blocks=[1])
    saved, other = (build_network(encoder, HeadConfig(name="zero_relu"), 1, 8, seed) for seed in (0, 1))
    store.save(tmp_path, saved, composed())
    other.load_weights(tmp_path / store.WEIGHTS)
    assert all((one == two).all() for one, two in zip(saved.get_weights(), other.get_weights(), strict=True))
