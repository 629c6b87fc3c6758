"""A grid whose truth is known, written once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from simclr.report.write import Report, write
from tests.report.constructed import Noise, build, grid

TRUTH = {
    ("two_relu", "encoder"): 1.4,
    ("two_relu", "relu_1"): 1.4,
    ("two_relu", "relu_2"): 0.7,
    ("one_relu", "encoder"): 1.4,
    ("none", "encoder"): 0.3,
}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a grid of three seeds, with features, and with files that give no number."""
    root = build(tmp_path_factory.mktemp("grid") / "runs", grid(TRUTH), Noise(images=150), features=True)
    spoil(root)
    return write(root)


@pytest.fixture
def copied(written: Report, tmp_path: Path) -> Callable[..., Path]:
    """``copied()``: the same root once more, to be changed; with ``results_only`` nothing of its pretrainings."""

    def copy(results_only: bool = False) -> Path:
        assert written.page is not None
        left_out = shutil.ignore_patterns("pretrained") if results_only else None
        return Path(shutil.copytree(written.page.parents[1], tmp_path / "runs", ignore=left_out))

    return copy


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of nothing but words and tables, where pictures are not the question: drawing takes most of the time."""
    monkeypatch.setattr("simclr.report.pictures.MAKERS", ())


def spoil(root: Path) -> None:
    """Add what grids leave behind besides results."""
    results = root / "results"
    (results / "notes.txt").write_text("mine")
    (results / "holiday").mkdir()
    for name, content in {
        "cut": '{"schema": 1, "status": "fini',
        "failed": '{"schema": 1, "status": "failed", "error": "<b>out</b> of memory", "cell": {}}',
        "skipped": '{"schema": 1, "status": "skipped", "error": "no such layer", "cell": {}}',
        "other-schema": '{"schema": 99, "cell": {}}',
        "no-number": '{"schema": 1, "status": "finished", "cell": {"data": "digits"}}',
    }.items():
        (results / name).mkdir()
        (results / name / "result.json").write_text(content)
    (results / "under-way").mkdir()
    (results / "under-way" / "config.yaml").write_text("seed: 0\n")
