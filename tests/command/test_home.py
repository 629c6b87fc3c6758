"""``~`` in the place of the home directory, typed as people type it: into a shell, after ``=``."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
RUN = f"{shlex.quote(sys.executable)} {shlex.quote(str(REPOSITORY / 'run.py'))}"
SWEEP = f"{shlex.quote(sys.executable)} -m simclr.sweep"
TINY = (
    "data=folder data.image_size=12 encoder.widths=[4,6] encoder.blocks=[1,1] pretrain.epochs=1 pretrain.batch_size=8 "
    "pretrain.monitor_epochs=0 probe=knn probe.label_fraction=0.5 probe.subsets=2"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home directory with two sets of images, one of them with a blank in its name."""
    home = tmp_path_factory.mktemp("home")
    generator = np.random.default_rng(0)
    for name in ("flowers", "more flowers"):
        for number in range(24):
            part, label = ("test" if number % 3 == 0 else "train"), ("rose", "tulip")[number % 2]
            path = home / name / part / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 255, (12, 12, 3), np.uint8)).save(path)
    (home / "sweep.yaml").write_text(
        "method: grid\nprogram: run.py\nparameters:\n  probe.neighbours: {values: [[1], [3]]}\n"
        "command: ['${program}', data.root=~/flowers, '${args_no_hyphens}']\n"
    )
    return home


def typed(command: str, home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What bash makes of a line."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []  # no folder that is called "~"
    return done


def test_a_run_finds_its_images_and_its_root_there(home, tmp_path):
    done = typed(f"{RUN} {TINY} data.root=~/flowers root=~/single", home, tmp_path)
    path = Path(done.stdout.splitlines()[-1].removeprefix("result "))
    assert path.is_relative_to(home / "single")
    record = json.loads(path.read_text())
    assert record["data"]["train"] == 16
    assert {entry.name for entry in (home / "single").iterdir()} >= {"results", "pretrained", "data", "hydra"}
    typed(f"{RUN} --config-dir=~/single/results/{path.parent.name} root=~/single", home, tmp_path)
    listed = typed(f"{SWEEP} status --root=~/single", home, tmp_path)
    assert "finished" in listed.stdout + listed.stderr


GRID = f"{RUN} -m {TINY} 'data.root=~/flowers,~/more flowers' root=~/grid"
FILE = f"{SWEEP} ~/sweep.yaml {TINY} root=~/sweep"


@pytest.mark.parametrize("command", [GRID, FILE, f"{FILE} 'data.root=~/more flowers'"], ids=["-m", "file", "override"])
def test_a_grid_is_planned_from_images_there(command, home, tmp_path):
    assert "2 cells" in typed(f"{command} --dry-run", home, tmp_path).stdout


@pytest.mark.slow
@pytest.mark.parametrize(("command", "root"), [(GRID, "grid"), (FILE, "sweep")])
def test_a_grid_is_run_on_images_there(command, root, home, tmp_path):
    typed(command, home, tmp_path)
    assert len(list((home / root / "results").glob("*/result.json"))) == 2
    assert (home / root / "report" / "index.html").exists()
    assert {entry.name for entry in home.iterdir()} >= {root, "flowers"}


def test_the_store_explains_what_is_there(home, tmp_path):
    command = f"{shlex.quote(sys.executable)} -m simclr.store explain {TINY} data.root=~/flowers root=~/nowhere"
    assert str(home / "nowhere") in typed(command, home, tmp_path).stdout
