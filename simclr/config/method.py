"""The schema's sections of the method: views, encoder, projection head, loss, optimizer, and the training itself.

Nearly all that they say decides the pretrained weights. What the fields are like is told in :mod:`.schema`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from simclr.config.setting import Decides, OneOf, Range, options, setting

WEIGHTS, NOTHING = Decides.WEIGHTS, Decides.NOTHING
PROBABILITY = Range(0, 1)


def _jitters(augment: AugmentConfig) -> bool:
    return augment.jitter > 0


def _multi_crop(augment: AugmentConfig) -> bool:
    return augment.local_views > 0


def _crops(augment: AugmentConfig) -> bool:
    return augment.crop_area[0] < 1 or _multi_crop(augment)


@dataclass
class AugmentConfig:
    """What makes two views of an image: geometry first, then colour, blur and noise."""

    name: str = setting(MISSING, WEIGHTS, options("augment"))
    """Which kind of views; `augment=NAME` brings its strengths too."""
    crop_area: list[float] = setting([1.0, 1.0], WEIGHTS, Range(0, 1, above=True), "share of the image")
    """The smallest and the largest part of the image that a crop shows; `[1, 1]`: no crop."""
    crop_aspect: list[float] = setting([0.75, 4 / 3], WEIGHTS, Range(0.1, 10), "width / height", _crops)
    """The narrowest and the widest crop."""
    crop_fit: str = setting(
        "clipped",
        WEIGHTS,
        OneOf(("clipped", "redrawn")),
        counts=lambda augment: _crops(augment) and augment.crop_fit != "clipped",
    )
    """What becomes of a crop that does not fit: cut off, or drawn again, as RandomResizedCrop does (ten attempts)."""
    flip: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often a view is a mirror image."""
    jitter: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often brightness, contrast, saturation and hue change, by the next four."""
    brightness: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - b to 1 + b", _jitters)
    """How much brighter or darker, b."""
    contrast: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - c to 1 + c", _jitters)
    """How much more or less contrast, c."""
    saturation: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - s to 1 + s", _jitters)
    """How much more or less colour, s."""
    hue: float = setting(0.0, WEIGHTS, Range(0, 0.5), "turns, from -h to h", _jitters)
    """How far colours turn, h."""
    grey: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often colours are taken away."""
    blur: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often a view is blurred."""
    blur_sigma: list[float] = setting(
        [0.0004, 0.009], WEIGHTS, Range(0, 0.2), "share of the side", lambda augment: augment.blur > 0
    )
    """The weakest and the strongest blur."""
    blur_draw: str = setting(
        "log_uniform",
        WEIGHTS,
        OneOf(("log_uniform", "uniform")),
        counts=lambda augment: augment.blur > 0 and augment.blur_draw != "log_uniform",
    )
    """How strengths are drawn from between them: evenly, as the paper's code does, or their logarithms evenly."""
    rotation: float = setting(0.0, WEIGHTS, Range(0, 180, "degrees"), "from -r to r")
    """The largest angle, r."""
    scale: float = setting(0.0, WEIGHTS, Range(0, 2), "exp(-s) to exp(s), each axis by itself")
    """How far a view is stretched, s."""
    shear: float = setting(0.0, WEIGHTS, Range(0, 2), "from -s to s")
    """How far it is slanted, s."""
    shift: float = setting(0.0, WEIGHTS, Range(0, 1), "share of the side, from -s to s")
    """How far it is moved along each axis, s."""
    noise: float = setting(0.0, WEIGHTS, Range(0, 1), "standard deviation")
    """Random numbers added to each pixel, whose values go from 0 to 1."""
    local_views: int = setting(0, WEIGHTS, Range(0, 16, "views"), counts=_multi_crop)
    """Further views of small parts of each image, of half the side (multi-crop, arXiv 2006.09882)."""
    local_area: list[float] = setting([0.05, 0.35], WEIGHTS, Range(0, 1, above=True), "share of the image", _multi_crop)
    """The smallest and the largest such part."""


def _residual(encoder: EncoderConfig) -> bool:
    return encoder.name in ("small_resnet", "resnet18")


