"""The notebook, executed as Jupyter does, in a clone in which nothing was run yet."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

nbformat = pytest.importorskip("nbformat", reason="pip install 'simclr[test]'")

NOTEBOOK = REPOSITORY / "docs" / "ablation.ipynb"


def test_it_is_kept_without_outputs():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.slow
def test_it_ends_with_the_table_and_the_page_inline(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    for name in ("conf", "hydra_plugins", "pyproject.toml", "run.py", "simclr"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "docs").mkdir()
    shutil.copy(NOTEBOOK, tmp_path / "docs")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str(tmp_path / "docs")}}
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=folder).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    frame, table, page = (each for each in shown if each)
    assert frame["text/html"].count("_relu") == 3
    assert "| zero\\_relu | encoder" in table["text/markdown"] or "| zero_relu | encoder" in table["text/markdown"]
    assert "srcdoc" in page["text/html"]
    assert len(list((tmp_path / "runs" / "notebook" / "results").glob("*/result.json"))) == 3
    assert not (tmp_path / "docs" / "runs").exists()
