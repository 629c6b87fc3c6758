"""Images that are decoded as they are used: how fast they come, whether the step waits, what they take of memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.alone import RUN, ended
from tests.benchmarks.recipe import compose_config, recipe
from tests.real_set import real_images

DISTINCT, SIDE = 300, 256
SECONDS = 8.0
"""How long each rate is measured."""


def measure(counts: tuple[int, ...] = (10_000, 100_000)) -> Iterator[tuple[str, str]]:
    """Seconds to the first step and peak memory, by number of images; images per second; the share of waiting."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = _pictures(Path(folder) / "pictures")
        for count in counts:
            data = _tree(Path(folder) / str(count), pictures, count)
            for start in ("first", "repeated"):
                seconds, peak = _run(data, Path(folder) / f"runs-{count}")
                yield f"first step, {count:,} images, {start} start", f"{seconds:.1f} s"
            yield f"peak memory of pretraining, {count:,} images", f"{peak:.2f} GiB"
        for side in (64, 256):
            yield f"input alone, {SIDE} px kept at {side} px, images per second", f"{_input_rate(data, side):.0f}"
    if real_images():
        for size in (32, 64):
            for kind, gib in (("kept", 1), ("streamed", 0)):
                waiting, rate = _waiting(size, gib)
                yield f"imagenet5, {kind}, views of {size} px: step's share of waiting for input", f"{waiting:.1%}"
                yield f"imagenet5, {kind}, views of {size} px: images per second", f"{rate:.0f}"


def _pictures(folder: Path) -> list[Path]:
    """Distinct JPEGs of about 14 kB."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(DISTINCT):
        coarse = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).resize((SIDE, SIDE))
        noisy = np.asarray(coarse).astype(int) + random.integers(-12, 12, (SIDE, SIDE, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=75)
    return list(folder.iterdir())


def _tree(folder: Path, pictures: list[Path], count: int) -> Path:
    """So many training images, and a hundredth as many test images, in ten classes: links to the pictures, in turns."""
    for split, images in (("train", count), ("test", count // 100)):
        for label in range(10):
            (folder / split / str(label)).mkdir(parents=True)
        for number in range(images):
            os.link(pictures[number % DISTINCT], folder / split / str(number % 10) / f"{number}.jpg")
    return folder


def _run(data: Path, root: Path) -> tuple[float, float]:
    """Seconds from the command to the first step, and the peak memory in GiB until some seconds later."""
    settings = ("data=folder", f"data.root={data}", "data.cache_gib=0", f"root={root}", "tracking.mode=disabled")
    begun = time.time()
    run = subprocess.Popen(
        [*RUN, *settings, "pretrain.checkpoint_minutes=1000", "hydra.verbose=simclr.training.pretrain"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    first = next(found for line in run.stderr if (found := re.search(r"first step at (\d+\.\d+)", line)))
    time.sleep(SECONDS)
    run.send_signal(signal.SIGTERM)
    run.stderr.close()
    return float(first[1]) - begun, ended(run, stopped=True).peak


def _input_rate(data: Path, side: int) -> float:
    """Images per second of the pipeline with nothing that uses them."""
    from simclr.training.runtime import start_tensorflow

    start_tensorflow(None)
    from simclr.data import StreamedSplit, load
    from simclr.training.feed import Feed
    from simclr.training.stages import Stage, batches

    config = compose_config("data=folder", f"data.root={data}", f"data.image_size={side}", "data.cache_gib=0")
    with tempfile.TemporaryDirectory() as cache:
        images = load(config.data, Path(cache)).train
    assert isinstance(images, StreamedSplit)
    size = config.pretrain.batch_size
    coming = iter(Feed(images).batches(batches(len(images), size, 0, Stage(side, 0, 1))))
    next(coming)
    begun, seen = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS and next(coming, None) is not None:
        seen += size
    return seen / (time.perf_counter() - begun)


def _waiting(size: int, gib: float) -> tuple[float, float]:
    """The share of its time that the recipe's step waits for its batch, and the images per second of both."""
    from simclr.training.runtime import start_tensorflow

    start_tensorflow(None)
    import tensorflow as tf

    from simclr.data import StreamedSplit, load
    from simclr.foundation import machine
    from simclr.model.network import build_network
    from simclr.training.feed import Feed
    from simclr.training.loss import Objective
    from simclr.training.optimizer import build_optimizer
    from simclr.training.pretrain import ContrastiveModel
    from simclr.training.stages import Stage, batches

    config = recipe(f"data.cache_gib={gib}")
    with tempfile.TemporaryDirectory() as cache:
        images = load(config.data, Path(cache)).train
        batch = config.pretrain.batch_size
        precision = machine.resolve_precision(config.pretrain.precision)
        network = build_network(config.encoder, config.head, 3, config.pretrain.side, 0, precision=precision)
        model = ContrastiveModel(
            network, images, config.augment, Objective(config.loss, config.pretrain.temperature), 0, size
        )
        model.compile(optimizer=build_optimizer(config.optimizer, 1000, 9, batch))
        step = tf.function(model.train_step)
        order = batches(len(images), batch, 0, Stage(size, 0, 1000))
        coming = iter(Feed(images).batches(order) if isinstance(images, StreamedSplit) else order)
        for element in islice(coming, 3):  # traced, and the batches that were ready before
            step(element)["loss"].numpy()
        begun, waited, steps = time.perf_counter(), 0.0, 0
        while (now := time.perf_counter()) - begun < SECONDS:
            element = next(coming)
            waited += time.perf_counter() - now
            step(element)["loss"].numpy()
            steps += 1
    seconds = time.perf_counter() - begun
    return waited / seconds, steps * batch / seconds
