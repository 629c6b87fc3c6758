"""The typed schema of a cell's configuration: what exists, its unit, its range, and what it decides.

Each field says of itself what it decides, see :mod:`simclr.config.setting`, and below it stands what it is for, which
``docs/configuration.md`` quotes. Values that belong together are the YAML files of ``conf/``; nothing has a second
default there that it has here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from simclr.config.method import (
    AugmentConfig,
    EncoderConfig,
    HeadConfig,
    LossConfig,
    OptimizerConfig,
    PretrainConfig,
    Recipe,
)
from simclr.config.setting import Decides, OneOf, Range, options, setting

WEIGHTS, IMAGES, CELL, NOTHING = Decides.WEIGHTS, Decides.IMAGES, Decides.CELL, Decides.NOTHING


@dataclass
class ImagesConfig:
    """Which images: what is said of those that are pretrained on and, in the same words, of those that are probed."""

    name: str | None = setting(None, IMAGES, options("data"))
    """Which images; null: those of `data`."""
    root: str | None = setting(None, NOTHING)
    """Where they lie: a folder with `train/` and `test/`. `~` is the home directory."""
    image_size: int = setting(MISSING, WEIGHTS, Range(8, 1024, "pixels"))
    """The side at which images are kept once they are decoded."""
    class_pattern: str | None = setting(None, IMAGES)
    """What of a loose file's name is its class: up to `first_underscore` or `number`, or a regex's first group."""
    labels: str | None = setting(None, IMAGES)
    """A CSV file, `path,label[,split]`, that tells the classes in place of folders; relative to `root`."""
    test_share: float | None = setting(None, IMAGES, Range(0, 0.9, "share of each class", above=True))
    """Of a folder that has no test part: what becomes it, drawn once and for good, the same on every machine."""
    subset: str | None = setting(None, IMAGES)
    """Of a set of the hub: which of its subsets, where there are several."""
    revision: str | None = setting(None, IMAGES)
    """Of a set of the hub: a commit, branch or tag; null: the newest when it is first asked for, and that one on."""
    image_column: str | None = setting(None, IMAGES)
    """Of a set of the hub: the column of images; null: the one that is typed so."""
    label_column: str | None = setting(None, IMAGES)
    """Of a set of the hub: the column of labels; null: the one that is typed or called so."""


@dataclass
class DataConfig(ImagesConfig):
    """The images. What they are is decided by their content (see `simclr.data`), not by where they lie."""

    name: str = setting(MISSING, NOTHING, options("data"))
    """Which images; `data=NAME` chooses them together with the views that suit them."""
    validation: float = setting(0.0, WEIGHTS, Range(0, 0.5, "share of each class"))
    """Of the training images, kept out of pretraining; they take the test images' place."""
    train_share: float = setting(
        1.0, WEIGHTS, Range(0, 1, "share of each class", above=True), counts=lambda data: data.train_share != 1
    )
    """Of each class of the training images, drawn once and for good; the others are not used at all."""
    unlabeled: float = setting(1.0, IMAGES, Range(0, 1, "share"))
    """Of the images without labels, how many pretraining sees beside the training images; drawn once and for good."""
    cache_gib: float = setting(1.0, NOTHING, Range(0, unit="GiB"))
    """Decoded pixels that take more are not kept, but decoded anew whenever they are looked at."""
    megapixels: float = setting(100.0, NOTHING, Range(1, 10_000, "million pixels"))
    """A photograph that has more is refused, as all of it would be in memory at once."""

    @property
    def selection(self) -> tuple[Any, ...]:
        """Everything that decides which images there are, and nothing of how they are kept."""
        kept = ("image_size", "cache_gib", "megapixels")
        return tuple(getattr(self, each.name) for each in fields(self) if each.name not in kept)

    @property
    def most_pixels(self) -> int:
        """Pixels that an image may have in its file."""
        return round(self.megapixels * 1e6)


@dataclass
class TransferConfig(ImagesConfig):
    """Other images that a network is probed on than those that it was pretrained on; `transfer=NAME` chooses them."""

    image_size: int = setting(64, CELL, Range(8, 1024, "pixels"), counts=lambda transfer: transfer.name is not None)
    """The side at which they are kept once they are decoded; the network sees them at `probe.image_size`."""

    def data(self, kept: DataConfig) -> DataConfig:
        """The images, kept in the same way as others."""
        assert self.name is not None
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return DataConfig(**own, unlabeled=0.0, cache_gib=kept.cache_gib, megapixels=kept.megapixels)


