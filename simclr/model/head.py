"""The projection head between the encoder and the loss (SimCLR, arXiv 2002.05709, section 4.2)."""

from __future__ import annotations

from typing import Any

import keras

from simclr.config import HeadConfig
from simclr.config.cell import RELU_LAYERS
from simclr.foundation.errors import InvalidInput


def projection_head(config: HeadConfig, features: Any) -> Any:
    """The layers that ``config`` names, each dense and each ReLU layer by itself: a probe can look at any of them.

    ``two_relu`` is ``dense_1``, ``relu_1``, ``dense_2``, ``relu_2``, ``projection``; ``one_relu`` the same without
    the second pair; ``zero_relu`` is ``projection`` alone; ``none`` adds nothing.

    Args:
        config: which head, its hidden widths and its output's.
        features: (B, C), a symbolic tensor.

    Returns:
        (B, ``config.output``) float32 whatever the dtype policy, for the loss; ``features`` themselves for ``none``.

    Raises:
        InvalidInput: there is no head of that name.
    """
    if config.name == "none":
        return features
    if config.name not in RELU_LAYERS:
        raise InvalidInput(f"head.name={config.name}: valid is {', '.join(RELU_LAYERS)}")
    for number, width in enumerate(config.hidden[: RELU_LAYERS[config.name]], start=1):
        features = keras.layers.Dense(width, name=f"dense_{number}")(features)
        features = keras.layers.Activation("relu", name=f"relu_{number}")(features)
    return keras.layers.Dense(config.output, dtype="float32", name="projection")(features)
