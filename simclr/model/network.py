"""The whole network, encoder and projection head, and the representations that can be read from it.

``model.layers`` are the images, the ``backbone`` (one layer), its global mean ``encoder``, and the head's layers, so
that with two ReLU layers and no norm ``projection`` is ``layers[-1]`` and ``encoder`` ``layers[-6]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from simclr.config import EncoderConfig, HeadConfig
from simclr.foundation.errors import InvalidInput, suggestion
from simclr.model.encoder import build_encoder, stage_outputs
from simclr.model.head import projection_head


def build_network(
    encoder: EncoderConfig,
    head: HeadConfig,
    channels: int,
    image_size: int,
    seed: int,
    *,
    precision: str = "float32",
) -> Any:
    """A network before its first step.

    Args:
        encoder: the network that is kept.
        head: what stands between it and the loss.
        channels: of the images.
        image_size: the images' side in pixels (for the encoder's stem; the input takes any size).
        seed: decides every initial weight, whatever was built or drawn before, in this process or another.
        precision: a Keras dtype policy: ``float32``, ``mixed_bfloat16`` or ``mixed_float16``.

    Returns:
        A ``keras.Model`` named ``simclr`` from images (B, H, W, channels), values in [0, 1], to embeddings (B, D)
        float32 in every precision.

    Raises:
        InvalidInput: there is no encoder or head of that name.
    """
    with _dtype_policy(precision):
        backbone = build_encoder(encoder, channels, image_size)
        images = keras.Input((None, None, channels), name="images")
        # The mean over the last maps is a sum of many small numbers, and without a head it is the embedding.
        features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="encoder")(backbone(images))
        model = keras.Model(images, projection_head(head, features), name="simclr")
    _initialise(model, seed)
    return model


def representation(model: Any, layer: int | str) -> Any:
    """A model from images (B, H, W, C) to one representation (B, D) float32; it shares the network's weights.

    Args:
        model: a network of :func:`build_network`.
        layer: an index into ``model.layers`` or a name, as :func:`layer_name` takes them.

    Raises:
        InvalidInput: the network has no representation there.
    """
    name = layer_name(model, layer)
    every = representations(model, [name])
    return keras.Model(every.input, every.output[name], name=f"representation_{name}")


def representations(model: Any, names: Sequence[str]) -> Any:
    """A model from images (B, H, W, C) to several representations in one pass; it shares the network's weights.

    Args:
        model: a network of :func:`build_network`.
        names: ``encoder``, a layer of the head, or ``stage_1``, .. (the global mean of that stage's maps).

    Returns:
        A ``keras.Model`` whose output is a dictionary, name to (B, D) float32.

    Raises:
        InvalidInput: the network has no representation of that name.
    """
    wanted = {layer_name(model, name) for name in names}
    backbone = model.get_layer("backbone")
    stages = stage_outputs(backbone)
    *_, last = stages
    images = keras.Input(model.input.shape[1:], name="images")
    beyond = wanted - set(stages)  # what is computed from the last stage's maps
    needed = {name: maps for name, maps in stages.items() if name in wanted or (name == last and beyond)}
    maps = keras.Model(backbone.input, needed, name="stages")(images)  # a stage's network ends with it
    found = {
        name: keras.layers.GlobalAveragePooling2D(dtype="float32", name=f"{name}_mean")(maps[name])
        for name in needed
        if name in wanted
    }
    features = maps.get(last)
    for layer in _readable_layers(model) if beyond else ():
        features = layer(features)
        if layer.name in wanted:
            found[layer.name] = keras.layers.Activation("linear", dtype="float32", name=f"{layer.name}_out")(features)
    return keras.Model(images, {name: found[name] for name in dict.fromkeys(names)}, name="representations")


def variables_by_name(model: Any) -> dict[str, NDArray[Any]]:
    """Every variable of a network, moving statistics included, under its path (``backbone/stem_conv/kernel``)."""
    return {variable.path: variable.numpy() for variable in model.variables}


def assign_by_name(model: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give a network the variables of :func:`variables_by_name`.

    Raises:
        ValueError: they are another network's.
    """
    variables = {variable.path: variable for variable in model.variables}
    if missing := set(variables) ^ set(arrays):
        raise ValueError(f"these variables are in one of the two only: {', '.join(sorted(missing))[:200]}")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise ValueError(f"{name} has the shape {arrays[name].shape}, not {tuple(variable.shape)}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def layer_name(model: Any, layer: int | str) -> str:
    """The name of the representation that an index into ``model.layers`` or a name means.

    Raises:
        InvalidInput: the network has none there; the message lists those that it has.
    """
    readable = [each.name for each in _readable_layers(model)]
    stages = list(stage_outputs(model.get_layer("backbone")))
    if isinstance(layer, str):
        if layer in readable or layer in stages:
            return layer
    elif -len(model.layers) <= layer < len(model.layers) and model.layers[layer].name in readable:
        return str(model.layers[layer].name)
    indexed = ", ".join(f"{index - len(readable)} ({name})" for index, name in enumerate(readable))
    hint = suggestion(layer, [*readable, *stages]) if isinstance(layer, str) else ""
    raise InvalidInput(f"layer {layer}: this network has {indexed} and {stages[0]} to {stages[-1]}.{hint}")


def _readable_layers(model: Any) -> list[Any]:
    """The layers whose output is one vector per image: ``encoder`` and the head's, in order."""
    return list(model.layers[[layer.name for layer in model.layers].index("encoder") :])


@contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    """Keras's global policy set for a while: ``keras.applications`` takes a precision from nowhere else."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _initialise(model: Any, seed: int) -> None:
    """Draw every kernel anew with its layer's own initialiser, from the network's seed and the layer's name.

    Keras seeds initialisers from Python's global random state. From the name, a layer begins with the same weights
    beside any other layers: networks that differ in their head start from the same encoder.
    """
    for layer in model._flatten_layers():
        if not hasattr(layer, "kernel_initializer"):
            continue
        initializer = layer.kernel_initializer
        (drawn,) = np.random.SeedSequence([seed, *layer.name.encode()]).generate_state(1)
        # Keras takes 32-bit seeds; older releases refuse those with the highest bit set.
        seeded = type(initializer).from_config({**initializer.get_config(), "seed": int(drawn >> 1)})
        layer.kernel.assign(seeded(layer.kernel.shape, dtype=layer.kernel.dtype))
