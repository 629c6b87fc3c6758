"""XLA on a GPU: whole steps compiled to the same bits every time, by a compiler that nobody waits for twice.

TensorFlow's own determinism is not used beside XLA: Keras compiles nothing while it is on (keras-team/keras 20315), and
some kernels have no deterministic form. XLA has flags of its own for the same bits, which have to be in the environment
before TensorFlow starts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

SAME_BITS = "--xla_gpu_deterministic_ops=true"
"""No kernel whose sums come in another order each time, and none chosen by how long it happened to take."""

KERNELS, STEPS = "--xla_gpu_per_fusion_autotune_cache_dir", "--tf_xla_persistent_cache_directory"
"""Where measured choices of kernels, and compiled steps, are kept: flags of XLA and of TensorFlow."""

TOGETHER = "--xla_gpu_force_compilation_parallelism"
THREADS = 16
"""Kernels are compiled side by side, by so many threads on every machine; TensorFlow gives XLA one otherwise."""

CHOSEN_BY_USER = ("--xla_gpu_deterministic_ops", "--xla_gpu_exclude_nondeterministic_ops")


def environment(present: Mapping[str, str], cache: Path | None) -> dict[str, str]:
    """The environment's XLA settings, with those added that reproducible steps and a quick start need.

    Args:
        present: the environment; what it has in ``XLA_FLAGS`` and ``TF_XLA_FLAGS`` stays, and wins.
        cache: where compiled steps and measured choices of kernels are kept; None for nowhere.

    Returns:
        ``XLA_FLAGS`` and ``TF_XLA_FLAGS``.
    """
    given = present.get("XLA_FLAGS", "")
    flags = given.split()
    if not any(name in given for name in CHOSEN_BY_USER):
        flags.append(SAME_BITS)
    flags += _unless_given(given, TOGETHER, THREADS)
    of_tensorflow = present.get("TF_XLA_FLAGS", "").split()
    if cache is not None:
        flags += _unless_given(given, KERNELS, cache / "kernels")
        of_tensorflow += _unless_given(present.get("TF_XLA_FLAGS", ""), STEPS, cache / "steps")
    return {"XLA_FLAGS": " ".join(flags), "TF_XLA_FLAGS": " ".join(of_tensorflow)}


def _unless_given(flags: str, name: str, value: Path | int) -> list[str]:
    return [] if name in flags else [f"{name}={value}"]


def cache_folder(present: Mapping[str, str], capabilities: Sequence[float] = ()) -> Path | None:
    """Where the compiler's results are kept, below the user's cache folder; None where it cannot be written.

    They are of one version of TensorFlow, one setting of XLA and one kind of card. TensorFlow looks a step up by what
    it computes alone, and would take one that was compiled with other flags, to other bits, or for another card.

    Args:
        present: the environment.
        capabilities: the compute capability of each GPU.
    """
    base = Path(present.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    ours = (SAME_BITS, KERNELS, TOGETHER)
    settings = sorted(flag for flag in present.get("XLA_FLAGS", "").split() if not flag.startswith(ours))
    digest = hashlib.sha256(repr((settings, sorted(set(capabilities)))).encode()).hexdigest()[:8]
    folder = base / "simclr" / f"xla-{version('tensorflow')}-{digest}"
    try:
        for name in ("kernels", "steps"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def compiles(xla: bool | None = None) -> bool:
    """Whether a function on the device is to be compiled: as ``pretrain.xla`` says, else on a GPU.

    Several GPUs that share a batch talk to each other inside a step, which XLA cannot compile here: TensorFlow's own
    determinism is on for them, see :func:`simclr.training.runtime.start_tensorflow`.
    """
    if xla is not None:
        return xla
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled

    return bool(tf.config.list_logical_devices("GPU")) and not is_op_determinism_enabled()
