"""What only a machine with a GPU can show; elsewhere these are skipped, and say so: ``python -m pytest -m gpu``."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import tensorflow as tf

from simclr.data import ImageSplit
from simclr.foundation.machine import gpu_capabilities, resolve_precision
from simclr.training.pretrain import Pretrained, pretrain
from tests.benchmarks.flops import PEAK_TERAFLOPS, step_flops
from tests.benchmarks.recipe import made_up_images, recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not gpu_capabilities(), reason="no NVIDIA GPU that this process may use"),
]

TEN_STEPS = ("pretrain.epochs=1", "pretrain.batch_size=64", "pretrain.sizes=[[32,1.0]]", "pretrain.precision=float32")


def ten_steps(images: ImageSplit, *overrides: str) -> Pretrained:
    return pretrain(recipe(*TEN_STEPS, *overrides), images, "float32")


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


def test_a_step_uses_a_good_share_of_the_cards_peak(capsys: pytest.CaptureFixture[str]) -> None:
    """ResNet-50 at 224 pixels, the setting that cards are compared at; the share is printed, and 10 % the least."""
    config = recipe(
        *("encoder=resnet50", "data.image_size=224", "pretrain.sizes=[[224,1.0]]", "pretrain.batch_size=64"),
        *("pretrain.epochs=4", "pretrain.precision=auto"),
    )
    precision = resolve_precision("auto")
    done = pretrain(config, made_up_images(640, 224), precision)
    speed = statistics.median(row["images_per_second"] for row in done.history[1:]) if len(done.history) > 1 else np.nan
    capability = min(gpu_capabilities())
    share = speed * step_flops(config) / (PEAK_TERAFLOPS[capability] * 1e12) if capability in PEAK_TERAFLOPS else np.nan
    with capsys.disabled():
        print(f"\n{speed:,.0f} images/s in {precision}, {share:.0%} of the card's peak, {time.strftime('%Y-%m-%d')}")
    assert np.isnan(share) or share > 0.1
