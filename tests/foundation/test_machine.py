"""What machine this is."""

from __future__ import annotations

import os
import stat

import pytest

from simclr.foundation import machine


@pytest.fixture
def nvidia(tmp_path, monkeypatch):
    """``nvidia("8.0")``: a machine whose ``nvidia-smi`` lists these compute capabilities."""

    def install(*capabilities: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + "".join(f"echo {each}\n" for each in capabilities))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        machine.gpu_capabilities.cache_clear()

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield install
    machine.gpu_capabilities.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        (["8.0", "8.0"], "mixed_bfloat16"),
        (["9.0"], "mixed_bfloat16"),
        (["7.5"], "float32"),
        (["8.0", "7.0"], "float32"),
    ],
)
def test_precision_follows_the_weakest_gpu(nvidia, capabilities, precision):
    nvidia(*capabilities)
    assert machine.resolve_precision("auto") == precision


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,1", 2)])
def test_only_visible_gpus_count(nvidia, monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvidia("8.0", "8.0", "8.0")
    assert len(machine.gpu_capabilities()) == count


def test_without_a_gpu_precision_follows_the_cpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    machine.gpu_capabilities.cache_clear()
    expected = "mixed_bfloat16" if machine.cpu_gains_from_bfloat16() else "float32"
    assert machine.resolve_precision("auto") == expected
    machine.gpu_capabilities.cache_clear()


@pytest.mark.parametrize(
    ("vendor", "flags", "gains"),
    [
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_bfloat16_is_chosen_only_on_cpus_that_are_faster_in_it(vendor, flags, gains):
    assert machine.gains_from_bfloat16(f"vendor_id\t: {vendor}\nflags\t\t: fpu {flags} sse2\n") is gains


@pytest.mark.parametrize("asked", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_precision_asked_for_is_the_one_that_is_used(asked):
    assert machine.resolve_precision(asked) == asked


def test_a_record_knows_its_machine_and_versions():
    host = machine.host(2)
    assert host["cpus"] >= 1
    assert host["memory_gib"] > 0
    assert host["threads"] == 2
    assert all(text != "unknown" for text in machine.versions().values())