@dataclass
class ProbeConfig:
    """The measurement: which representation, seen at which size, by which classifier, with how many labels."""

    name: str = setting(MISSING, CELL, options("probe"))
    """Which classifier asks, or none: pretraining alone; `probe=NAME` brings its settings too."""
    layer: int | str = setting("encoder", CELL)
    """Which representation: an index into the model's layers from the end, or a name."""
    label_fraction: float = setting(0.1, CELL, Range(0, 1, above=True))
    """Share of the training labels that the probe sees."""
    subsets: int = setting(5, CELL, Range(1, 1000))
    """How many draws of them, one probe each."""
    image_size: int = setting(MISSING, CELL, Range(8, 1024, "pixels"))
    """The side at which the frozen network looks at an image."""
    flip: str = setting("auto", CELL, OneOf(("auto", "true", "false")))
    """Whether features are averaged over an image and its mirror image; `auto`: where the views flip."""
    crop: str = setting("auto", CELL, OneOf(("auto", "centre", "whole")))
    """The largest centred square, or the whole image made square; `auto`: the centre where the views crop."""
    strengths: list[float] = setting([0.001, 0.01, 0.1, 1.0], CELL, Range(0, above=True))
    """The penalties that `linear` chooses from."""
    neighbours: list[int] = setting([1, 3, 5, 10, 20], CELL, Range(1))
    """The numbers of neighbours that `knn` chooses from."""
    learning_rates: list[float] = setting([0.00005, 0.0005, 0.005], CELL, Range(0, 1000, above=True))
    """Rates to choose from when a network is trained with labels, by `finetune` and for supervised baselines."""
    weight_decay: float = setting(0.05, CELL, Range(0, 10))
    """How strongly kernels are drawn to zero in such a training."""
    batch_size: int = setting(32, CELL, Range(2, 1_000_000, "images"))
    """Images in a step of such a training."""
    epochs: int = setting(40, CELL, Range(1, 1_000_000, "epochs"))
    """How long such a training lasts at most."""
    stops: int = setting(4, CELL, Range(1, 1000, "times"))
    """Points, evenly spread over the epochs, at one of which such a training ends."""
    folds: int = setting(2, CELL, Range(2, 100, "folds"))
    """Parts in the cross-validation that chooses its rate and its end."""


LABELLED_TRAINING = tuple(
    f"probe.{name}" for name in ("learning_rates", "weight_decay", "batch_size", "epochs", "stops", "folds")
)
"""The settings by which a network is trained with labels: for ``probe=finetune`` and supervised baselines."""


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: str = setting("auto", NOTHING, OneOf(("auto", "online", "offline", "disabled")))
    """`auto`: online where a key is configured, else offline."""
    project: str = setting("simclr", NOTHING)
    """The name of W&B's project."""
    entity: str | None = setting(None, NOTHING)
    """Whose project; null: your own."""
    group: str | None = setting(None, NOTHING)
    """Which runs belong together; null: those of one pretraining."""
    tags: list[str] = setting([], NOTHING)
    """Further words to find a run by."""


@dataclass
class StoreConfig:
    """What is kept of pretrained networks, and where else than below `root`."""

    remote: str = setting("none", NOTHING, OneOf(("none", "wandb")))
    """`wandb`: networks are W&B artifacts too, for machines that share no disk."""
    features_gib: float = setting(0.1, NOTHING, Range(0, 1_000_000, "GiB"))
    """Features of all layers are kept up to so much, trained and untrained; of more, those of the layers asked for."""


OF_ITS_QUESTION = ("seeds", "max_seeds", "answer", "by", "smallest")
"""The settings that say what is asked of a grid, and for how long: they are the same for all of its cells."""


@dataclass
class Config:
    """A cell: one pretraining seen through one probe."""

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    seed: int = setting(0, WEIGHTS, Range(0, 2**31 - 1))
    """Every random choice comes from it."""
    baselines: bool = setting(False, NOTHING)
    """Train the encoder with labels alone, too; a cell recorded without is done all the same."""
    on_invalid: str = setting("error", NOTHING, OneOf(("error", "skip")))
    """What an impossible cell does: end with code 2, or be recorded as skipped."""
    rerun: bool = setting(False, NOTHING)
    """Measure cells again that have a result."""
    fail_fast: bool = setting(False, NOTHING)
    """A grid starts no further cell after one that failed."""
    seeds: str | None = setting(None, NOTHING, OneOf(("auto",)))
    """Of a grid: `auto`, a seed after another for the cells that still matter, until its question is answered."""
    max_seeds: int = setting(10, NOTHING, Range(2, 1000))
    """With `seeds=auto`, so many at most."""
    answer: str = setting("best", NOTHING, OneOf(("best", "order", "beats_pixels")))
    """The question: which cell is the best; the order of a factor's levels; which cells beat the baselines."""
    by: str | None = setting(None, NOTHING)
    """The factor of `answer=order`, as it is typed: `head`."""
    smallest: float = setting(0.01, NOTHING, Range(0, 1))
    """A difference in accuracy below it counts as none."""
    grid: str | None = setting(None, NOTHING)
    """Set by a grid for its jobs, never by hand."""
    root: str = setting("runs", NOTHING)
    """Everything is written below it. `~` is the home directory."""

    @property
    def asked(self) -> DataConfig:
        """The images that the probe asks about."""
        return self.data if self.transfer.name is None else self.transfer.data(self.data)

    @property
    def recipe(self) -> Recipe:
        """How the cell's network is made."""
        return Recipe(self.encoder, self.head, self.augment, self.loss, self.optimizer, self.pretrain, self.seed)
