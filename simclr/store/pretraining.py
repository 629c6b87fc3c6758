"""A pretraining on disk: ``<root>/pretrained/<key>/``.

===================  =====================================================================================
``network.npz``      every variable of the network by its name: plain arrays, nothing is executed on loading
``history.csv``      an epoch a line
``config.yaml``      the configuration that it was made from
``manifest.json``    what it is, what it took, and the SHA-256 of the files above; written last
``checkpoint.npz``   while it is unfinished: the state to go on from
``features/..``      what the network, and the same before its first step, make of every image: :mod:`.features`
===================  =====================================================================================

Beside it, ``.<key>.claim/`` says who is at it and how far, and who left it unfinished. Files are the truth; there is
no index. A folder that is not what its manifest says is set aside, never overwritten.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from simclr.config import Config, EncoderConfig, HeadConfig
from simclr.config.cell import all_layers
from simclr.config.validation import resolve
from simclr.foundation.errors import InvalidInput, suggestion
from simclr.foundation.files import (
    MANIFEST,
    SET_ASIDE,
    Damaged,
    make_folder,
    seal,
    sealed,
    set_aside,
    whole_file,
    write_whole,
)
from simclr.store import features
from simclr.store.features import FEATURES, Features
from simclr.store.once import Place, Report

WEIGHTS, HISTORY, CONFIG, CHECKPOINT = "network.npz", "history.csv", "config.yaml", "checkpoint.npz"
# Hidden beside the weights until their manifest is there: so that a process killed in between has left something
# unfinished, where a manifest that went missing later is damage.
PUBLISHING = ".publishing"
SCHEMA = 1

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Pretraining:
    """A finished pretraining: its folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def key(self) -> str:
        """The hash of everything that decided its weights."""
        return self.folder.name

    def weights(self) -> dict[str, NDArray[Any]]:
        """Every variable of the network, by its name.

        Raises:
            Damaged: the file cannot be read.
        """
        return load_arrays(self.folder / WEIGHTS)

    def features_folder(self, seen: str, network: str, layer: str) -> Path:
        """Where features lie, or will: how images are seen (:attr:`.cell.Cell.seen`), by which network, which layer."""
        return self.folder / FEATURES / seen / f"{network}-{layer}"

    def features(self, seen: str, network: str, layer: str) -> Features | None:
        """What the network, or the same before its first step, makes of every image; None where it is not known.

        Raises:
            Damaged: it was computed, and something is wrong with it.
        """
        return features.find(self.features_folder(seen, network, layer))


def folder(root: str | Path, key: str) -> Path:
    """Where the pretraining of a key lies, or will."""
    return Path(root) / "pretrained" / key


def place(root: str | Path, key: str) -> Place:
    """The pretraining of a key as something that one process makes."""
    return Place(f"pretraining {key}", folder(root, key))


def find(root: str | Path, key: str, *, verify: bool = True) -> Pretraining | None:
    """The finished pretraining of a key, every file compared with its checksum; None where there is none.

    Raises:
        Damaged: it is there, and something is wrong with it.
    """
    where = folder(root, key)
    manifest = sealed(where, verify=verify)
    if manifest is None:
        if (where / WEIGHTS).exists() and not ((where / CHECKPOINT).exists() or (where / PUBLISHING).exists()):
            raise Damaged(f"{MANIFEST} is missing")
        return None
    if verify and not {WEIGHTS, HISTORY, CONFIG} <= set(manifest["files"]):
        raise Damaged(f"{MANIFEST} does not name every file")
    return Pretraining(where, manifest)


def every(root: str | Path) -> Iterator[Path]:
    """The folder of every pretraining below ``root``, finished or not, by key; none of what was set aside."""
    return folders(Path(root) / "pretrained")


def folders(parent: Path) -> Iterator[Path]:
    """The folders of a folder that are sealed or will be; none of what was set aside."""
    return (path for path in sorted(parent.glob("[!.]*")) if path.is_dir() and SET_ASIDE not in path.name)


def publish(where: Path, weights: Arrays, facts: Mapping[str, Any]) -> Pretraining:
    """Finish a pretraining whose history and configuration lie in its folder; the manifest, last, makes it count.

    Raises:
        OSError: it cannot be written; the checkpoint stays.
    """
    write_whole(where / PUBLISHING, b"")
    save_arrays(where / WEIGHTS, weights)
    manifest = seal(where, [WEIGHTS, HISTORY, CONFIG], {"schema": SCHEMA, "key": where.name, **facts})
    for name in (CHECKPOINT, PUBLISHING):
        (where / name).unlink(missing_ok=True)
    return Pretraining(where, manifest)


def clear(root: str | Path, key: str, report: Report) -> None:
    """Set aside what is damaged of a pretraining, and remove what a killed process left of a finished one.

    Only whoever holds the claim may do that.
    """
    where = folder(root, key)
    try:
        if find(root, key) is not None:
            for name in (CHECKPOINT, PUBLISHING):
                (where / name).unlink(missing_ok=True)
    except Damaged as damage:
        aside = set_aside(where)
        make_folder(where)
        report(f"{where}: {damage}: set aside as {aside.name}, and pretrained again")


def configuration(folder: Path) -> Config:
    """The configuration that a pretraining was made from.

    Raises:
        Damaged: it cannot be read.
    """
    try:
        loaded = OmegaConf.load(folder / CONFIG)
    except Exception as error:  # YAML of any kind may be in a damaged file
        raise Damaged(f"{CONFIG} cannot be read") from error
    return resolve(loaded)  # type: ignore[arg-type]


def check_layer(encoder: EncoderConfig, head: HeadConfig, layer: str) -> None:
    """Whether a network of these has such a layer or stage.

    Raises:
        InvalidInput: it has not.
    """
    names = [each.name for each in all_layers(encoder, head)]
    if layer not in names:
        raise InvalidInput(f"--layer {layer}: this network has {', '.join(names)}.{suggestion(layer, names)}")


def network(pretraining: Pretraining) -> Any:
    """The trained network, encoder and head, as a ``keras.Model`` from images (B, H, W, C) in [0, 1], in float32.

    Raises:
        Damaged: its files cannot be read, or are not those of the network that the configuration means.
    """
    from simclr.model.network import assign_by_name, build_network

    recipe = configuration(pretraining.folder).recipe
    model = build_network(
        recipe.encoder, recipe.head, int(pretraining.manifest["channels"]), recipe.pretrain.side, recipe.seed
    )
    try:
        assign_by_name(model, pretraining.weights())
    except ValueError as error:
        raise Damaged(str(error)) from error
    return model


def history(where: Path) -> list[dict[str, float]]:
    """A pretraining's epochs as far as they are written down; empty where that cannot be read."""
    try:
        with (where / HISTORY).open(newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError):
        return []


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays by name, uncompressed, all or none."""
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file's arrays.

    Raises:
        Damaged: the file or one of them cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a zip file with a bit changed raises almost anything
        raise Damaged(f"{path.name} cannot be read") from error
