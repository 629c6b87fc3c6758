"""``python -m simclr.store``: what each command says, what it writes or deletes, and with which code it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simclr import data, experiment, store
from simclr.command.store import main
from simclr.foundation.files import MANIFEST, SET_ASIDE
from simclr.foundation.work import at_work
from simclr.records import result
from simclr.store.export import CARD, KERAS_FILE, SAVED_MODEL
from simclr.store.inventory import prunable, remove
from simclr.training.checkpoint import Checkpoint
from simclr.training.runtime import start_tensorflow
from tests.store.commands import RUN, TINY

HOUR_AGO = 2 * 3600
LAYERS = 8
"""And stages, of the network that is measured: of few images the features of all are kept, before training too."""


class Store:
    """A root with one measured cell, and the commands on it."""

    def __init__(self, root: Path, record: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.record, self._capsys = root, record, capsys
        self.key: str = record["pretraining"]["key"]
        self.folder = store.folder(root, self.key)
        self.baselines = sorted((root / "baselines").glob("[!.]*"))
        self.baseline = self.baselines[0]

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What a command prints, errors last."""
        given = [*arguments] if arguments[0] == "explain" else [*arguments, "--root", str(self.root)]
        assert main(given) == code
        printed = self._capsys.readouterr()
        return printed.out + printed.err

    def explain(self, *overrides: str) -> str:
        return self("explain", *TINY, *overrides, f"root={self.root}")

    def forget_results(self) -> None:
        shutil.rmtree(self.root / "results")

    def while_made(self, run: Callable[[], object]) -> None:
        """Do something while this process is making the pretraining."""

        def make(claim: store.Claim) -> bool:
            claim.tell(epoch=2, epochs=6, seconds_left=7.0)
            run()
            return True

        store.made_once(store.place(self.root, self.key), lambda: None, make, print)


@pytest.fixture(scope="module")
def measured(composed, tmp_path_factory):
    root = tmp_path_factory.mktemp("measured") / "runs"
    start_tensorflow(None)
    return root, experiment.run(composed(*TINY, f"root={root}"))


@pytest.fixture
def command(measured, tmp_path, capsys):
    root, record = measured
    return Store(shutil.copytree(root, tmp_path / "runs"), record, capsys)


def age(path: Path) -> Path:
    for each in (*path.rglob("*"), path):
        then = each.stat().st_mtime - HOUR_AGO
        os.utime(each, (then, then))
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# list


def test_list_tells_what_is_there_how_large_and_which_results_use_it(command):
    said = command("list")
    assert command.key in said
    assert "digits, small_cnn, two_relu, seed 0" in said
    assert " there " in said
    assert re.search(r"\d (kB|MB)", said)
    assert command.record["name"] in said


def test_list_of_an_empty_root_says_how_to_begin(command):
    shutil.rmtree(command.root)
    assert "python run.py makes one" in command("list")


def test_list_tells_unfinished_and_damaged_ones_and_what_is_left_over(command):
    flip(command.folder / MANIFEST)
    unfinished = command.folder.with_name("0" * 16)
    unfinished.mkdir()
    Checkpoint(5, [], [], [], [{"loss": 1.0}], 3.0).save(unfinished / store.CHECKPOINT)
    shutil.copytree(command.folder, command.folder.with_name(f"{command.key}{SET_ASIDE}20200101T000000"))
    lines = command("list").splitlines()
    assert [word for line in lines for word in ("unfinished", "damaged") if f" {word} " in line] in (
        ["unfinished", "damaged"],
        ["damaged", "unfinished"],
    )
    assert lines[-1].startswith("1 set aside or left half-written")
    assert not any(SET_ASIDE in line for line in lines)


# explain


def test_explain_finds_what_is_there_and_its_features(command):
    said = command.explain("probe.layer=-2")
    assert f"pretraining  {command.key}" in said
    assert "state        there: 6 epochs" in said
    assert "the probe needs no network" in said
    assert "result       none yet" in said


def test_explain_names_exactly_what_a_missing_one_differs_in(command):
    said = command.explain("optimizer.learning_rate=0.5", "seed=3")
    assert "state        missing" in said
    _, differing = said.split(f"nearest      {command.key}, which differs in\n")
    assert [line.split()[:2] for line in differing.splitlines()] == [
        ["optimizer.learning_rate:", "0.5"],
        ["seed:", "3"],
    ]


