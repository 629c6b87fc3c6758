"""The stack of rooms, and the public face above it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import grimp
import pytest

import simclr
from tests.conftest import REPOSITORY


def test_a_room_imports_from_those_below_it_alone():
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", lint, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_files_import_each_other_in_a_circle_be_it_late_or_for_types():
    graph = grimp.build_graph("simclr", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert sum(map(len, imports.values())) > 300, "the graph of this package"
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_a_whole_configuration_is_for_the_upper_rooms_and_the_identity_of_cells():
    takers = {
        f"{path.parent.name}.{path.stem}.{function.name}"
        for path in (REPOSITORY / "simclr").glob("*/*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.annotation and "Config" in re.findall(r"\w+", ast.unparse(argument.annotation))
    }
    below = {name for name in takers if name.partition(".")[0] not in ("command", "grid", "experiment", "config")}
    assert below == {"store.explain.explain"}, "says which cell a configuration means"


@pytest.mark.parametrize("name", ["answer", "load_network", "load_results", "nt_xent", "run"])
def test_what_the_public_face_names_is_there_and_says_what_it_is(name):
    assert name in dir(simclr)
    assert callable(getattr(simclr, name))
    assert f":func:`{name}`" in simclr.__doc__


def test_the_public_face_has_nothing_else():
    assert {*simclr.__all__} == {"__version__", "answer", "load_network", "load_results", "nt_xent", "run"}
    with pytest.raises(AttributeError, match="module 'simclr' has no attribute 'nothing'"):
        simclr.nothing  # noqa: B018


def test_the_public_face_and_every_room_are_imported_without_tensorflow():
    rooms = sorted(path.parent.name for path in (REPOSITORY / "simclr").glob("*/__init__.py"))
    names = ", ".join(f"simclr.{room}" for room in rooms)
    face = "answer, load_network, load_results, run"
    code = f"import sys, {names}; from simclr import {face}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
