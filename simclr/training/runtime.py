"""TensorFlow, started the way a reproducible run needs it, and without its start-up noise.

On a GPU XLA compiles whole steps, to the same bits every time, by a compiler that nobody waits for twice. TensorFlow's
own determinism is not used beside it: Keras compiles nothing while it is on (keras-team/keras 20315), and some kernels
have no deterministic form. XLA has flags of its own for the same bits, which have to be in the environment before
TensorFlow starts.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from simclr.foundation import machine

log = logging.getLogger(__name__)

SAME_BITS = "--xla_gpu_deterministic_ops=true"
"""No kernel whose sums come in another order each time, and none chosen by how long it happened to take."""

KERNELS, STEPS = "--xla_gpu_per_fusion_autotune_cache_dir", "--tf_xla_persistent_cache_directory"
"""Where measured choices of kernels, and compiled steps, are kept: flags of XLA and of TensorFlow."""

TOGETHER = "--xla_gpu_force_compilation_parallelism"
THREADS = 16
"""Kernels are compiled side by side, by so many threads on every machine; TensorFlow gives XLA one otherwise."""

CHOSEN_BY_USER = ("--xla_gpu_deterministic_ops", "--xla_gpu_exclude_nondeterministic_ops")


def start_tensorflow(threads: int | None, strategy: str = "one", xla: bool | None = None, minutes: float = 10.0) -> int:
    """Import and configure TensorFlow, once per process; later calls change nothing.

    One inter-op thread makes weights the same to the bit from run to run, on an idle machine or a busy one (ops then
    never race for their order); the work of each op is still split over ``threads`` intra-op threads, whose number
    changes the last bits. On a GPU steps are compiled by XLA, whose flags (:func:`environment`) see to the same bits;
    where they are not, TensorFlow's own deterministic kernels do. GPU memory grows on demand, so that several jobs can
    share a GPU.

    Args:
        threads: intra-op threads; None for one per usable processor.
        strategy: ``pretrain.strategy``; ``multi_worker`` to meet the other workers here, before the first operation,
            and to wait for them.
        xla: ``pretrain.xla``; False for steps that are not compiled, on a GPU either.
        minutes: ``pretrain.workers_minutes``, to wait for the other workers.

    Returns:
        The number of intra-op threads in force: another one where TensorFlow was already running in this process.

    Raises:
        InvalidInput: this worker's port is in use.
        RunFailed: another worker has not come.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wanted = threads or machine.cpus()
    gpus = machine.gpu_capabilities()
    compiled = xla is not False and (strategy == "one" or (strategy == "mirrored" and len(gpus) == 1))
    if gpus and compiled:
        os.environ.update(environment(os.environ, cache_folder(os.environ, gpus)))
    with _quiet_standard_error():
        import tensorflow as tf

        try:
            tf.config.threading.set_inter_op_parallelism_threads(1)
            tf.config.threading.set_intra_op_parallelism_threads(wanted)
            for gpu in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            wanted = tf.config.threading.get_intra_op_parallelism_threads() or machine.cpus()
        if tf.config.list_physical_devices("GPU") and not compiled:
            tf.config.experimental.enable_op_determinism()
        tf.get_logger().setLevel("ERROR")
    if strategy == "multi_worker":
        from simclr.training.replicas import meet_others

        meet_others(minutes)
    with _quiet_standard_error():
        if strategy == "multi_worker":
            from simclr.training.replicas import strategy_named

            strategy_named(strategy)
        tf.constant(0)  # the first op starts the device, and that is where it speaks
    if tf.config.threading.get_inter_op_parallelism_threads() != 1:
        log.warning("TensorFlow was running before this: weights may differ in their last bits between runs")
    return int(wanted)


def environment(present: Mapping[str, str], cache: Path | None) -> dict[str, str]:
    """The environment's XLA settings, with those added that reproducible steps and a quick start need.

    Args:
        present: the environment; what it has in ``XLA_FLAGS`` and ``TF_XLA_FLAGS`` stays, and wins.
        cache: where compiled steps and measured choices of kernels are kept; None for nowhere.

    Returns:
        ``XLA_FLAGS`` and ``TF_XLA_FLAGS``.
    """
    of_xla, of_tensorflow = (present.get(name, "").split() for name in ("XLA_FLAGS", "TF_XLA_FLAGS"))
    if not any(name in flag for flag in of_xla for name in CHOSEN_BY_USER):
        of_xla.append(SAME_BITS)
    settings: list[tuple[list[str], str, object]] = [(of_xla, TOGETHER, THREADS)]
    if cache is not None:
        settings += [(of_xla, KERNELS, cache / "kernels"), (of_tensorflow, STEPS, cache / "steps")]
    for flags, name, value in settings:
        if not any(name in flag for flag in flags):
            flags.append(f"{name}={value}")
    return {"XLA_FLAGS": " ".join(of_xla), "TF_XLA_FLAGS": " ".join(of_tensorflow)}


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
    determinism is on for them, see :func:`start_tensorflow`.
    """
    if xla is not None:
        return xla
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled

    return bool(tf.config.list_logical_devices("GPU")) and not is_op_determinism_enabled()


@contextmanager
def exact_float32() -> Iterator[None]:
    """Products of matrices in all of float32's digits: a GPU rounds their factors to ten bits otherwise (TF32)."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


class _quiet_standard_error:  # noqa: N801 (a context manager reads as a phrase)
    """Standard error's descriptor pointed elsewhere: C++ writes there before any log level is known to it."""

    def __enter__(self) -> None:
        self._kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