@dataclass
class EncoderConfig:
    """The network that is kept: stages of `blocks` blocks and `widths` channels, then a global mean."""

    name: str = setting(MISSING, WEIGHTS, options("encoder"))
    """Which family of networks; `encoder=NAME` brings its settings too."""
    widths: list[int] = setting([], WEIGHTS, Range(1, 8192, "channels"))
    """Channels of each stage; the last one is the width of the representation."""
    blocks: list[int] = setting([], WEIGHTS, Range(1, 64, "blocks"))
    """Blocks of each stage, as many numbers as `widths`."""
    stem: str = setting("auto", WEIGHTS, OneOf(("auto", "cifar", "strided", "imagenet")), counts=_residual)
    """What a residual network begins with: 3x3 of stride 1 or 2, or 7x7 and pooling; `auto`: as suits the images."""
    shortcut: str = setting("strided", WEIGHTS, OneOf(("strided", "pooled")), counts=_residual)
    """How a residual network's shortcut halves a map: a 1x1 convolution of stride 2, or a mean of 2x2 before it."""
    norm: str = setting("batch", WEIGHTS, OneOf(("batch", "group")))
    """Statistics over the batch, or over groups of an image's own channels."""
    norm_momentum: float = setting(
        0.98, WEIGHTS, Range(0, 0.9999), counts=lambda encoder: encoder.norm == "batch" and encoder.name != "resnet50"
    )
    """How much of a batch norm's moving statistics stays at each step."""


RELU_LAYERS = {"none": 0, **{f"{word}_relu": number for number, word in enumerate(("zero", "one", "two", "three"))}}
"""How many hidden layers each head has. A deeper one is a word more here and a file in ``conf/head/``."""


@dataclass
class HeadConfig:
    """The projection head between encoder and loss (SimCLR, arXiv 2002.05709, section 4.2)."""

    name: str = setting(MISSING, WEIGHTS, options("head"))
    """How many ReLU layers it has, or none: no head at all."""
    hidden: list[int] = setting([256, 128], WEIGHTS, Range(1, 65536, "units"))
    """Widths of the hidden layers, at least one for each; `one_relu` takes the first."""
    output: int = setting(50, WEIGHTS, Range(1, 65536, "units"))
    """Width of the projection, which the loss compares."""
    norm: str = setting("none", WEIGHTS, OneOf(("none", "batch")), counts=lambda head: head.normed)
    """`batch`: a batch norm after each dense layer, the last one's without a shift, as in SimCLR's own code."""
    norm_momentum: float = setting(0.98, WEIGHTS, Range(0, 0.9999), counts=lambda head: head.normed)
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


@dataclass
class LossConfig:
    """What training follows; its temperature is `pretrain.temperature`."""

    # Said here as well as by the group's default: networks from before there was a choice were trained so.
    name: str = setting("nt_xent", WEIGHTS, options("loss"), counts=lambda loss: loss.name != "nt_xent")
    """Which loss: NT-Xent, or the decoupled one, which leaves the positive out of the denominator."""
    weighted: bool = setting(False, WEIGHTS, counts=lambda loss: loss.weights_positives)
    """With `dcl`: positives that are far apart count more than those that are close already (DCLW)."""
    sigma: float = setting(0.5, WEIGHTS, Range(0.01, 100), counts=lambda loss: loss.weights_positives)
    """With these weights: the lower, the more they differ."""

    @property
    def weights_positives(self) -> bool:
        """Whether it is DCLW."""
        return self.name == "dcl" and self.weighted


