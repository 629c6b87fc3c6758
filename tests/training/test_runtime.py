"""TensorFlow's start."""

from __future__ import annotations

import subprocess
import sys

START = "from simclr.training.runtime import start_tensorflow; print(start_tensorflow({threads}));"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_tensorflow_starts_silently_with_the_threads_asked_for_and_one_that_orders_operations():
    code = START.format(threads=3) + (
        "import tensorflow as tf;"
        "print(tf.config.threading.get_intra_op_parallelism_threads());"
        "print(tf.config.threading.get_inter_op_parallelism_threads())"
    )
    done = python(code)
    assert done.stdout.split() == ["3", "3", "1"]
    assert done.stderr == ""


def test_a_tensorflow_that_was_running_before_is_left_as_it_is_and_told_of():
    code = "import tensorflow as tf; tf.constant(1); tf.constant(1) + 1; import sys; sys.stderr.flush();"
    done = python(code + "print('|', file=sys.stderr, flush=True);" + START.format(threads=3))
    assert int(done.stdout) >= 1
    assert "weights may differ in their last bits" in done.stderr.rsplit("|", 1)[1]
