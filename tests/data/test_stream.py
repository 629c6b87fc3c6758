"""Images larger than the memory: decoded as they are used, to the same weights and numbers as kept ones."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simclr import experiment
from simclr.config import Config
from simclr.config.cell import View
from simclr.data import Images, ImageSplit, StreamedSplit, load
from simclr.evaluation.baseline import pixel_features
from simclr.evaluation.monitor import NeighbourMonitor
from simclr.foundation.errors import RunFailed
from simclr.training.checkpoint import Checkpoint
from simclr.training.pretrain import pretrain
from simclr.training.resume import Saving
from simclr.training.runtime import start_tensorflow

from .samples import Tree, encoded, picture

SIDE = 40
STEPS = 4
"""Of an epoch."""

TINY = (
    "data=folder",
    f"data.image_size={SIDE}",
    "encoder.widths=[8,12]",
    "encoder.blocks=[1,1]",
    "head.hidden=[10,9]",
    "head.output=8",
    "pretrain.batch_size=8",
    "pretrain.epochs=3",
    "pretrain.sizes=[[12,0.67],[16,0.33]]",
    "pretrain.precision=float32",
)


@pytest.fixture(scope="module", autouse=True)
def _reproducible() -> None:
    start_tensorflow(None)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Thirty-four to train with and ten to test with, of many shapes and several formats, one of them lying."""
    tree = Tree(tmp_path_factory.mktemp("photographs"))
    for number in range(44):
        kind, suffix = (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"))[number % 3]
        folder = f"{'train' if number < 34 else 'test'}/{('cat', 'dog')[number % 2]}"
        image = picture(90 + 7 * (number % 5), 100 - 3 * (number % 7), seed=number)
        turned = image.getexif()
        turned[0x0112] = 6 if number == 4 else 1
        tree.add(f"{folder}/{number}.{suffix}", encoded(image, kind, exif=turned))
    return tree


Loaded = Callable[[float], Images]


@pytest.fixture(scope="module")
def loaded(photographs: Tree, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    cache = tmp_path_factory.mktemp("cache")

    def of(gib: float) -> Images:
        return load(replace(photographs.config(SIDE), cache_gib=gib), cache)

    return of


@pytest.fixture(scope="module")
def kept(loaded: Loaded) -> Images:
    return loaded(1)


@pytest.fixture(scope="module")
def streamed(loaded: Loaded) -> Images:
    return loaded(0)


@pytest.fixture(scope="module")
def config(composed, photographs: Tree) -> Config:
    return composed(*TINY, f"data.root={photographs.root}")


def weights(network) -> list[bytes]:
    return [each.tobytes() for each in network.get_weights()]


def same(one, other) -> None:
    np.testing.assert_array_equal(one, other, strict=True)


def test_a_set_is_streamed_where_its_pixels_exceed_the_cache(photographs: Tree, tmp_path: Path) -> None:
    size = 44 * SIDE * SIDE * 3 / 2**30
    for share, kind in ((1.0, ImageSplit), (0.999, StreamedSplit)):
        config = replace(photographs.config(SIDE), cache_gib=share * size)
        assert isinstance(load(config, tmp_path).train, kind)


def test_a_streamed_set_is_told_of_and_leaves_nothing_on_disk(
    photographs: Tree, tmp_path: Path, lines: list[str]
) -> None:
    load(replace(photographs.config(SIDE), cache_gib=0), tmp_path, lines.append)
    assert lines[:2] == ["train: 17 cat, 17 dog", "test: 5 cat, 5 dog"]
    assert len(lines) == 3
    assert "data.cache_gib=0" in lines[2]
    assert not (tmp_path / "images").exists()


def test_the_digits_are_never_streamed(composed, tmp_path: Path) -> None:
    assert isinstance(load(composed("data.cache_gib=0").data, tmp_path).train, ImageSplit)


def test_streamed_images_are_the_kept_ones(kept: Images, streamed: Images) -> None:
    assert (streamed.digest, streamed.classes, streamed.ignored) == (kept.digest, kept.classes, kept.ignored)
    for ours, theirs in ((streamed.train, kept.train), (streamed.test, kept.test)):
        same(ours.labels, theirs.labels)
        assert (ours.paths, ours.side, ours.channels, len(ours)) == (
            theirs.paths,
            theirs.side,
            theirs.channels,
            len(theirs),
        )
        pixels, aspects = zip(*ours.chunks(7), strict=True)
        assert [len(each) for each in pixels[:-1]] == [7] * (len(ours) // 7)
        same(np.concatenate(pixels), np.asarray(theirs.pixels))
        same(np.concatenate(aspects), np.asarray(theirs.aspect))


def test_images_come_in_the_order_asked_for(kept: Images, streamed: Images) -> None:
    positions = np.array([30, 3, 3, 17])
    for split in (kept.train, streamed.train):
        pixels, aspect = split.at(positions)
        same(np.asarray(pixels), np.asarray(kept.train.pixels[positions]))
        same(np.asarray(aspect), np.asarray(kept.train.aspect[positions]))
        parts = [np.asarray(part) for part, _ in split.chunks(3, positions)]
        assert [len(part) for part in parts] == [3, 1]
        same(np.concatenate(parts), np.asarray(pixels))


def test_only_the_images_of_a_chunk_and_a_few_more_are_decoded(streamed: Images, monkeypatch) -> None:
    from simclr.data import decoding

    seen: list[Path] = []
    decode = decoding.decode

    def counted(path: Path, side: int, most: int):
        seen.append(path)
        return decode(path, side, most)

    monkeypatch.setattr(decoding, "decode", counted)
    streamed.train.at(np.array([5, 2]))
    assert sorted(each.name for each in seen) == sorted(Path(streamed.train.paths[each]).name for each in (5, 2))


class Trained:
    """A pretraining of these images that a test looks at, and its states, by the number of steps done."""

    def __init__(self, config: Config, images: Images, start: Checkpoint | None = None, minutes: float = 0) -> None:
        self.states: dict[int, Checkpoint] = {}
        monitor = NeighbourMonitor(images.train, every=1, epochs=3, centre=True, seed=0)

        def save(state: Checkpoint) -> None:
            self.states[state.step] = state

        self.done = pretrain(config.recipe, images.train, "float32", [monitor], Saving(start, save, minutes=minutes))

    def outcome(self) -> tuple[list[bytes], list[dict[str, float]]]:
        return weights(self.done.network), self.done.history


@pytest.fixture(scope="module")
def trained(config: Config, kept: Images) -> Trained:
    return Trained(config, kept)


def test_streamed_images_train_to_the_same_bits_watched_by_the_same_monitor(
    config: Config, streamed: Images, trained: Trained
) -> None:
    assert Trained(config, streamed).outcome() == trained.outcome()


def test_a_stream_tells_how_long_its_steps_waited(config: Config, streamed: Images, caplog) -> None:
    with caplog.at_level("INFO", "simclr.training.feed"):
        pretrain(config.recipe, streamed.train, "float32")
    shares = [float(re.search(r"waited for images: (\d+\.\d) %", told)[1]) for told in caplog.messages]
    assert len(shares) == len(config.pretrain.sizes)
    assert all(0 <= share < 100 for share in shares)


@pytest.mark.parametrize("step", [1, 6, 2 * STEPS])
def test_a_stream_goes_on_at_any_step_to_the_same_bits(
    config: Config, streamed: Images, trained: Trained, step: int
) -> None:
    assert Trained(config, streamed, trained.states[step]).outcome() == trained.outcome()


def test_a_stream_that_goes_on_decodes_nothing_that_was_seen_before(
    config: Config, streamed: Images, trained: Trained, monkeypatch
) -> None:
    asked: list[int] = []
    at = StreamedSplit.at

    def counted(self: StreamedSplit, positions):
        asked.append(len(positions))
        return at(self, positions)

    monkeypatch.setattr(StreamedSplit, "at", counted)
    pretrain(config.recipe, streamed.train, "float32", saving=Saving(trained.states[2 * STEPS + 1]))
    assert asked == [config.pretrain.batch_size] * (STEPS - 1)


def test_features_pairs_and_examples_are_the_same(
    config: Config, kept: Images, streamed: Images, trained: Trained, monkeypatch
) -> None:
    from simclr.evaluation import eye
    from simclr.model.network import representations

    monkeypatch.setattr(eye, "BATCH", 16)  # several chunks
    network, layers = trained.done.network, ["encoder", "relu_1"]

    def seen(images: Images):
        look = eye.Eye(representations(network, layers), View(16, mirror=True, centre=True))
        yield from look(images.train).items()
        for name, apart in eye.alignments(network, layers, images.train, config.augment, 16, 0).items():
            yield name, np.array(apart)
        yield "examples", eye.example_views(images.train, config.augment, 16, 0)

    for (name, one), (other_name, other) in zip(seen(kept), seen(streamed), strict=True):
        assert name == other_name
        same(one, other)


def test_the_pixels_of_the_baseline_are_the_same(kept: Images, streamed: Images, tmp_path: Path) -> None:
    same(pixel_features(streamed.train, tmp_path), pixel_features(kept.train, tmp_path))
    chosen = np.array([3, 20, 21])
    same(pixel_features(streamed.train, tmp_path, chosen), pixel_features(kept.train, tmp_path)[chosen])


@pytest.fixture
def broken(photographs: Tree, tmp_path: Path) -> tuple[Tree, Path]:
    """The same photographs, one of them cut short in the meantime."""
    tree = Tree(tmp_path / "broken")
    shutil.copytree(photographs.root, tree.root)
    path = tree.root / "train/cat/6.jpg"
    tree.add("train/cat/6.jpg", path.read_bytes()[:400])
    return tree, path


def test_a_broken_file_fails_the_run_by_its_name_when_its_turn_comes_and_what_was_done_is_saved(
    config: Config, streamed: Images, broken: tuple[Tree, Path], trained: Trained
) -> None:
    tree, path = broken
    images = load(replace(tree.config(SIDE), cache_gib=0), tree.root / "cache")
    states: list[Checkpoint] = []
    with pytest.raises(RunFailed) as caught:
        pretrain(config.recipe, images.train, "float32", saving=Saving(save=states.append))
    assert str(caught.value).startswith(f"{path}: cannot be read as an image: ")
    assert "\n" not in str(caught.value)
    (state,) = states
    assert 0 < state.step < STEPS
    assert Trained(config, streamed, state).outcome() == trained.outcome()


def test_a_broken_file_among_those_that_features_are_made_of_is_named(
    broken: tuple[Tree, Path], tmp_path: Path
) -> None:
    tree, path = broken
    images = load(replace(tree.config(SIDE), cache_gib=0), tree.root / "cache")
    with pytest.raises(RunFailed, match=re.escape(str(path))):
        pixel_features(images.train, tmp_path)


def test_a_run_that_meets_a_broken_file_ends_with_one_line_and_a_record(
    run_command, broken: tuple[Tree, Path], tmp_path: Path
) -> None:
    tree, path = broken
    command = (*TINY, f"data.root={tree.root}", "data.cache_gib=0", "pretrain.monitor_epochs=0", "probe=knn")
    failed = run_command(*command, cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith(f"error: {path}: cannot be read as an image")
    assert "Traceback" not in failed.stderr
    record = json.loads(Path(tmp_path, failed.stdout.split()[-1]).read_text())
    assert record["status"] == "failed"
    assert str(path) in record["error"]


def test_nothing_is_published_of_images_that_changed_while_they_were_streamed(
    config: Config, photographs: Tree, tmp_path: Path
) -> None:
    tree = Tree(tmp_path / "changing")
    shutil.copytree(photographs.root, tree.root)
    changing = replace(
        config,
        data=replace(config.data, root=str(tree.root), cache_gib=0.0),
        pretrain=replace(config.pretrain, epochs=1, monitor_epochs=0),
        root=str(tmp_path / "runs"),
    )

    def change(history) -> None:
        tree.add("train/cat/0.jpg", encoded(picture(seed=99)))

    with pytest.raises(RunFailed, match="an image has changed since the run began"):
        experiment.run(changing, watch=change)
    assert not list(tmp_path.glob("runs/pretrained/*/manifest.json"))


def test_a_network_is_fine_tuned_to_the_same_answers(
    composed, kept: Images, streamed: Images, photographs: Tree
) -> None:
    from simclr.evaluation.finetune import FineTuning

    quick = ("probe.epochs=2", "probe.folds=2", "probe.batch_size=4", "probe.learning_rates=[0.01]")
    config = composed(*TINY, "probe=finetune", *quick, "data.cache_gib=0", f"data.root={photographs.root}")
    subset = np.arange(0, 34, 2)
    one, other = (
        FineTuning(config.recipe, config.probe, images, "encoder", None, photographs.root)
        for images in (kept, streamed)
    )
    found, expected = other(subset), one(subset)
    same(found.train, expected.train)
    same(found.test, expected.test)
    assert found.validation_accuracy == expected.validation_accuracy
    assert weights(other._model) == weights(one._model)
