"""The typed schema of a cell's configuration: what exists, its unit, its range, and what it decides.

Each field says of itself what it decides, see :mod:`simclr.config.setting`. Values that belong together are the YAML
files of ``conf/``; nothing has a second default there that it has here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from simclr.config.setting import Decides, OneOf, Range, options, setting

WEIGHTS, CELL, NOTHING = Decides.WEIGHTS, Decides.CELL, Decides.NOTHING
PROBABILITY = Range(0, 1)


def _residual(encoder: EncoderConfig) -> bool:
    return encoder.name in ("small_resnet", "resnet18")


def _jitters(augment: AugmentConfig) -> bool:
    return augment.jitter > 0


def _multi_crop(augment: AugmentConfig) -> bool:
    return augment.local_views > 0


@dataclass
class DataConfig:
    """The images. What they are is decided by their content (see :mod:`simclr.data`), not by where they lie."""

    name: str = setting(MISSING, NOTHING, options("data"))
    root: str | None = setting(None, NOTHING)
    image_size: int = setting(MISSING, WEIGHTS, Range(8, 1024, "pixels"))
    # Of the training images, kept out of pretraining; they take the test images' place.
    validation: float = setting(0.0, WEIGHTS, Range(0, 0.5, "share of each class"))
    # Of each class of the training images, drawn once and for good; the others are not used at all.
    train_share: float = setting(
        1.0, WEIGHTS, Range(0, 1, "share of each class", above=True), counts=lambda data: data.train_share != 1
    )
    # Decoded pixels that take more are not kept, but decoded anew whenever they are looked at.
    cache_gib: float = setting(1.0, NOTHING, Range(0, unit="GiB"))


@dataclass
class EncoderConfig:
    """The network that is kept: stages of ``blocks`` blocks and ``widths`` channels, then a global mean."""

    name: str = setting(MISSING, WEIGHTS, options("encoder"))
    widths: list[int] = setting([], WEIGHTS, Range(1, 8192, "channels"))
    blocks: list[int] = setting([], WEIGHTS, Range(1, 64, "blocks"))
    stem: str = setting("auto", WEIGHTS, OneOf(("auto", "cifar", "strided", "imagenet")), counts=_residual)
    shortcut: str = setting("strided", WEIGHTS, OneOf(("strided", "pooled")), counts=_residual)
    norm: str = setting("batch", WEIGHTS, OneOf(("batch", "group")))
    norm_momentum: float = setting(
        0.98, WEIGHTS, Range(0, 0.9999), counts=lambda encoder: encoder.norm == "batch" and encoder.name != "resnet50"
    )


@dataclass
class HeadConfig:
    """The projection head between encoder and loss (SimCLR, arXiv 2002.05709, section 4.2)."""

    name: str = setting(MISSING, WEIGHTS, options("head"))
    hidden: list[int] = setting([256, 128], WEIGHTS, Range(1, 65536, "units"))
    output: int = setting(50, WEIGHTS, Range(1, 65536, "units"))


@dataclass
class AugmentConfig:
    """What makes two views of an image: geometry first, then colour, blur and noise."""

    name: str = setting(MISSING, WEIGHTS, options("augment"))
    crop_area: list[float] = setting([1.0, 1.0], WEIGHTS, Range(0, 1, above=True), "share of the image")
    crop_aspect: list[float] = setting(
        [0.75, 4 / 3],
        WEIGHTS,
        Range(0.1, 10),
        "width / height",
        lambda each: each.crop_area[0] < 1 or _multi_crop(each),
    )
    flip: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    jitter: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    brightness: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - b to 1 + b", _jitters)
    contrast: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - c to 1 + c", _jitters)
    saturation: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - s to 1 + s", _jitters)
    hue: float = setting(0.0, WEIGHTS, Range(0, 0.5), "turns, from -h to h", _jitters)
    grey: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    blur: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    blur_sigma: list[float] = setting(
        [0.0004, 0.009], WEIGHTS, Range(0, 0.2), "share of the side", lambda augment: augment.blur > 0
    )
    rotation: float = setting(0.0, WEIGHTS, Range(0, 180, "degrees"), "degrees, from -r to r")
    scale: float = setting(0.0, WEIGHTS, Range(0, 2), "exp(-s) to exp(s), each axis by itself")
    shear: float = setting(0.0, WEIGHTS, Range(0, 2), "from -s to s")
    shift: float = setting(0.0, WEIGHTS, Range(0, 1), "share of the side, from -s to s")
    noise: float = setting(0.0, WEIGHTS, Range(0, 1), "standard deviation")
    local_views: int = setting(0, WEIGHTS, Range(0, 16, "views"), counts=_multi_crop)
    local_area: list[float] = setting([0.05, 0.35], WEIGHTS, Range(0, 1, above=True), "share of the image", _multi_crop)


@dataclass
class OptimizerConfig:
    """The optimizer and the way its learning rate goes over the run."""

    name: str = setting(MISSING, WEIGHTS, options("optimizer"))
    learning_rate: float = setting(MISSING, WEIGHTS, Range(0, 1000, above=True))
    scaling: str = setting("none", WEIGHTS, OneOf(("none", "linear", "sqrt")))
    weight_decay: float = setting(0.0, WEIGHTS, Range(0, 10))
    momentum: float = setting(0.9, WEIGHTS, Range(0, 0.9999), counts=lambda optimizer: optimizer.name != "adamw")
    warmup_epochs: float = setting(0.0, WEIGHTS, Range(0, 100_000, "epochs"))
    schedule: str = setting("cosine", WEIGHTS, OneOf(("cosine", "constant")))
    decay_steps: int | None = setting(
        None, WEIGHTS, Range(1, unit="steps"), counts=lambda optimizer: optimizer.schedule == "cosine"
    )
    trust_coefficient: float = setting(
        0.001, WEIGHTS, Range(0, 10, above=True), counts=lambda optimizer: optimizer.name == "lars"
    )


@dataclass
class PretrainConfig:
    """The contrastive training."""

    epochs: int = setting(MISSING, WEIGHTS, Range(1, 1_000_000, "epochs"))
    batch_size: int = setting(128, WEIGHTS, Range(1, 1_000_000, "images"))
    microbatch: int | None = setting(None, WEIGHTS, Range(1, 1_000_000, "images"))
    temperature: float = setting(0.2, WEIGHTS, Range(0.01, 100))
    sizes: list[Any] = setting(MISSING, WEIGHTS, unit="[side in pixels, share of the steps]")
    precision: str = setting("auto", WEIGHTS, OneOf(("auto", "float32", "mixed_bfloat16", "mixed_float16")))
    # Whose mean and variance a batch norm takes: both views' together, or each view's by itself.
    statistics: str = setting(
        "together", WEIGHTS, OneOf(("together", "apart")), counts=lambda pretrain: pretrain.statistics != "together"
    )
    # The loss and its gradient are those of one device with the whole batch; sums in another order change last bits.
    strategy: str = setting("one", NOTHING, OneOf(("one", "mirrored", "multi_worker")))
    # So many epochs in a row without a difference between images end the run; 0: never.
    collapse_epochs: int = setting(20, NOTHING, Range(0, 1_000_000, "epochs"))
    monitor_epochs: int = setting(10, NOTHING, Range(0, 1_000_000, "epochs"))
    checkpoint_minutes: float = setting(5.0, NOTHING, Range(0, 100_000, "minutes"))
    checkpoint_epochs: int = setting(0, NOTHING, Range(0, 1_000_000, "epochs"))
    threads: int | None = setting(None, NOTHING, Range(1, 1024, "threads"))
    # How a step reaches the device; None: as suits it. Like the number of threads, it can change the last bits.
    xla: bool | None = setting(None, NOTHING)
    steps_per_execution: int | None = setting(None, NOTHING, Range(1, 1_000_000, "steps"))

    @property
    def side(self) -> int:
        """The largest training size, in pixels: the one that the encoder's stem is chosen for."""
        return max(int(size) for size, _ in self.sizes)


