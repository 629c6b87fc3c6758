"""Pretrained networks as Keras models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from simclr.config import Config, EncoderConfig, HeadConfig
from simclr.config.cell import all_layers
from simclr.config.validation import resolve
from simclr.foundation.errors import InvalidInput, suggestion
from simclr.foundation.files import Damaged
from simclr.store.pretraining import CONFIG, Pretraining


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
