"""The projection head between the encoder and the loss (SimCLR, arXiv 2002.05709, section 4.2)."""

from __future__ import annotations

from typing import Any

import keras

from simclr.config import HeadConfig
from simclr.config.method import RELU_LAYERS, forward_layers
from simclr.foundation.errors import InvalidInput
from simclr.model.layers import FusedBatchNormalization


def projection_head(config: HeadConfig, features: Any) -> Any:
    """The layers that ``config`` names, see :func:`simclr.config.head.forward_layers`; ``none`` adds nothing.

    With ``config.norm`` a batch norm follows each dense layer, before its ReLU, and the projection, and the loss
    compares its output. As in SimCLR's own code (google-research/simclr, tf2/model.py, ``LinearLayer``) the norm's
    shift takes the place of the dense layer's bias, and the last norm has none.

    Args:
        config: which head, its hidden widths and its output's, its norm.
        features: (B, C), a symbolic tensor.

    Returns:
        (B, ``config.output``) float32 whatever the dtype policy, for the loss; ``features`` themselves for ``none``.

    Raises:
        InvalidInput: there is no head of that name.
    """
    if config.name not in RELU_LAYERS:
        raise InvalidInput(f"head.name={config.name}: valid is {', '.join(RELU_LAYERS)}")
    for layer in forward_layers(config):
        last = layer.name.startswith("projection")
        dtype = "float32" if last else None  # None: the policy's
        if layer.kind == "dense":
            made = keras.layers.Dense(layer.width, use_bias=not config.normed, dtype=dtype, name=layer.name)
        elif layer.kind == "norm":
            made = FusedBatchNormalization(
                momentum=config.norm_momentum, epsilon=1e-5, center=not last, dtype=dtype, name=layer.name
            )
        else:
            made = keras.layers.Activation(layer.kind, name=layer.name)
        features = made(features)
    return features