@dataclass
class ProbeConfig:
    """The measurement: which representation, seen at which size, by which classifier, with how many labels."""

    name: str = setting(MISSING, CELL, options("probe"))
    layer: int | str = setting("encoder", CELL)
    label_fraction: float = setting(0.1, CELL, Range(0, 1, above=True))
    subsets: int = setting(5, CELL, Range(1, 1000))
    image_size: int = setting(MISSING, CELL, Range(8, 1024, "pixels"))
    flip: str = setting("auto", CELL, OneOf(("auto", "true", "false")))
    crop: str = setting("auto", CELL, OneOf(("auto", "centre", "whole")))
    strengths: list[float] = setting([0.001, 0.01, 0.1, 1.0], CELL, Range(0, above=True))
    neighbours: list[int] = setting([1, 3, 5, 10, 20], CELL, Range(1))
    # How a network is trained with labels, see LABELLED_TRAINING.
    learning_rates: list[float] = setting([0.00005, 0.0005, 0.005], CELL, Range(0, 1000, above=True))
    weight_decay: float = setting(0.05, CELL, Range(0, 10))
    batch_size: int = setting(32, CELL, Range(2, 1_000_000, "images"))
    epochs: int = setting(40, CELL, Range(1, 1_000_000, "epochs"))
    stops: int = setting(4, CELL, Range(1, 1000, "times"))
    folds: int = setting(2, CELL, Range(2, 100, "folds"))


LABELLED_TRAINING = tuple(
    f"probe.{name}" for name in ("learning_rates", "weight_decay", "batch_size", "epochs", "stops", "folds")
)
"""The settings by which a network is trained with labels: for ``probe=finetune`` and supervised baselines.

The learning rate, one of ``learning_rates``, falls along a cosine over ``epochs``; training ends at one of ``stops``
points, evenly spread over them. Which rate and which point is chosen by ``folds``-fold cross-validation.
"""


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: str = setting("auto", NOTHING, OneOf(("auto", "online", "offline", "disabled")))
    project: str = setting("simclr", NOTHING)
    entity: str | None = setting(None, NOTHING)
    group: str | None = setting(None, NOTHING)
    tags: list[str] = setting([], NOTHING)


@dataclass
class StoreConfig:
    """Where else than below ``root`` pretrained networks are kept and looked for."""

    remote: str = setting("none", NOTHING, OneOf(("none", "wandb")))


@dataclass
class Config:
    """A cell: one pretraining seen through one probe."""

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    seed: int = setting(0, WEIGHTS, Range(0, 2**31 - 1))
    # They are other networks' numbers, beside the cell's own: a cell recorded without them is done all the same.
    baselines: bool = setting(False, NOTHING)
    on_invalid: str = setting("error", NOTHING, OneOf(("error", "skip")))
    rerun: bool = setting(False, NOTHING)
    fail_fast: bool = setting(False, NOTHING)
    grid: str | None = setting(None, NOTHING)
    root: str = setting("runs", NOTHING)


ConfigStore.instance().store(name="schema", node=Config)
# The sweeper of grids. Registered here and not by the plugin, which Hydra finds beside run.py only: a notebook that
# composes a configuration needs its name as well.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="simclr",
    node={
        "_target_": "hydra_plugins.simclr_sweeper.SimclrSweeper",
        "params": None,
        "dry_run": False,
        "file": None,
        "run_cap": None,
    },
)
