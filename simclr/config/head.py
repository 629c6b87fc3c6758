"""The projection head's settings, and the layers that they mean, which network and layer table are both made from."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from simclr.config.setting import Decides, OneOf, Range, options, setting

WEIGHTS = Decides.WEIGHTS

RELU_LAYERS = {"none": 0, **{f"{word}_relu": number for number, word in enumerate(("zero", "one", "two", "three"))}}
"""How many hidden layers each head has. A deeper one is a word more here and a file in ``conf/head/``."""


def _normed(head: HeadConfig) -> bool:
    return head.normed


@dataclass
class HeadConfig:
    """The projection head between encoder and loss (SimCLR, arXiv 2002.05709, section 4.2)."""

    name: str = setting(MISSING, WEIGHTS, options("head"))
    """How many ReLU layers it has, or none: no head at all."""
    hidden: list[int] = setting([256, 128], WEIGHTS, Range(1, 65536, "units"))
    """Widths of the hidden layers, at least one for each; `one_relu` takes the first."""
    output: int = setting(50, WEIGHTS, Range(1, 65536, "units"))
    """Width of the projection, which the loss compares."""
    norm: str = setting("none", WEIGHTS, OneOf(("none", "batch")), counts=_normed)
    """`batch`: a batch norm after each dense layer, the last one's without a shift, as in SimCLR's own code."""
    norm_momentum: float = setting(0.98, WEIGHTS, Range(0, 0.9999), counts=_normed)
    """How much of these norms' moving statistics stays at each step."""

    @property
    def normed(self) -> bool:
        """Whether it looks at a batch as a whole: it has a norm, and a layer to put it after."""
        return self.norm == "batch" and self.name != "none"


@dataclass(frozen=True)
class HeadLayer:
    """A layer of the head: ``dense``, ``norm`` or ``relu``, its name and width."""

    kind: str
    name: str
    width: int


def forward_layers(head: HeadConfig) -> list[HeadLayer]:
    """The layers of a head as features pass them, each by itself: a probe can look at any of them.

    >>> [each.name for each in forward_layers(HeadConfig("one_relu"))]
    ['dense_1', 'relu_1', 'projection']
    >>> [each.name for each in forward_layers(HeadConfig("one_relu", norm="batch"))]
    ['dense_1', 'norm_1', 'relu_1', 'projection', 'projection_norm']

    Raises:
        KeyError: there is no head of that name.
    """
    layers = []
    for number, width in enumerate(head.hidden[: RELU_LAYERS[head.name]], start=1):
        layers += [HeadLayer("dense", f"dense_{number}", width)]
        layers += [HeadLayer("norm", f"norm_{number}", width)] if head.normed else []
        layers += [HeadLayer("relu", f"relu_{number}", width)]
    if head.name != "none":
        layers += [HeadLayer("dense", "projection", head.output)]
        layers += [HeadLayer("norm", "projection_norm", head.output)] if head.normed else []
    return layers
