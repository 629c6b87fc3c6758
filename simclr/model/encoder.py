"""The network that is pretrained and kept: images in, the feature maps of its last stage out.

Every encoder is a functional model named ``backbone`` in which a stage's output can be had by name: see
:func:`stage_outputs`. Layers are named explicitly, so that a network does not depend on what was built before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from simclr.config import EncoderConfig
from simclr.foundation.errors import InvalidInput
from simclr.model.layers import Convolution, FusedBatchNormalization, MaxPooling

# What Keras calls the ends of ResNet-50's four stages.
RESNET50_STAGES = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")

# Up to this side in pixels a ResNet-18 keeps its images' resolution in the stem, as is usual for CIFAR.
SMALL_IMAGES = 64


def build_encoder(config: EncoderConfig, channels: int, image_size: int) -> Any:
    """The encoder that ``config`` names, without weights worth keeping and in the current dtype policy.

    Args:
        config: which network, its widths and blocks.
        channels: of the images.
        image_size: the images' side in pixels; decides the stem where that is ``auto``, the input takes any size.

    Returns:
        A ``keras.Model`` named ``backbone`` from images (B, H, W, channels), values in [0, 1], to maps (B, h, w, C).

    Raises:
        InvalidInput: there is no encoder of that name.
    """
    images = keras.Input((None, None, channels), name="images")
    if config.name == "resnet50":
        network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, channels))
        network = keras.models.clone_model(network, clone_function=_ours)
        images, maps = network.inputs[0], network.outputs[0]
    elif config.name == "small_cnn":
        maps = _stages(config, images, "conv", _convolution)
    elif config.name in ("small_resnet", "resnet18"):
        maps = _stages(config, _stem(config, images, image_size), "block", _residual)
    else:
        raise InvalidInput(f"encoder.name={config.name}: valid is small_cnn, small_resnet, resnet18, resnet50")
    return keras.Model(images, maps, name="backbone")


def _ours(layer: Any) -> Any:
    """A layer of this package in place of Keras's, computing the same from the same configuration and weights."""
    ours = {"BatchNormalization": FusedBatchNormalization, "MaxPooling2D": MaxPooling}
    kind: Any = ours.get(type(layer).__name__, type(layer))
    return kind.from_config(layer.get_config())


def stage_outputs(backbone: Any) -> dict[str, Any]:
    """The symbolic output (B, h, w, C) of each stage of an encoder by its name, ``stage_1`` first, the last one last.

    Keras's own ResNet-50 keeps its layers' names; its stages are found under ours all the same.
    """
    names = {layer.name for layer in backbone.layers}
    ours = [f"stage_{number}" for number in range(1, len(names) + 1) if f"stage_{number}" in names]
    stages = ours or RESNET50_STAGES
    return {f"stage_{number}": backbone.get_layer(stage).output for number, stage in enumerate(stages, start=1)}


def _stem(config: EncoderConfig, images: Any, image_size: int) -> Any:
    stem = config.stem
    if stem == "auto" and config.name == "small_resnet":
        stem = "strided"
    elif stem == "auto":
        stem = "cifar" if image_size <= SMALL_IMAGES else "imagenet"
    size, stride = {"cifar": (3, 1), "strided": (3, 2), "imagenet": (7, 2)}[stem]
    maps = _convolution(config, images, config.widths[0], size=size, stride=stride, name="stem")
    maps = _relu(maps, "stem_relu")
    if stem == "imagenet":
        maps = MaxPooling(3, strides=2, padding="same", name="stem_pool")(maps)
    return maps


def _stages(config: EncoderConfig, maps: Any, kind: str, block_of: Callable[..., Any]) -> Any:
    """Stages of blocks, each ``block_of`` and a ReLU; the first one of every stage but the first halves the maps."""
    for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage_{stage}_{kind}_{block}"
            maps = block_of(config, maps, width, stride=stride, name=name)
            maps = _relu(maps, f"stage_{stage}" if block == blocks else f"{name}_relu")
    return maps


def _residual(config: EncoderConfig, maps: Any, width: int, *, stride: int, name: str) -> Any:
    """A basic block (He et al. 2015, arXiv 1512.03385) before its last ReLU: two convolutions beside a shortcut."""
    shortcut = maps
    if stride != 1 or maps.shape[-1] != width:
        if config.shortcut == "pooled" and stride != 1:
            # A strided 1x1 convolution throws three of four positions away (arXiv 1812.01187, figure 2c).
            shortcut = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(maps)
            shortcut = _convolution(config, shortcut, width, size=1, name=f"{name}_shortcut")
        else:
            shortcut = _convolution(config, maps, width, size=1, stride=stride, name=f"{name}_shortcut")
    maps = _convolution(config, maps, width, stride=stride, name=f"{name}_conv_1")
    maps = _relu(maps, f"{name}_conv_1_relu")
    maps = _convolution(config, maps, width, name=f"{name}_conv_2")
    return keras.layers.Add(name=f"{name}_add")([shortcut, maps])


def _convolution(config: EncoderConfig, maps: Any, width: int, *, name: str, size: int = 3, stride: int = 1) -> Any:
    """A convolution and its norm, (B, h, w, c) to (B, h / stride, w / stride, width); the norm's shift is the bias."""
    maps = Convolution(
        width, size, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(maps)
    if config.norm == "group":  # Wu and He 2018, arXiv 1803.08494: it looks at no other image of the batch
        groups = math.gcd(width, 32)
        return keras.layers.GroupNormalization(groups, epsilon=1e-5, name=f"{name}_norm")(maps)
    return FusedBatchNormalization(momentum=config.norm_momentum, epsilon=1e-5, name=f"{name}_norm")(maps)


def _relu(maps: Any, name: str) -> Any:
    return keras.layers.Activation("relu", name=name)(maps)
