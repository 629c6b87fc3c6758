"""Results whose truth is known: records, predictions, histories and features, as runs would have left them.

``build(root, cells)`` writes them; ``grid(...)`` makes the cells of an ablation. Which test image is easy, which label
subset is lucky and which seed is good are random effects on log odds, shared as they are in real grids: images by
everything, subsets by everything of a seed, a network's luck by all its layers.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from simclr.config.validation import resolve

INDEX = {
    "two_relu": {"projection": -1, "relu_2": -2, "dense_2": -3, "relu_1": -4, "dense_1": -5, "encoder": -6},
    "one_relu": {"projection": -1, "relu_1": -2, "dense_1": -3, "encoder": -4},
    "zero_relu": {"projection": -1, "encoder": -2},
    "none": {"encoder": -1},
}
WIDTH = {"encoder": 128, "relu_1": 256, "dense_1": 256, "relu_2": 128, "dense_2": 128, "projection": 50}


@dataclass(frozen=True)
class Made:
    """A cell to be made: what it is, and its true log odds of being right about an average image."""

    head: str
    layer: str
    seed: int
    log_odds: float
    untrained: float = 0.3
    pixels: float = 0.5
    data: str = "imagenet5"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Noise:
    """Standard deviations of random effects on log odds, and the size of the tables."""

    seed: float = 0.05
    subset: float = 0.1
    image: float = 1.2
    subsets: int = 5
    images: int = 250
    classes: int = 5


DEFAULT = Noise()


def grid(truth: dict[tuple[str, str], float], seeds: Iterable[int] = (0, 1, 2), **settings: Any) -> list[Made]:
    """Cells of an ablation: log odds by (head, layer), for each seed, with further settings by dotted key."""
    given = {key.replace("__", "."): value for key, value in settings.items() if key != "data"}
    data = settings.get("data", "imagenet5")
    return [
        Made(head, layer, seed, log_odds, data=data, settings=given)
        for seed in seeds
        for (head, layer), log_odds in truth.items()
    ]


def build(root: Path, cells: Iterable[Made], noise: Noise = DEFAULT, chance: int = 0, features: bool = False) -> Path:
    """Write the cells below a root, as runs would have left them, and return it."""
    images = np.random.default_rng((chance, 1)).standard_normal(noise.images) * noise.image
    labels = (np.arange(noise.images) % noise.classes).astype(np.int16)
    for cell in cells:
        _write(root, cell, noise, chance, images, labels, features)
    return root


def key_of(cell: Made) -> str:
    return _digest(cell.head, cell.seed, sorted(cell.settings.items()))


def _digest(*parts: Any) -> str:
    import hashlib

    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _write(
    root: Path, cell: Made, noise: Noise, chance: int, images: np.ndarray, labels: np.ndarray, features: bool
) -> None:
    key = key_of(cell)
    name = f"{cell.data}-small_resnet-{cell.head}-{cell.layer}-s{cell.seed}-{_digest(key, cell.layer)[:8]}"
    folder = root / "results" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.dump(_config(cell), Dumper=yaml.CSafeDumper))
    luck = np.random.default_rng((chance, 2, cell.seed)).standard_normal((noise.subsets, 1)) * noise.subset
    network = np.random.default_rng((chance, 3, int(key, 16) % 2**32)).standard_normal() * noise.seed
    rest = np.random.default_rng((chance, 4, int(_digest(name), 16) % 2**32))
    tables = {"labels": labels}
    for which, log_odds in (
        ("trained", cell.log_odds + network),
        ("untrained", cell.untrained),
        ("pixels", cell.pixels),
    ):
        # Raw pixels are one classifier per seed and label subset, whatever the network is.
        draws = np.random.default_rng((chance, 5, cell.seed)) if which == "pixels" else rest
        odds = log_odds + images[None, :] + luck
        right = draws.random(odds.shape) < 1 / (1 + np.exp(-odds))
        wrong = (labels + draws.integers(1, noise.classes, odds.shape)) % noise.classes
        tables[which] = np.where(right, labels, wrong).astype(np.int16)
    packed = BytesIO()
    np.savez_compressed(packed, **tables)
    (folder / "predictions.npz").write_bytes(packed.getvalue())
    (folder / "result.json").write_text(json.dumps(_record(cell, key, name, tables)))
    _pretrained(root / "pretrained" / key, cell, labels, features)


def _record(cell: Made, key: str, name: str, tables: dict[str, np.ndarray]) -> dict[str, Any]:
    labels = tables["labels"]
    accuracy = {which: _accuracy(tables[which] == labels) for which in ("trained", "untrained", "pixels")}
    classes = int(labels.max()) + 1
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (np.broadcast_to(labels, tables["trained"].shape), tables["trained"]), 1)
    depth = 5 - list(INDEX["two_relu"]).index(cell.layer) if cell.layer in INDEX["two_relu"] else 0
    names = ["airplane", "car", "cat", "dog", "elephant"]
    return {
        "schema": 1,
        "status": "finished",
        "error": None,
        "name": name,
        "cell": {
            "data": cell.data,
            "encoder": "small_resnet",
            "head": cell.head,
            "probe": cell.settings.get("probe.name", "linear"),
            "layer": {
                "index": INDEX[cell.head].get(cell.layer),
                "name": cell.layer,
                "width": WIDTH.get(cell.layer, 64),
            },
            "seed": cell.seed,
            "label_fraction": cell.settings.get("probe.label_fraction", 0.1),
        },
        "data": {"digest": "d" * 64, "train": 1250, "test": len(labels), "ignored": 0},
        "pretraining": {
            "key": key,
            "reused": depth > 0,
            "epochs": cell.settings.get("pretrain.epochs", 40),
            "steps": 360,
            "seconds": 61.5,
            "images_per_second": 812.0,
            "loss": 2.5,
            "contrastive_accuracy": 0.71,
            "precision": "float32",
        },
        "probe": {
            "test_accuracy": accuracy["trained"],
            "validation_accuracy": accuracy["trained"],
            "train_accuracy": {"mean": 1.0, "std": 0.0, "values": [1.0]},
            "confusion": confusion.tolist(),
            "classes": names if classes == 5 else [str(each) for each in range(classes)],
        },
        "baselines": {"pixels": accuracy["pixels"], "untrained": accuracy["untrained"]},
        "representation": {
            "alignment": 0.42 - 0.06 * depth + 0.01 * cell.seed,
            "uniformity": -2.9 + 0.12 * depth + 0.02 * cell.seed,
            "effective_rank": 62.0 - 9 * depth + cell.seed,
            "knn_accuracy": 0.66 - 0.02 * depth,
        },
        "seconds": 75.2,
        "timing": {"pretraining": 61.5, "probes": 4.0},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": f"2026-01-01T00:{cell.seed % 60:02d}:00+00:00",
        "versions": {"python": "3.11", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "simclr": "0.1.0"},
        "host": {"cpus": 2, "gpus": 0, "memory_gib": 23.4, "threads": 2},
    }


def _accuracy(correct: np.ndarray) -> dict[str, Any]:
    values = correct.mean(axis=1)
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "ci95": [float(max(values.mean() - 0.03, 0)), float(min(values.mean() + 0.03, 1))],
        "values": values.tolist(),
    }


@cache
def _composed() -> dict[str, Any]:
    conf = Path(__file__).parents[2] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = resolve(compose("config", ["encoder=small_resnet"]))
    found = OmegaConf.to_container(OmegaConf.structured(config))
    assert isinstance(found, dict)
    return found


def _config(cell: Made) -> dict[str, Any]:
    config = copy.deepcopy(_composed())
    config["seed"] = cell.seed
    config["data"]["name"] = cell.data
    config["head"]["name"] = cell.head
    config["probe"]["layer"] = cell.layer
    for key, value in cell.settings.items():
        section, _, setting = key.partition(".")
        config[section][setting] = value
    return config


def _pretrained(folder: Path, cell: Made, labels: np.ndarray, features: bool) -> None:
    if folder.exists():
        return
    folder.mkdir(parents=True)
    generator = np.random.default_rng(int(folder.name, 16) % 2**32)
    epochs = np.arange(1, 41)
    loss = 2.4 + 2.3 * np.exp(-epochs / 9) + 0.03 * generator.standard_normal(40)
    rows = ["epoch,loss,contrastive_accuracy,spread,learning_rate,monitor/knn_accuracy"]
    for epoch, value in zip(epochs, loss, strict=True):
        monitor = f"{0.6 - 0.3 * np.exp(-epoch / 12):.4f}" if epoch % 5 == 0 else "nan"
        rows.append(f"{epoch},{value:.4f},{0.75 - 0.6 * np.exp(-epoch / 8):.4f},0.9,0.001,{monitor}")
    (folder / "history.csv").write_text("\n".join(rows) + "\n")
    if features:
        _features(folder / "features" / "16px-whole", cell, labels, generator)


def _features(folder: Path, cell: Made, labels: np.ndarray, generator: np.random.Generator) -> None:
    train_labels = np.repeat(np.unique(labels), 60)
    for network, strength in (("trained", 2.5), ("untrained", 0.6)):
        for place, layer in enumerate(INDEX[cell.head]):
            of_layer = folder / f"{network}-{layer}"
            of_layer.mkdir(parents=True)
            decay = np.arange(1, WIDTH[layer] + 1) ** -(1.1 - 0.12 * place)
            centres = generator.standard_normal((labels.max() + 1, WIDTH[layer]))
            for split, given in (("train", train_labels), ("test", labels)):
                noise = generator.standard_normal((len(given), WIDTH[layer]))
                np.save(of_layer / f"{split}.npy", ((strength * centres[given] + noise) * decay).astype(np.float32))
            apart = {"alignment": 0.13 + 0.06 * list(INDEX["two_relu"]).index(layer)} if network == "trained" else {}
            (of_layer / "manifest.json").write_text(json.dumps(apart))
