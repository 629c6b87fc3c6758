"""``data=hub``: image sets as the ``datasets`` library has them, here saved on this machine."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from simclr.config import DataConfig
from simclr.data import catalogue, hub, load
from simclr.foundation.errors import InvalidInput, RunFailed
from tests.data.samples import encoded, picture

datasets = pytest.importorskip("datasets", reason="an extra that is not installed")

Save = Callable[..., DataConfig]


def images(count: int, first: int) -> list[dict[str, Any]]:
    return [{"bytes": encoded(picture(seed=first + number), "PNG"), "path": None} for number in range(count)]


def split(count: int, first: int, names: tuple[str, ...] = ("dog", "cat"), **more: Any) -> Any:
    """Images of two classes in turn; with further columns of the same length."""
    columns = {"img": images(count, first), "label": [number % len(names) for number in range(count)], **more}
    features = {"img": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    features |= {name: datasets.Value("string") for name in more}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def saved(**splits: Any) -> DataConfig:
        place = tmp_path / "saved"
        datasets.DatasetDict(splits).save_to_disk(str(place))
        return DataConfig(str(place), image_size=16)

    return saved


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).resize((16, 16), Image.Resampling.BICUBIC))


def test_a_saved_set_is_loaded_image_by_image(save: Save, cache: Path) -> None:
    loaded = load(save(train=split(6, 0), test=split(4, 100)), cache)
    assert loaded.classes == ("cat", "dog")
    assert loaded.counts == {"cat": [3, 2], "dog": [3, 2]}
    expected = [pixels_of(images(6, 0)[number]["bytes"]) for number in (1, 3, 5, 0, 2, 4)]
    np.testing.assert_array_equal(loaded.train.at(np.arange(6))[0], expected)
    assert loaded.revision is not None
    assert len(loaded.revision) == 40
    assert loaded.ignored == 0


def test_it_is_unpacked_once(save: Save, cache: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    config = save(train=split(6, 0), test=split(4, 100))
    first = load(config, cache)
    monkeypatch.setattr(datasets, "load_from_disk", None)
    assert load(config, cache, lines.append).digest == first.digest


def test_one_that_was_saved_anew_is_unpacked_anew(save: Save, cache: Path) -> None:
    config = save(train=split(6, 0), test=split(4, 100))
    before = load(config, cache)
    save(train=split(8, 0), test=split(4, 100))
    after = load(config, cache)
    assert (len(before.train), len(after.train)) == (6, 8)
    assert before.revision != after.revision
    assert before.digest != after.digest


def test_what_was_changed_since_it_was_unpacked_is_made_again(save: Save, cache: Path, lines: list[str]) -> None:
    config = save(train=split(6, 0), test=split(4, 100))
    before = load(config, cache)
    first = next((cache / "hub").rglob("train-*.png"))
    first.write_bytes(encoded(picture(seed=77), "PNG"))
    assert load(config, cache, lines.append).digest == before.digest
    assert any("is not what was unpacked" in line for line in lines)


def test_a_validation_split_stands_in_and_others_are_left_alone(save: Save, cache: Path) -> None:
    config = save(train=split(6, 0), validation=split(4, 100), extra=split(2, 200))
    found = catalogue(config, cache)
    assert (len(found.train), len(found.test), len(found.unlabeled)) == (6, 4, 0)


def test_a_test_part_is_drawn_where_there_is_none(save: Save, cache: Path) -> None:
    config = save(train=split(10, 0))
    with pytest.raises(InvalidInput, match=r"has no test split; data\.test_share=0\.2 draws one"):
        catalogue(config, cache)
    found = catalogue(replace(config, test_share=0.4), cache)
    assert (len(found.train), len(found.test)) == (6, 4)


def test_images_without_a_label_are_for_pretraining(save: Save, cache: Path) -> None:
    unlabeled = split(5, 200).remove_columns("label")
    found = catalogue(save(train=split(6, 0), test=split(4, 100), unlabeled=unlabeled), cache)
    assert (len(found.train), len(found.test), len(found.unlabeled)) == (6, 4, 5)


def test_a_set_without_any_label_has_no_classes(save: Save, cache: Path) -> None:
    found = catalogue(save(train=split(6, 0).remove_columns("label")), cache)
    assert found.classes == ()
    assert len(found.unlabeled) == 6


def test_columns_can_be_named(save: Save, cache: Path) -> None:
    kinds = ["x", "y", "z"] * 2
    config = save(train=split(6, 0, kind=kinds), test=split(3, 100, kind=kinds[:3]))
    assert catalogue(replace(config, label_column="kind"), cache).classes == ("x", "y", "z")
    assert catalogue(config, cache).classes == ("cat", "dog")
    with pytest.raises(InvalidInput, match=r"data\.image_column=pictures: .* has the columns img, label, kind"):
        catalogue(replace(config, image_column="pictures"), cache)


def test_several_columns_of_labels_are_a_question(save: Save, cache: Path) -> None:
    coarse = datasets.ClassLabel(names=["a", "b"])
    both = [each.add_column("coarse", [0, 1] * (len(each) // 2)).cast_column("coarse", coarse)
            for each in (split(6, 0), split(4, 100))]  # fmt: skip
    config = save(train=both[0], test=both[1])
    with pytest.raises(InvalidInput, match=r"several columns of labels, label, coarse; data\.label_column=NAME"):
        catalogue(config, cache)


def test_a_class_name_that_is_no_folders_name_stays_inside(save: Save, cache: Path) -> None:
    names = ("../../up", ".hidden", "__MACOSX")
    found = catalogue(save(train=split(6, 0, names), test=split(3, 100, names)), cache)
    assert len(found.classes) == 3
    assert not list(cache.parent.glob("up*"))
    assert found.train_counts.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("key", "value"), [("labels", "labels.csv"), ("class_pattern", "number")], ids=["labels", "class_pattern"]
)
def test_what_is_for_folders_is_told(save: Save, cache: Path, key: str, value: str) -> None:
    config = replace(save(train=split(6, 0), test=split(4, 100)), **{key: value})
    with pytest.raises(InvalidInput, match=rf"data\.{key}={value}: says nothing of data="):
        catalogue(config, cache)


def test_what_is_for_the_hub_is_told_elsewhere(cache: Path) -> None:
    with pytest.raises(InvalidInput, match=r"data\.revision=main: says nothing of data=digits; it is for hub"):
        catalogue(DataConfig("digits", image_size=16, revision="main"), cache)


def test_a_folder_that_is_not_there_is_told(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such folder; valid is one that datasets has saved, or OWNER/NAME"):
        catalogue(DataConfig(str(tmp_path / "none"), image_size=16), cache)


def test_a_hub_that_does_not_answer_is_told_in_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RunFailed) as caught:
        catalogue(DataConfig("owner/name", image_size=16), cache)
    assert str(caught.value).startswith("data.name=owner/name: cannot be had from the hub: ")
    assert "\n" not in str(caught.value)
    assert not list(cache.rglob("*.revision"))


def test_without_the_library_it_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'simclr\[hub\]'"):
        catalogue(DataConfig("owner/name", image_size=16), cache)
