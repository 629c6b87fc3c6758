"""What comes after pretraining, at the field's scale: CIFAR-10 with all labels, and a probe of ImageNet's kind."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.alone import RUN, ended
from tests.real_set import REPOSITORY, data_folder

ARCHIVE = Path("cifar10") / "cifar10-jpeg.tar.xz"
SHORT = ("pretrain.epochs=1", "pretrain.batch_size=64", "pretrain.sizes=[[32,1.0]]", "tracking.mode=disabled")
IMAGES, TEST, WIDTH, CLASSES = 128_000, 10_000, 2048, 1000
SIZES = ((32_000, 250), (64_000, 250), (32_000, 500), (IMAGES, CLASSES))
"""Images and classes of the constructed probes."""
TOLD, APART = 256, 0.25
"""Directions in which classes differ, and how far, in standard deviations of the images of one class."""
IMAGENET = 1_281_167
H100 = 51e12
"""Float32 operations a second of an H100 with PCIe outside of its tensor cores, by its data sheet."""

PASSES = """
import sys, time
from simclr.training.runtime import start_tensorflow
start_tensorflow(None)
import numpy as np, tensorflow as tf
from simclr.config.compose import compose
from simclr.model.network import build_network, representations
config, rounds = compose(sys.argv[2:]), int(sys.argv[1])
network = build_network(config.encoder, config.head, 3, config.pretrain.side, 0)
model = representations(network, ["encoder"])
look = tf.function(lambda images: model(images, training=False)["encoder"])
images = tf.constant(np.random.default_rng(0).random((128, 32, 32, 3), np.float32))
look(images)
begun = time.perf_counter()
for _ in range(rounds):
    look(images)
print((time.perf_counter() - begun) / rounds / 128)
"""

PROBE = """
import sys, time
from simclr.training.runtime import start_tensorflow
start_tensorflow(None)
import numpy as np, scipy.optimize
from threadpoolctl import threadpool_limits
from simclr.evaluation import softmax
from simclr.evaluation.linear import LogisticRegression
looks, minimize = [0], scipy.optimize.minimize
def counted(*given, **more):
    found = minimize(*given, **more)
    looks[0] += found.nfev
    return found
scipy.optimize.minimize = counted
features, labels = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
train = len(labels) - int(sys.argv[3])
begun = time.perf_counter()
with threadpool_limits(1):
    probe = LogisticRegression((0.001, 0.01, 0.1, 1.0))
    fit = probe(features[:train], labels[:train], features[train:], labels[train:], 0)
