"""What machine this is, told without TensorFlow: cores, memory, GPUs, and the precision that suits them."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simclr.foundation.version import __version__


def cpus() -> int:
    """Logical processors this process may use, fewer than the machine has under taskset, Slurm or a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Physical memory in GiB, 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return 0.0


@cache
def gpu_capabilities() -> tuple[float, ...]:
    """The compute capability of each NVIDIA GPU that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return ()
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        found = tuple(float(line) for line in listed.stdout.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    return found if visible is None else found[: len(visible.split(","))]


@cache
def cpu_gains_from_bfloat16() -> bool:
    """Whether this machine's CPU trains faster in bfloat16 than in float32, False where the system does not tell."""
    try:
        return gains_from_bfloat16(Path("/proc/cpuinfo").read_text())
    except OSError:
        return False


def gains_from_bfloat16(cpuinfo: str) -> bool:
    """Whether a CPU that Linux describes so is faster in bfloat16: with AMX, or with AMD's AVX512-BF16.

    Intel's AVX512-BF16 without AMX, which is what virtual machines often show of a CPU that has both, is no gain: a
    matrix product takes twice the time of one in float32 there, and a training step 1.4 times.
    """
    flags = set(cpuinfo.split())
    return "amx_bf16" in flags or {"avx512_bf16", "AuthenticAMD"} <= flags


def resolve_precision(requested: str) -> str:
    """``auto`` becomes ``mixed_bfloat16`` where the hardware is faster in it, else ``float32``; anything else stays."""
    if requested != "auto":
        return requested
    capabilities = gpu_capabilities()
    faster = min(capabilities) >= 8 if capabilities else cpu_gains_from_bfloat16()
    return "mixed_bfloat16" if faster else "float32"


def host(threads: int) -> dict[str, Any]:
    """The machine as a result records it."""
    return {
        "cpus": cpus(),
        "gpus": len(gpu_capabilities()),
        "memory_gib": round(memory_gib(), 1),
        "threads": threads,
    }


def versions() -> dict[str, str]:
    """The versions a result depends on, read from package metadata so that nothing needs to be imported."""

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "unknown"

    packages = ("tensorflow", "keras", "numpy")
    return {
        "python": platform.python_version(),
        **{package: installed(package) for package in packages},
        "simclr": __version__,
    }
