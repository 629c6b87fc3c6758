"""Pictures: which there are, and that they are what they say."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from simclr.report import plot_search
from simclr.report.groups import group
from simclr.report.palette import DARK, LIGHT, MARKERS
from simclr.report.pictures import draw
from simclr.report.records import read
from simclr.report.scene import Scene
from simclr.report.statistics import panels
from simclr.report.write import write
from tests.report.constructed import Made, Noise, build, grid

NAMES = {"accuracy-by-layer", "representation", "spectra", "maps", "confusion", "training-curves"}


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_each_picture_is_there_in_light_and_dark(written):
    folder = written.page.parent
    assert {file.stem for file in folder.glob("*.png")} == NAMES | {f"{name}-dark" for name in NAMES}
    for name in NAMES:
        with Image.open(folder / f"{name}.png") as light, Image.open(folder / f"{name}-dark.png") as dark:
            assert light.size == dark.size
            assert light.getpixel((0, 0)) == (255, 255, 255)
            assert sum(dark.getpixel((0, 0))) < 120


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_heads_have_colours_and_markers_of_their_own_that_stand_out(theme):
    assert len(set(theme.heads.values())) == len(set(MARKERS.values())) == 5
    for colour in [*theme.heads.values(), theme.ink]:
        bright, dim = sorted((luminance(colour), luminance(theme.paper)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 3


def test_shares_of_labels_and_epochs_have_pictures_where_the_grid_has_them(tmp_path):
    truth = {("two_relu", "encoder"): 1.0}
    cells = [each for share in (0.1, 0.5) for each in grid(truth, seeds=(0,), probe__label_fraction=share)]
    cells += grid(truth, seeds=(0,), probe__label_fraction=0.1, pretrain__epochs=80)
    report = write(build(tmp_path, cells))
    names = {file.stem for file in report.page.parent.glob("*.png")}
    assert {"accuracy-by-labels", "accuracy-by-epochs"} <= names


def test_of_many_classes_the_pairs_that_are_mistaken_most_often_are_shown(tmp_path):
    root = build(tmp_path, [Made("two_relu", "encoder", 0, 1.0)], Noise(images=800, classes=200), features=True)
    names = {file.stem for file in write(root).page.parent.glob("*.png")}
    assert {"mistakes", "maps"} <= names
    assert "confusion" not in names


def test_a_picture_of_what_is_gone_goes_too(copied):
    root = copied()
    for file in [*root.glob("pretrained/*/history.csv"), *root.glob("pretrained/*/features/*/trained-*/*")]:
        file.unlink()
    folder = write(root).page.parent
    assert {file.stem for file in folder.glob("*.png")} == {
        f"{name}{ground}" for name in NAMES - {"training-curves", "spectra", "maps"} for ground in ("", "-dark")
    }


def test_files_that_make_no_picture_cost_that_picture_only(copied, caplog):
    root = copied()
    for file in root.glob("pretrained/*/features/*/*/*.npy"):
        file.write_bytes(b"\x93NUMPY")
    for file in root.glob("pretrained/*/history.csv"):
        file.write_bytes(b"epoch,loss\n\xff\xfe,nan\n")
    for file in root.glob("results/*/result.json"):
        try:
            record = json.loads(file.read_text())
        except ValueError:
            continue
        if record.get("probe"):
            record["probe"]["confusion"] = [[1, 2], [3]]
            record["representation"] = {"alignment": "near", "uniformity": None}
            record["cell"]["head"] = "$\\frac{two$"
            file.write_text(json.dumps(record))
    report = write(root)
    assert {file.stem for file in report.page.parent.glob("*.png")} >= {"accuracy-by-layer"}
    assert "\\frac{two" in report.page.read_text()


def test_pictures_are_opaque_and_sharp(written):
    with Image.open(io.BytesIO((written.page.parent / "accuracy-by-layer.png").read_bytes())) as image:
        assert image.mode == "RGB"
        assert image.width >= 1000


def test_a_search_has_a_picture_of_what_matters(tmp_path):
    cells = [
        each
        for temperature in (0.1, 0.5)
        for rate in (0.001, 0.002, 0.004)
        for each in grid(
            {("two_relu", "encoder"): 3 * temperature},
            seeds=(0,),
            pretrain__temperature=temperature,
            optimizer__learning_rate=rate,
        )
    ]
    findings = read(build(tmp_path, cells))
    found = group(findings.cells)
    picture = plot_search.search(Scene(tmp_path, found, tuple(panels(found.groups))))
    assert "each: pretrain.temperature 0." in picture.reading
    assert draw(picture).png["light"].startswith(b"\x89PNG")
