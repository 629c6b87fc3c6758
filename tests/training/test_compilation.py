"""XLA's settings on a machine with a GPU, shown where there is none: by a command that stands in for ``nvidia-smi``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simclr.training.runtime import (
    KERNELS,
    SAME_BITS,
    STEPS,
    THREADS,
    TOGETHER,
    cache_folder,
    compiles,
    environment,
)

SIDE_BY_SIDE = f"{TOGETHER}={THREADS}"


def test_steps_are_compiled_to_the_same_bits_side_by_side_and_kept():
    found = environment({}, Path("/cache"))
    assert found["XLA_FLAGS"].split() == [SAME_BITS, SIDE_BY_SIDE, f"{KERNELS}=/cache/kernels"]
    assert found["TF_XLA_FLAGS"].split() == [f"{STEPS}=/cache/steps"]


def test_what_a_user_has_set_stays_and_wins():
    given = {"XLA_FLAGS": f"--xla_gpu_cuda_data_dir=/cuda {KERNELS}=/mine", "TF_XLA_FLAGS": f"{STEPS}=/mine"}
    found = environment(given, Path("/cache"))
    assert found["XLA_FLAGS"] == f"{given['XLA_FLAGS']} {SAME_BITS} {SIDE_BY_SIDE}"
    assert found["TF_XLA_FLAGS"] == given["TF_XLA_FLAGS"]


@pytest.mark.parametrize("flag", ["--xla_gpu_deterministic_ops=false", "--xla_gpu_exclude_nondeterministic_ops=true"])
def test_another_choice_about_determinism_is_left_as_it_is(flag):
    assert SAME_BITS not in environment({"XLA_FLAGS": flag}, None)["XLA_FLAGS"]


def test_setting_it_twice_changes_nothing():
    once = environment({}, Path("/cache"))
    assert environment(once, Path("/cache")) == once


def test_without_a_cache_nothing_is_kept():
    assert environment({}, None) == {"XLA_FLAGS": f"{SAME_BITS} {SIDE_BY_SIDE}", "TF_XLA_FLAGS": ""}


def test_a_user_may_compile_with_another_number_of_threads():
    found = environment({"XLA_FLAGS": f"{TOGETHER}=2"}, None)["XLA_FLAGS"].split()
    assert found == [f"{TOGETHER}=2", SAME_BITS]


def test_the_cache_lies_below_the_users_and_belongs_to_a_version(tmp_path):
    folder = cache_folder({"XDG_CACHE_HOME": str(tmp_path)})
    assert folder is not None
    assert folder.relative_to(tmp_path).parts[0] == "simclr"
    assert "xla-2." in folder.name
    assert (folder / "steps").stat().st_mode & 0o077 == 0


def test_a_step_compiled_with_other_flags_or_for_another_card_is_another(tmp_path):
    here = {"XDG_CACHE_HOME": str(tmp_path)}
    other = {**here, "XLA_FLAGS": "--xla_gpu_exclude_nondeterministic_ops=true"}
    assert len({cache_folder(here, (9.0,)), cache_folder(here, (8.0,)), cache_folder(other, (9.0,))}) == 3


def test_a_process_started_by_another_one_keeps_in_the_same_place(tmp_path):
    here = {"XDG_CACHE_HOME": str(tmp_path)}
    folder = cache_folder(here, (9.0,))
    assert cache_folder({**here, **environment(here, folder)}, (9.0, 9.0)) == folder


def test_a_cache_that_cannot_be_written_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path / "file")}) is None


def test_nothing_is_compiled_without_a_gpu_unless_it_is_asked_for():
    assert (compiles(), compiles(True), compiles(False)) == (False, True, False)


def started(tmp_path: Path, call: str) -> list[str]:
    """XLA's settings in a process that has a GPU, by ``nvidia-smi``'s word, and has started TensorFlow."""
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text("#!/bin/sh\necho 9.0\n")
    stand_in.chmod(0o755)
    code = (
        f"import os; from simclr.training.runtime import start_tensorflow; start_tensorflow({call});"
        "print(os.environ.get('XLA_FLAGS', ''), '|', os.environ.get('TF_XLA_FLAGS', ''))"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return [part.strip() for part in done.stdout.split("|")]


def test_tensorflow_starts_with_these_settings_where_there_is_a_gpu(tmp_path):
    of_xla, of_tensorflow = started(tmp_path, "1")
    assert SAME_BITS in of_xla
    assert of_tensorflow.startswith(f"{STEPS}={tmp_path}/simclr/xla-")


def test_it_starts_without_them_where_nothing_is_compiled(tmp_path):
    assert started(tmp_path, "1, xla=False") == ["", ""]