seconds = time.perf_counter() - begun
right = np.mean(fit.test == labels[train:])
near = np.mean((fit.best == labels[train:, None]).any(axis=1))
print(seconds, looks[0], right, near)
"""


def measure() -> Iterator[tuple[str, str]]:
    """Seconds, memory and disk of CIFAR-10's cells, where it is at hand; then of constructed probes."""
    archive = data_folder() / ARCHIVE
    if archive.exists():
        with tempfile.TemporaryDirectory() as folder:
            yield from _cifar10(archive, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _constructed(Path(folder))


def _cifar10(archive: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Of ResNet-18 at 32 px, which has 512 features; it is trained for a moment, on a few of the images."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "images", filter="data")
    images = next((folder / "images").rglob("train")).parent
    few = [path for path in sorted(images.glob("train/*/*.jpg")) if path.stem.endswith("07")]
    for path in few:
        place = folder / "few" / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(path)
    root = folder / "runs"
    views = ("augment=simclr", "augment.flip=0", "data=folder", f"data.root={folder / 'few'}", "data.image_size=32")
    asked = ("transfer=folder", f"transfer.root={images}", "transfer.image_size=32", "probe.image_size=32")
    given = (*SHORT, *views, *asked, f"root={root}")
    network, everything = ("encoder=resnet18",), ("probe.label_fraction=1", "probe.subsets=1")

    record, seconds, peak = _cell(*given, *everything)
    yield "decoding, and the pixel baseline, in a cell of small_cnn", f"{seconds:.0f} s, {peak:.2f} GiB"
    record, seconds, peak = _cell(*given, *network, *everything)
    yield "a first cell, 512 features, all labels, one subset, pixels known", f"{seconds:.0f} s, {peak:.2f} GiB"
    features = root / "pretrained" / record["pretraining"]["key"] / "features"
    kept = sum(path.stat().st_size for path in features.glob("*/*/*"))
    yield "features on disk, trained and untrained", f"{kept / 1e6:.0f} MB"
    _, seconds, peak = _cell(*given, *network, *everything, "rerun=true")
    yield "a further cell, baselines known", f"{seconds:.0f} s, {peak:.2f} GiB"
    shutil.rmtree(features)
    _, seconds, peak = _cell(*given, *network, *everything, "rerun=true")
    passes = _passes(*given, *network) * (60_000 + 2 * 10_000)
    yield "the same with the first computing of features", f"{seconds:.0f} s, {peak:.2f} GiB"
    yield "bare forward passes over 60,000 images and 20,000 views", f"{passes:.0f} s"
    yield "the cell beyond 1.1 times the passes", f"{seconds - 1.1 * passes:.0f} s"
    tenth = (*given, *network, "probe.label_fraction=0.1", "probe.subsets=5")
    record, seconds, peak = _cell(*tenth)
    yield "a tenth of the labels, five subsets, the first time", f"{seconds:.0f} s, {peak:.2f} GiB"
    _, seconds, peak = _cell(*tenth, "rerun=true")
    yield "a tenth of the labels, five subsets, baselines known", f"{seconds:.0f} s, {peak:.2f} GiB"


def _cell(*overrides: str) -> tuple[dict[str, Any], float, float]:
    """Its record, seconds, and GiB at the peak."""
    begun = time.perf_counter()
    run = subprocess.Popen([*RUN, *overrides], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert run.stdout is not None
    printed = run.stdout.read()
    peak = ended(run).peak
    (path,) = re.findall(r"^result (.+)$", printed, re.MULTILINE)
    return json.loads(Path(path).read_text()), time.perf_counter() - begun, peak


def _passes(*overrides: str, rounds: int = 20) -> float:
    """Seconds of a forward pass, by image, in batches of 128 that are at hand."""
    command = [sys.executable, "-c", PASSES, str(rounds), *overrides]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _constructed(folder: Path) -> Iterator[tuple[str, str]]:
    """The linear probe of many images, features and classes, whose best possible accuracy is known."""
    by_size: list[float] = []
    for images, classes in SIZES:
        best = _write(folder, images, classes)
        command = [sys.executable, "-c", PROBE, str(folder / "features.npy"), str(folder / "labels.npy"), str(TEST)]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=REPOSITORY)
        assert run.stdout is not None
        seconds, looks, right, near = map(float, run.stdout.read().split())
        beyond = ended(run).peak - (folder / "features.npy").stat().st_size / 2**30
        by_size.append(seconds / looks / images / classes)
        yield (
            f"{images:,} images, {WIDTH:,} features, {classes:,} classes",
            f"{seconds:.0f} s, {looks:.0f} looks, {beyond:.2f} GiB beyond the features, "
            f"accuracy {right:.3f}, among five {near:.3f} (at best {best:.3f})",
        )
    spread = max(by_size) / min(by_size)
    yield "seconds of a look by image and class, the largest to the smallest of these", f"{spread:.2f}"
    of_imagenet = looks * by_size[-1] * IMAGENET * CLASSES
    yield f"by this ImageNet, {IMAGENET:,} images, with as many looks", f"{of_imagenet / 3600:.1f} hours"
    operations = 4 * looks * IMAGENET * WIDTH * CLASSES
    yield "its operations at an H100's float32 rate (arithmetic)", f"{operations / H100:.0f} s"


def _write(folder: Path, images: int, classes: int) -> float:
    """Features of classes that are normal with the same covariance, and the accuracy of whoever knows both."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    spread = (1 + np.arange(WIDTH, dtype=np.float32)) ** -0.5
    means = np.zeros((classes, WIDTH), np.float32)
    means[:, :TOLD] = APART * generator.standard_normal((classes, TOLD))
    labels = generator.permutation(np.arange(images + TEST) % classes)
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float32, (len(labels), WIDTH))
    right = 0
    for start in range(0, len(labels), 8000):
        some = labels[start : start + 8000]
        whitened = means[some] + generator.standard_normal((len(some), WIDTH), np.float32)
        features[start : start + 8000] = (whitened * spread) @ turn
        asked = np.arange(start, start + len(some)) >= images
        closeness = whitened[asked] @ means.T - (means**2).sum(axis=1) / 2
        right += int((closeness.argmax(axis=1) == some[asked]).sum())
    features.flush()
    np.save(folder / "labels.npy", labels)
    return right / TEST