def test_explain_tells_who_is_making_one_since_when_and_how_far_it_is(command):
    (command.folder / MANIFEST).unlink()
    (command.folder / store.WEIGHTS).unlink()
    said = []
    command.while_made(lambda: said.append(command.explain()))
    assert re.search(rf"being made: by process {os.getpid()} on .*, since .*, epoch 2 of 6, 7 s left", said[0])


def test_explain_of_a_configuration_that_is_not_valid_is_bad_input(command):
    assert "pretrain.epochs=0" in command("explain", "pretrain.epochs=0", code=2)


def test_what_only_reads_needs_no_tensorflow(command):
    script = f"""
import sys
from simclr.command.store import main
for arguments in (["list", "--root", root], ["verify", "--root", root], ["prune", "--root", root],
                  ["explain", *{TINY!r}, "root=" + root]):
    assert main(arguments) == 0
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", f"root = {str(command.root)!r}\n{script}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


WITHOUT_TENSORFLOW = """
import runpy, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ImportError(f"{name} is not to be needed")

sys.meta_path.insert(0, Without())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_further_cell_needs_no_tensorflow_tracked_or_not(command, tmp_path):
    given = [str(RUN), *TINY, "probe.layer=-2", "probe=knn", f"root={command.root}", "tracking.mode=offline"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *given], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(Path(done.stdout.splitlines()[-1].removeprefix("result ")).read_text())
    assert record["status"] == "finished"
    assert (record["pretraining"]["key"], record["pretraining"]["reused"]) == (command.key, True)
    assert list(command.root.glob("wandb/offline-run-*/*.wandb"))


# verify


def test_verify_finds_nothing_wrong_with_what_was_just_made(command):
    assert command("verify") == f"{1 + 2 * LAYERS + len(command.baselines)} folders checked, 0 damaged\n"


@pytest.mark.parametrize("part", ["weights", "features", "baseline"])
def test_verify_finds_a_changed_bit_of_any_part_and_names_it(command, part):
    parts = {"weights": command.folder, "features": next((command.folder / "features").glob("*/trained-encoder"))}
    folder = parts.get(part, command.baseline)
    file = {"weights": store.WEIGHTS, "features": "test.npy", "baseline": "predictions.npz"}[part]
    flip(folder / file)
    said = command("verify", code=1)
    assert f"{folder}: {file} has changed since it was written" in said
    assert ", 1 damaged" in said


# export

LOAD = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "simclr":
            raise ImportError("this package is not to be needed")

sys.meta_path.insert(0, Without())
import keras, numpy as np, tensorflow as tf
for folder in sys.argv[2:]:
    images = np.load(sys.argv[1])
    model, saved = keras.models.load_model(folder + "/{keras_file}"), tf.saved_model.load(folder + "/{saved_model}")
    np.savez(folder + "/found.npz", keras=model(images), saved=saved.serve(images))
