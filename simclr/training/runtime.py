"""TensorFlow, started the way a reproducible run needs it, and without its start-up noise."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from simclr.foundation import machine
from simclr.training import compilation

log = logging.getLogger(__name__)


def start_tensorflow(threads: int | None, strategy: str = "one", xla: bool | None = None, minutes: float = 10.0) -> int:
    """Import and configure TensorFlow, once per process; later calls change nothing.

    One inter-op thread makes weights the same to the bit from run to run, on an idle machine or a busy one (ops then
    never race for their order); the work of each op is still split over ``threads`` intra-op threads, whose number
    changes the last bits. On a GPU steps are compiled by XLA, whose flags (:mod:`simclr.training.compilation`) see to
    the same bits; where they are not, TensorFlow's own deterministic kernels do. GPU memory grows on demand, so that
    several jobs can share a GPU.

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
        os.environ.update(compilation.environment(os.environ, compilation.cache_folder(os.environ, gpus)))
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
