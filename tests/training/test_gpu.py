"""What only a machine with a GPU can show; elsewhere these are skipped, and say so: ``python -m pytest -m gpu``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from simclr.data import ImageSplit
from simclr.foundation.machine import gpu_capabilities
from simclr.training.pretrain import Pretrained, pretrain
from simclr.training.runtime import start_tensorflow
from tests.benchmarks.recipe import compose_config, made_up_images, recipe
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not gpu_capabilities(), reason="no NVIDIA GPU that this process may use"),
]

TEN_STEPS = ("pretrain.epochs=1", "pretrain.batch_size=64", "pretrain.sizes=[[32,1.0]]", "pretrain.precision=float32")
SHORT = ("encoder=small_resnet", "pretrain.epochs=6", "pretrain.checkpoint_epochs=1", "tracking.mode=disabled")
FINE_TUNED = ("probe=finetune", "probe.subsets=1", "probe.epochs=2", "probe.stops=1", "probe.learning_rates=[0.001]")


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    start_tensorflow(None)


def ten_steps(images: ImageSplit, *overrides: str) -> Pretrained:
    return pretrain(recipe(*TEN_STEPS, *overrides).recipe, images, "float32")


@pytest.fixture(scope="module")
def images() -> ImageSplit:
    return made_up_images(640, 32)


@pytest.fixture(scope="module")
def on_the_cpu(images: ImageSplit) -> Pretrained:
    with tf.device("/CPU:0"):
        return ten_steps(images, "pretrain.xla=false", "pretrain.steps_per_execution=1")


@pytest.mark.parametrize("xla", ["true", "false"])
def test_ten_steps_have_the_loss_that_the_cpu_has(images: ImageSplit, on_the_cpu: Pretrained, xla: str) -> None:
    found = ten_steps(images, f"pretrain.xla={xla}")
    assert found.history[-1]["loss"] == pytest.approx(on_the_cpu.history[-1]["loss"], abs=1e-3)


def test_memory_grows_as_it_is_needed(images: ImageSplit) -> None:
    ten_steps(images)
    (gpu, *_) = tf.config.list_physical_devices("GPU")
    assert tf.config.experimental.get_memory_growth(gpu)
    assert tf.config.experimental.get_memory_info("GPU:0")["peak"] < 4 << 30


@pytest.mark.parametrize("xla", ["true", "false"])
def test_ten_steps_of_the_documents_spread_the_embeddings(xla: str) -> None:
    """In float32, at 224 pixels, a call for each view: every operation has a kernel, and nothing collapses."""
    config = compose_config("experiment=documents", "pretrain.epochs=1", f"pretrain.xla={xla}")
    done = pretrain(config.recipe, made_up_images(640, 224), "float32")
    assert done.steps == 10
    assert np.isfinite(done.history[-1]["loss"])
    assert done.history[-1]["spread"] > 0.05


def command(root: Path, cache: Path, *overrides: str) -> subprocess.Popen[str]:
    """The real ``run.py`` on digits, its compiler's cache in a folder of the test."""
    # This process has started TensorFlow, and its own cache stands in these.
    inherited = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "TF_XLA_FLAGS")}
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "run.py"), *SHORT, f"root={root}", *overrides],
        env={**inherited, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(root: Path) -> dict[str, bytes]:
    (file,) = root.glob("pretrained/*/network.npz")
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The root of a finished run, and what it said."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = command(folder / "runs", folder / "cache")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder / "runs", said


def test_a_real_run_compiles_its_steps_and_says_so(uninterrupted: tuple[Path, str]) -> None:
    root, said = uninterrupted
    assert "compiling for 16 pixels" in said
    assert "jit_compile" not in said
    (file,) = root.glob("results/*/result.json")
    pretraining = json.loads(file.read_text())["pretraining"]
    assert 0 < pretraining["compiling"] < pretraining["seconds"]


def test_the_same_run_gives_the_same_bits_though_everything_is_compiled_anew(
    uninterrupted: tuple[Path, str], tmp_path: Path
) -> None:
    process = command(tmp_path / "runs", tmp_path / "cache")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert list(tmp_path.glob("cache/simclr/*/steps/*"))
    assert weights(tmp_path / "runs") == weights(uninterrupted[0])


def test_what_was_compiled_for_one_seed_serves_another(tmp_path: Path) -> None:
    """Steps of pretraining and of fine-tuning, and the passes that compute features."""
    kept = []
    for seed in (0, 1):
        process = command(tmp_path / f"runs-{seed}", tmp_path / "cache", *FINE_TUNED, f"seed={seed}")
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        kept.append(sorted(tmp_path.glob("cache/simclr/*/steps/*")))
    assert kept[0]
    assert kept[0] == kept[1]


def test_a_killed_run_goes_on_to_the_same_bits(uninterrupted: tuple[Path, str], tmp_path: Path) -> None:
    process = command(tmp_path / "runs", tmp_path / "cache", "hydra.verbose=simclr.experiment.pretrained")
    assert process.stderr is not None
    for line in process.stderr:
        if "saved at step" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    time.sleep(1)
    process = command(tmp_path / "runs", tmp_path / "cache")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "going on from epoch" in said
    assert weights(tmp_path / "runs") == weights(uninterrupted[0])