"""


def test_an_export_gives_the_stored_features_without_this_package(command, composed, tmp_path):
    layers = ("encoder", "relu_1")
    folders = [tmp_path / layer for layer in layers]
    command("export", command.key, str(folders[0]))  # the encoder, where no layer is named
    command("export", command.key[:6], str(folders[1]), "--layer", "relu_1")
    images = data.load(composed(*TINY).data, tmp_path).test.pixels.astype(np.float32) / 255
    np.save(tmp_path / "images.npy", images)
    script = LOAD.format(keras_file=KERAS_FILE, saved_model=SAVED_MODEL)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "images.npy"), *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    (view,) = (command.folder / "features").iterdir()
    pretraining = store.find(command.root, command.key)
    for layer, folder in zip(layers, folders, strict=True):
        stored = pretraining.features(view.name, store.TRAINED, layer).test
        with np.load(folder / "found.npz") as found:
            assert np.abs(found["keras"] - stored).max() <= 1e-5
            assert np.abs(found["saved"] - stored).max() <= 1e-5


def test_an_export_has_a_card_with_data_recipe_accuracy_and_how_to_load_it(command, tmp_path):
    command("export", command.key, str(tmp_path / "taken"))
    card = (tmp_path / "taken" / CARD).read_text()
    accuracy = command.record["probe"]["test_accuracy"]
    low, high = accuracy["ci95"]
    assert f"{accuracy['mean']:.3f} [{low:.3f}, {high:.3f}]" in card
    for part in ("digits", "6 epochs, batch 128", "adamw", command.key, f'load_model("{KERAS_FILE}")'):
        assert part in card


def test_a_key_that_means_none_or_several_is_bad_input(command, tmp_path):
    shutil.copytree(command.folder, command.folder.with_name(command.key[:8] + "0" * 8))
    for key, reason in (("f" * 17, "no such pretraining"), (command.key[:8], "ambiguous")):
        said = command("export", key, str(tmp_path / "taken"), code=2)
        assert said.startswith(f"error: KEY={key}: {reason}")
        assert command.key in said
    assert not (tmp_path / "taken").exists()


def test_a_folder_that_holds_something_is_left_alone(command, tmp_path):
    (tmp_path / "theirs").write_text("precious")
    assert "is not empty" in command("export", command.key, str(tmp_path), code=2)
    assert (tmp_path / "theirs").read_text() == "precious"


def test_a_layer_that_the_network_does_not_have_is_bad_input_that_lists_those_it_has(command, tmp_path):
    said = command("export", command.key, str(tmp_path / "taken"), "--layer", "relu_9", code=2)
    assert "--layer relu_9: this network has projection, relu_2, dense_2, relu_1, dense_1, encoder" in said


def test_a_damaged_network_is_not_exported(command, tmp_path):
    flip(command.folder / store.WEIGHTS)
    assert f"{store.WEIGHTS} has changed" in command("export", command.key, str(tmp_path / "taken"), code=2)


def test_an_export_that_cannot_be_written_is_an_error_of_one_line(command, tmp_path):
    (tmp_path / "file").touch()
    said = command("export", command.key, str(tmp_path / "file" / "taken"), code=1)
    assert said.startswith("error: cannot write or read")


# prune


def test_what_a_result_uses_is_never_pruned(command):
    assert command("prune", "--yes") == "0 B freed\n"
    assert command.folder.exists()
    assert command.baseline.exists()


def test_what_no_result_uses_is_named_and_with_yes_deleted(command):
    command.forget_results()
    said = command("prune")
    assert f"would delete {command.folder}: no result uses it" in said
    for baseline in command.baselines:
        assert f"would delete {baseline}: no result uses its data" in said
    assert command.folder.exists()
    assert command.baseline.exists()
    command("prune", "--yes")
    assert list((command.root / "pretrained").iterdir()) == []
    assert list((command.root / "baselines").iterdir()) == []


def test_what_is_left_over_in_something_unused_goes_with_it(command):
    command.forget_results()
    (command.folder / ".network.npz.abc").write_bytes(b"half")
    age(command.folder / ".network.npz.abc")
    assert command("prune", "--yes").count("deleted ") == 1 + len(command.baselines)
    assert list((command.root / "pretrained").iterdir()) == []


def test_a_result_of_another_pretraining_or_a_failed_one_keeps_nothing(command):
    path = result.folder(command.root, command.record["name"]) / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "failed"}))
    assert f"would delete {command.folder}" in command("prune")


def test_what_is_being_made_is_not_touched(command):
    command.forget_results()
    said = []
    command.while_made(lambda: said.append(command("prune", "--unfinished", "--yes")))
    assert str(command.folder) not in said[0]
    assert command.folder.exists()


def test_what_is_being_measured_is_not_touched(command):
    command.forget_results()
    needed = {"pretraining": command.key, "data": command.record["data"]["digest"]}
    with at_work(result.folder(command.root, "a-cell"), **needed):
        assert "a-cell (being measured)" in command("list")
        assert command("prune", "--yes") == "0 B freed\n"
    assert command.folder.exists()
    assert command.baseline.exists()


def test_features_go_where_that_is_asked_for_and_are_made_again_to_the_bit(command, composed):
    features = command.folder / "features"
    before = {path.relative_to(features): path.read_bytes() for path in features.rglob("*.npy")}
    assert "features" not in command("prune")
    assert f"would delete {features}: can be made again, " in command("prune", "--features")
    assert features.exists()
    assert f"deleted {features}" in command("prune", "--features", "--yes")
    assert not features.exists()
    again = experiment.run(composed(*TINY, "rerun=true", f"root={command.root}"))
    assert {name: again[name] for name in ("probe", "baselines", "representation")} == {
        name: command.record[name] for name in ("probe", "baselines", "representation")
    }
    assert {path.relative_to(features): path.read_bytes() for path in features.rglob("*.npy")} == before


def test_features_of_what_is_being_measured_are_not_touched(command):
    with at_work(result.folder(command.root, "a-cell"), pretraining=command.key):
        assert command("prune", "--features", "--yes") == "0 B freed\n"
    assert (command.folder / "features").exists()


def test_what_cells_of_a_grid_that_is_not_over_need_is_kept(command):
    command.forget_results()
    grid = command.root / "grids" / "1"
    (grid / "now").mkdir(parents=True)
    (grid / "grid.json").write_text(json.dumps({"cells": [{"name": "a-cell", "key": command.key}]}))
    (grid / "now" / "job-0.json").write_text("{}")
    assert "a-cell (of a grid that is not over)" in command("list")
    assert str(command.folder) not in command("prune", "--yes")
    assert command.folder.exists()


def test_what_came_into_use_after_it_was_listed_is_not_deleted(command):
    command.forget_results()
    doomed = next(each for each in prunable(command.root) if each.path == command.folder)
    with at_work(result.folder(command.root, "a-cell"), pretraining=command.key):
        assert not remove(doomed.path)
    assert command.folder.exists()
    assert remove(doomed.path)


def test_what_an_earlier_prune_left_half_removed_is_in_nobodys_way(command):
    command.forget_results()
    command.folder.with_name(f".{command.key}.removed").mkdir()
    (command.folder.with_name(f".{command.key}.removed") / "left").touch()
    assert f"deleted {command.folder}" in command("prune", "--yes")
    assert not command.folder.exists()


def test_foreign_entries_in_a_pretrainings_folder_are_in_nobodys_way(command, composed):
    (command.folder / ".ipynb_checkpoints").mkdir()
    (command.folder / ".nfs0000").touch()
    (command.folder / "features" / ".DS_Store").touch()
    flip(next(command.folder.glob("features/*/trained-encoder")) / "train.npy")
    record = experiment.run(composed(*TINY, "rerun=true", f"root={command.root}"))
    assert record["probe"] == command.record["probe"]
    assert (command.folder / ".ipynb_checkpoints").exists()
    assert (command.folder / ".nfs0000").exists()


def test_what_could_be_gone_on_from_is_kept_unless_that_is_asked_for(command):
    unfinished = command.folder.with_name("0" * 16)
    unfinished.mkdir()
    (unfinished / store.CHECKPOINT).write_bytes(b"a state")
    assert "0 B" in command("prune", "--yes")
    assert unfinished.exists()
    assert f"deleted {unfinished}: unfinished, 7 B" in command("prune", "--yes", "--unfinished")
    assert not unfinished.exists()


def test_what_was_set_aside_or_left_half_written_long_ago_is_pruned(command):
    (view,) = (command.folder / "features").glob("*/trained-encoder")
    aside = [
        shutil.copytree(command.folder, command.folder.with_name(f"{command.key}{SET_ASIDE}20200101T000000")),
        shutil.copytree(view, view.with_name(f"{view.name}{SET_ASIDE}20200101T000000")),
        shutil.copytree(command.baseline, command.baseline.with_name(f"{command.baseline.name}{SET_ASIDE}2020")),
    ]
    halves = [command.folder / ".network.npz.abc", view / ".views.npy.abc", command.baseline / ".record.json.abc"]
    fresh, marker = command.folder / ".history.csv.abc", command.folder.with_name(f".{'0' * 16}.claim")
    marker.mkdir()
    for path in (*halves, fresh):
        path.write_bytes(b"half")
    for path in (*halves, marker):
        age(path)
    said = command("prune", "--yes")
    for path in aside:
        assert f"deleted {path}: set aside as damaged" in said
        assert not path.exists()
    for path in halves:
        assert f"deleted {path}: left half-written, 4 B" in said
        assert not path.exists()
    assert fresh.exists()
    assert marker.exists()
    assert command("verify") == f"{1 + 2 * LAYERS + len(command.baselines)} folders checked, 0 damaged\n"