@dataclass
class OptimizerConfig:
    """The optimizer and the way its learning rate goes over the run."""

    name: str = setting(MISSING, WEIGHTS, options("optimizer"))
    """Which optimizer; `optimizer=NAME` brings its settings too."""
    learning_rate: float = setting(MISSING, WEIGHTS, Range(0, 1000, above=True))
    """The learning rate at its highest, after the warm-up."""
    scaling: str = setting("none", WEIGHTS, OneOf(("none", "linear", "sqrt")))
    """What the rate is multiplied by: 1, batch / 256, or the square root of that."""
    weight_decay: float = setting(0.0, WEIGHTS, Range(0, 10))
    """How strongly kernels are drawn to zero."""
    momentum: float = setting(0.9, WEIGHTS, Range(0, 0.9999), counts=lambda optimizer: optimizer.name != "adamw")
    """How much of a step goes on into the next, with SGD and LARS."""
    warmup_epochs: float = setting(0.0, WEIGHTS, Range(0, 100_000, "epochs"))
    """How long the rate rises from zero at the beginning."""
    schedule: str = setting("cosine", WEIGHTS, OneOf(("cosine", "constant")))
    """How the rate goes on from there: down to zero along a cosine, or not at all."""
    decay_steps: int | None = setting(
        None, WEIGHTS, Range(1, unit="steps"), counts=lambda optimizer: optimizer.schedule == "cosine"
    )
    """After how many steps the cosine ends; null: with the training."""
    trust_coefficient: float = setting(
        0.001, WEIGHTS, Range(0, 10, above=True), counts=lambda optimizer: optimizer.name == "lars"
    )
    """How large a layer's step is beside its weights, with LARS."""


@dataclass
class PretrainConfig:
    """The contrastive training."""

    epochs: int = setting(MISSING, WEIGHTS, Range(1, 1_000_000, "epochs"))
    """How often training goes through the images."""
    batch_size: int = setting(128, WEIGHTS, Range(2, 1_000_000, "images"))
    """Images in a step; twice as many views, each of which is told from all others."""
    microbatch: int | None = setting(None, WEIGHTS, Range(1, 1_000_000, "images"))
    """Images at a time where a batch is larger than the memory (GradCache); it divides the batch; null: all."""
    temperature: float = setting(0.2, WEIGHTS, Range(0.01, 100))
    """The loss's: the lower, the more the most similar negatives count."""
    sizes: list[Any] = setting(MISSING, WEIGHTS)
    """At which sides the network trains, in order, and for which share of the steps."""
    precision: str = setting("auto", WEIGHTS, OneOf(("auto", "float32", "mixed_bfloat16", "mixed_float16")))
    """Which arithmetic; `auto`: bfloat16 where that is faster, else float32."""
    statistics: str = setting(
        "together", WEIGHTS, OneOf(("together", "apart")), counts=lambda pretrain: pretrain.statistics != "together"
    )
    """Whose mean and variance a batch norm takes: both views' together, or each view's by itself."""
    strategy: str = setting("one", NOTHING, OneOf(("one", "mirrored", "multi_worker")))
    """One device, all GPUs of this machine, or those of several machines. Others make another network."""
    workers_minutes: float = setting(10.0, NOTHING, Range(0, 100_000, "minutes"))
    """How long the workers of `multi_worker` wait for each other at the beginning."""
    collapse_epochs: int = setting(20, NOTHING, Range(0, 1_000_000, "epochs"))
    """A run ends after so many epochs in a row without a difference between images; 0: never."""
    monitor_epochs: int = setting(10, NOTHING, Range(0, 1_000_000, "epochs"))
    """How often nearest neighbours look how far training is; 0: never."""
    checkpoint_minutes: float = setting(5.0, NOTHING, Range(0, 100_000, "minutes"))
    """An unfinished pretraining's state is saved at least so often."""
    checkpoint_epochs: int = setting(0, NOTHING, Range(0, 1_000_000, "epochs"))
    """It is saved at each multiple of so many epochs as well; 0: by the minutes alone."""
    threads: int | None = setting(None, NOTHING, Range(1, 1024, "threads"))
    """TensorFlow's threads; null: as many as there are processors. Others make another network."""
    xla: bool | None = setting(None, NOTHING)
    """Whether a step is compiled; null: on a GPU it is. The other makes another network."""
    steps_per_execution: int | None = setting(None, NOTHING, Range(1, 1_000_000, "steps"))
    """Steps between two looks at how training goes; null: as suits the device. On a GPU others make another network."""

    @property
    def side(self) -> int:
        """The largest training size, in pixels: the one that the encoder's stem is chosen for."""
        return max(int(size) for size, _ in self.sizes)


@dataclass(frozen=True)
class Recipe:
    """How a network is made: the sections that a training of it reads, whatever is asked of the network afterwards."""

    encoder: EncoderConfig
    head: HeadConfig
    augment: AugmentConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    pretrain: PretrainConfig
    seed: int
