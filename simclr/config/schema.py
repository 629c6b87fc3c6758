"""The typed schema of a cell's configuration: what exists, its unit, its range, and what it decides.

Each field says of itself what it decides, see :mod:`simclr.config.setting`, and below it stands what it is for, which
``docs/configuration.md`` quotes. Values that belong together are the YAML files of ``conf/``; nothing has a second
default there that it has here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from simclr.config.augment import AugmentConfig
from simclr.config.head import HeadConfig
from simclr.config.loss import LossConfig
from simclr.config.setting import Decides, OneOf, Range, options, setting

WEIGHTS, IMAGES, CELL, NOTHING = Decides.WEIGHTS, Decides.IMAGES, Decides.CELL, Decides.NOTHING


def _residual(encoder: EncoderConfig) -> bool:
    return encoder.name in ("small_resnet", "resnet18")


@dataclass
class DataConfig:
    """The images. What they are is decided by their content (see :mod:`simclr.data`), not by where they lie."""

    name: str = setting(MISSING, NOTHING, options("data"))
    """Which images; `data=NAME` chooses them together with the views that suit them."""
    root: str | None = setting(None, NOTHING)
    """Where they lie: a folder with `train/` and `test/`. `~` is the home directory."""
    image_size: int = setting(MISSING, WEIGHTS, Range(8, 1024, "pixels"))
    """The side at which images are kept once they are decoded."""
    class_pattern: str | None = setting(None, IMAGES)
    """What of a loose file's name is its class: up to `first_underscore` or `number`, or a regex's first group."""
    labels: str | None = setting(None, IMAGES)
    """A CSV file, `path,label[,split]`, that tells the classes in place of folders; relative to `data.root`."""
    test_share: float | None = setting(None, IMAGES, Range(0, 0.9, "share of each class", above=True))
    """Of a folder that has no test part: what becomes it, drawn once and for good, the same on every machine."""
    validation: float = setting(0.0, WEIGHTS, Range(0, 0.5, "share of each class"))
    """Of the training images, kept out of pretraining; they take the test images' place."""
    train_share: float = setting(
        1.0, WEIGHTS, Range(0, 1, "share of each class", above=True), counts=lambda data: data.train_share != 1
    )
    """Of each class of the training images, drawn once and for good; the others are not used at all."""
    subset: str | None = setting(None, IMAGES)
    """Of a set of the hub: which of its subsets, where there are several."""
    revision: str | None = setting(None, IMAGES)
    """Of a set of the hub: a commit, branch or tag; null: the newest when it is first asked for, and that one on."""
    image_column: str | None = setting(None, IMAGES)
    """Of a set of the hub: the column of images; null: the one that is typed so."""
    label_column: str | None = setting(None, IMAGES)
    """Of a set of the hub: the column of labels; null: the one that is typed or called so."""
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


def _transfers(transfer: TransferConfig) -> bool:
    return transfer.name is not None


@dataclass
class TransferConfig:
    """Other images that a network is probed on than those that it was pretrained on; `transfer=NAME` chooses them."""

    name: str | None = setting(None, IMAGES, options("data"))
    """Which images; null: those of `data`."""
    root: str | None = setting(None, NOTHING)
    """Where they lie."""
    image_size: int = setting(64, CELL, Range(8, 1024, "pixels"), counts=_transfers)
    """The side at which they are kept once they are decoded; the network sees them at `probe.image_size`."""
    class_pattern: str | None = setting(None, IMAGES)
    """As `data.class_pattern`."""
    labels: str | None = setting(None, IMAGES)
    """As `data.labels`."""
    test_share: float | None = setting(None, IMAGES, Range(0, 0.9, "share of each class", above=True))
    """As `data.test_share`."""

    subset: str | None = setting(None, IMAGES)
    """As `data.subset`."""
    revision: str | None = setting(None, IMAGES)
    """As `data.revision`."""
    image_column: str | None = setting(None, IMAGES)
    """As `data.image_column`."""
    label_column: str | None = setting(None, IMAGES)
    """As `data.label_column`."""

    def data(self, kept: DataConfig) -> DataConfig:
        """The images, kept in the same way as others."""
        assert self.name is not None
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return DataConfig(**own, unlabeled=0.0, cache_gib=kept.cache_gib, megapixels=kept.megapixels)


@dataclass
class EncoderConfig:
    """The network that is kept: stages of ``blocks`` blocks and ``widths`` channels, then a global mean."""

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
    sizes: list[Any] = setting(MISSING, WEIGHTS, unit="[side in pixels, share of the steps]")
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
"""The settings by which a network is trained with labels: for ``probe=finetune`` and supervised baselines.

The learning rate, one of ``learning_rates``, falls along a cosine over ``epochs``; training ends at one of ``stops``
points, evenly spread over them. Which rate and which point is chosen by ``folds``-fold cross-validation.
"""


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
    """What is kept of pretrained networks, and where else than below ``root``."""

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
