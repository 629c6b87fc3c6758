"""``store embed``: the features of any folder's images as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from simclr import data, experiment, store
from simclr.command.store import main
from simclr.data import Images
from simclr.evaluation import embedding

QUICK = ("data.image_size=16", "pretrain.epochs=1", "encoder.widths=[8,12]", "encoder.blocks=[1,1]", "probe.subsets=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        file = root / ("test" if number < 20 else "train") / ("left" if number % 2 else "right") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return root


@pytest.fixture(scope="module")
def measured(composed, folder, tmp_path_factory):
    """A finished cell on these images: root, key, the images, and what its network makes of them at a layer."""
    root = tmp_path_factory.mktemp("runs")
    given = ("data=folder", f"data.root={folder}", "pretrain.batch_size=8", "probe.label_fraction=0.5")
    config = composed(*QUICK, *given, f"root={root}")
    key = experiment.run(config)["pretraining"]["key"]
    images = data.load(config.data, root / "data")
    pretraining = store.find(root, key)
    (view,) = (pretraining.folder / "features").iterdir()
    return root, key, images, lambda layer: pretraining.features(view.name, store.TRAINED, layer)


def rows(file: Path) -> tuple[list[str], np.ndarray]:
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return arrays["paths"].tolist(), arrays["features"]
    frame = pd.read_parquet(file)
    return frame["path"].tolist(), np.stack(frame["features"])


def embed(measured, folder, out, *more) -> int:
    return main(["embed", measured[1], str(folder), "--out", str(out), "--root", str(measured[0]), *more])


@pytest.mark.parametrize("kind", ["parquet", "npz"])
@pytest.mark.parametrize("layer", ["encoder", "stage_1"])
def test_its_rows_are_what_a_probe_would_see(measured, folder, tmp_path, kind, layer, monkeypatch):
    monkeypatch.setattr(embedding, "BATCH", 8)
    monkeypatch.setattr(embedding, "ROWS", 16)
    out = tmp_path / f"features.{kind}"
    assert embed(measured, folder, out, "--layer", layer) == 0
    paths, features = rows(out)
    images: Images = measured[2]
    stored = measured[3](layer)
    assert paths == [*images.test.paths, *images.train.paths]
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.concatenate([stored.test, stored.train]), atol=1e-5)


def test_an_image_that_cannot_be_read_has_no_row_and_is_named(measured, tmp_path, capsys):
    (tmp_path / "some").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "some" / "good.png")
    (tmp_path / "some" / "bad.jpg").write_bytes(b"none")
    assert embed(measured, tmp_path / "some", tmp_path / "features.npz") == 1
    assert rows(tmp_path / "features.npz")[0] == ["good.png"]
    assert f"left out: {tmp_path}/some/bad.jpg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("features.csv", "valid is a file that ends in .parquet or .npz"),
        ("there.npz", "is there already"),
        ("nowhere/features.npz", "no such folder"),
        ("damaged.npz", "none of its 1 images can be read"),
    ],
)
def test_what_cannot_be_written_is_told_and_leaves_nothing(measured, tmp_path, capsys, out, says):
    (tmp_path / "there.npz").write_bytes(b"")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "bad.jpg").write_bytes(b"none")
    before = sorted(tmp_path.iterdir())
    assert embed(measured, tmp_path / "images", tmp_path / out) == 2
    assert says in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_network_of_grey_images_looks_at_photographs_in_grey(composed, folder, tmp_path):
    record = experiment.run(composed(*QUICK, f"root={tmp_path}"))
    out = tmp_path / "features.npz"
    assert embed((tmp_path, record["pretraining"]["key"]), folder, out) == 0
    assert rows(out)[1].shape == (40, 12)
