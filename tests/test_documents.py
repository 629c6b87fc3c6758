"""README, the pages of ``docs/`` and ``--help``: every command in them is run by bash as it is typed.

A command is run in its shortest form, which appends words and changes none: ``--cfg job`` composes a single run's
configuration, ``--dry-run`` plans a grid. Under ``-m slow`` single runs are trained, small, and what needs a result has
one. What stands for something else (``KEY``, ``DIR``) has something put in its place.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

NOT_RUN = {
    r"(pip install \S+)( '[^']*')?": "installs packages",
    r"wandb (login|(leet|sync) DIR)": "needs W&B's account or a tracked run",
    r"wandb (sweep sweeps/ablation.yaml|agent --forward-signals ID)": "needs W&B's server; tests/tracking has one",
    r"python run.py -m launch=gpus hydra.launcher.ray.*": "needs Ray and a GPU; tests/grid has the launchers",
    r"([A-Z_]+=\S+ )?python -m tests.benchmarks .*": "takes minutes on a quiet machine",
    r"python -m pytest -m gpu": "needs a GPU",
}
"""Commands that no test here runs, as patterns, each with its reason."""

BEFORE = {
    r"pip install -e \S+ && ": "installs packages; what follows is run",
    r"srun (--\S+ )*": "needs Slurm; what it starts is run",
}
"""Beginnings of commands that no test here runs, each with its reason."""

NEEDS_A_RESULT = (
    r"python run.py --config-dir runs/results/CELL.*",
    r"python -m simclr.report",
    r"python -m simclr.store (export|embed) KEY .*",
)
"""Commands that say no more than that there is nothing yet where no cell was run."""

TINY = (
    "encoder.widths=[4,6] encoder.blocks=[1,1] data.image_size=16 pretrain.sizes=[[16,1.0]] pretrain.epochs=1 "
    "pretrain.batch_size=16 pretrain.monitor_epochs=0 optimizer.warmup_epochs=0 probe.image_size=16 probe.subsets=2"
)


def typed(page: str) -> Iterator[str]:
    """The commands of a Markdown page: the lines of its shell blocks, and what stands in backquotes as one."""
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        yield from (line.partition("  #")[0].strip() for line in block.splitlines())
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    for inline in re.findall(r"`([^`]+)`", prose):
        command = " ".join(inline.split()).removesuffix("...").strip()
        if re.match(r"([A-Z_]+=\S+ )?(python|pip|wandb|srun|docker|sbatch|ray) ", command):
            yield command


def helped(text: str) -> Iterator[str]:
    """The commands in a text that ``--help`` prints, without what may be left out."""
    for line in re.findall(r"^ *(python .*?)(?::.*)?$", " ".join(text.split("  ")), re.MULTILINE):
        yield re.sub(r" \[(OPTION|KEY|--|-h)[^\]]*\]", "", line).strip()


def collected() -> dict[str, str]:
    """Every command, with the name of the text that it is from first."""
    found: dict[str, str] = {}
    for page in PAGES:
        found |= {command: page.name for command in typed(page.read_text()) if command not in found}
    template = yaml.safe_load((REPOSITORY / "conf" / "config.yaml").read_text())["hydra"]["help"]["template"]
    return found | {command: "--help" for command in helped(template) if command not in found}


def matches(command: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in patterns)


def without_beginning(command: str) -> str:
    for pattern in BEFORE:
        command = re.sub(rf"\A{pattern}", "", command)
    return command


def shortest(command: str) -> str:
    """The command with what makes it short behind it."""
    if command.startswith("python -m pytest"):
        return f"{command} --collect-only tests/foundation/test_files.py"
    if " -m simclr.sweep " in command and not re.search(r" status\b| --help\b", command):
        return command if "--dry-run" in command else f"{command} --dry-run"
    if " -m simclr.data" in command:
        return f"{command} root=~/looked-at"
    if not command.startswith("python run.py") or "--help" in command or "--cfg" in command:
        return command
    if " -m" in command:
        return f"{command} --dry-run"
    return f"{command} --cfg job"


COMMANDS = collected()
RUN = {command: without_beginning(command) for command in COMMANDS if not matches(command, NOT_RUN)}
SHORT = sorted({command for command in RUN.values() if not matches(command, NEEDS_A_RESULT)})
# The documents' protocol is a ResNet-50's, which cannot be made small.
NOT_SINGLE = r" -m| --|DIR|multi_worker|experiment=documents"
SINGLE = [each for each in SHORT if each.startswith("python run.py") and not re.search(NOT_SINGLE, each)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home directory with the images that the documents speak of."""
    home = tmp_path_factory.mktemp("home")
    generator = np.random.default_rng(0)
    for number in range(120):
        path = (
            home
            / "flowers"
            / ("test" if number % 3 == 0 else "train")
            / ("rose", "tulip")[number % 2]
            / f"{number}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (20, 20, 3), np.uint8)).save(path)
    (home / "cifar10").symlink_to(home / "flowers")
    (home / "photographs").symlink_to(home / "flowers" / "train")
    return home


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What a clone of the repository has, in a folder in which nothing was run yet."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("conf", "docs", "hydra_plugins", "pyproject.toml", "run.py", "simclr", "sweeps", "tests"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


def bash(command: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "HOME": str(home), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def outcomes(clone, home) -> dict[str, subprocess.CompletedProcess[str]]:
    """What came of each command in its shortest form, two at a time."""
    with ThreadPoolExecutor(2) as workers:
        return dict(zip(SHORT, workers.map(lambda each: bash(shortest(each), clone, home), SHORT), strict=True))


@pytest.mark.parametrize("command", SHORT, ids=str)
def test_a_command_is_understood_as_it_is_typed(command, outcomes):
    done = outcomes[command]
    assert done.returncode == 0, f"{shortest(command)}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr


def test_nothing_but_plans_was_made_of_them(outcomes, clone):
    assert not (clone / "runs").exists()
    assert not (clone / "~").exists()


def test_the_help_of_each_command_names_no_other_commands(clone, home):
    for program in ("simclr.data", "simclr.sweep", "simclr.sweep status", "simclr.store", "simclr.report"):
        text = bash(f"COLUMNS=200 python -m {program} --help", clone, home).stdout
        assert text.startswith(f"usage: python -m {program}")
        assert set(helped(text)) <= {*RUN, f"python -m {program}"}


def test_a_reason_is_given_for_no_command_that_is_not_there():
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in COMMANDS), pattern
    for pattern in BEFORE:
        assert any(re.match(pattern, command) for command in COMMANDS), pattern


def test_the_documents_name_benchmarks_that_there_are():
    for command in COMMANDS:
        if named := re.search(r"-m tests.benchmarks (\w+)", command):
            assert named[1] == "NAME" or (REPOSITORY / "tests" / "benchmarks" / f"{named[1]}.py").exists(), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


@pytest.mark.slow
@pytest.mark.parametrize("command", SINGLE, ids=str)
def test_a_single_run_ends_with_a_result(command, clone, home):
    if "imagenet5" in command and not os.environ.get("SIMCLR_DATA"):
        pytest.skip("no photographs here: SIMCLR_DATA")
    if "cifar10" in command:
        pytest.skip("would be downloaded")
    layers = "" if "probe.layer" in command else " probe.layer=encoder"
    done = bash(f"{command} {TINY}{layers}", clone, home)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].startswith("result runs/results/")


@pytest.mark.slow
def test_what_needs_a_result_works_where_there_is_one(clone, home, tmp_path):
    done = bash(f"python run.py head=two_relu probe.layer=-4 {TINY}", clone, home)
    record = clone / done.stdout.splitlines()[-1].removeprefix("result ")
    cell, key = record.parent.name, json.loads(record.read_text())["pretraining"]["key"]
    places = {"CELL": cell, "KEY": key, "DIR": str(tmp_path / "exported")}
    for command in filter(lambda each: matches(each, NEEDS_A_RESULT), RUN.values()):
        there = re.sub("|".join(places), lambda found: places[found[0]], command)
        done = bash(there, clone, home)
        assert done.returncode == 0, f"{there}\n{done.stderr[-2000:]}"
