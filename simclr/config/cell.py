"""The identity of cells and pretrainings, and which layers a head has.

A *cell* is a full configuration: one pretraining seen through one probe. A *pretraining*'s key is a hash of everything
that can change its weights and of nothing else; the schema says on each field which that is.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from simclr.config.method import RELU_LAYERS, AugmentConfig, EncoderConfig, HeadConfig, forward_layers
from simclr.config.schema import LABELLED_TRAINING, Config, ProbeConfig
from simclr.config.setting import Decides, decisive, settings
from simclr.foundation.errors import InvalidInput, suggestion
from simclr.foundation.files import as_file_name
from simclr.foundation.machine import resolve_precision

log = logging.getLogger(__name__)

TRAINING_VERSION = 2
"""Counts changes in what the training code means: under another number the same configuration is trained again."""

CLASSIFIED = ("probe.label_fraction", "probe.subsets", "probe.strengths", "probe.neighbours")
"""What is asked of a classifier; without one it says nothing."""

_DEFAULT = Config()
_DECIDING = {
    key for key, declared, _ in settings(Config) if declared.metadata["decides"] in (Decides.WEIGHTS, Decides.CELL)
}


class ImpossibleCell(InvalidInput):
    """A point of a grid that does not exist, though each setting is valid by itself: ``on_invalid=skip`` prunes it."""


@dataclass(frozen=True)
class Layer:
    """A representation: its negative index into the network's layers (none for an encoder stage), name and width."""

    index: int | None
    name: str
    width: int


@dataclass(frozen=True)
class View:
    """How a frozen network looks at an image: at ``size`` pixels a side, as itself or averaged with its mirror image.

    With ``centre`` it sees the largest centred square of the image, else the whole image squashed.
    """

    size: int
    mirror: bool
    centre: bool

    def __str__(self) -> str:
        return f"{self.size}px-{'centre' if self.centre else 'whole'}{'-mirror' if self.mirror else ''}"


@dataclass(frozen=True)
class Cell:
    """A configuration with everything derived from it that names it."""

    config: Config
    layer: Layer
    digest: str
    key: str
    name: str
    asked: str | None = None
    """With ``transfer``, the content of the images that the probe asks about."""

    @property
    def seen(self) -> str:
        """A name for what the network makes of the images that are asked about, and how it looks at them."""
        view = str(probed_view(self.config.probe, self.config.augment))
        return view if self.asked is None else f"on-{self.asked[:16]}-{self.config.transfer.image_size}-{view}"

    @property
    def facts(self) -> dict[str, Any]:
        """What was configured and what names the cell, under dotted keys."""
        return {
            **configured(self.config),
            "cell": self.name,
            "pretraining.key": self.key,
            "data.digest": self.digest,
            **{f"layer.{name}": value for name, value in asdict(self.layer).items()},
        }


def head_layers(encoder: EncoderConfig, head: HeadConfig) -> list[Layer]:
    """The layers from the head's last one (-1) back to the pooled encoder, as ``model.layers`` has them.

    >>> layers = head_layers(EncoderConfig(widths=[2048]), HeadConfig(name="one_relu"))
    >>> [(layer.index, layer.name, layer.width) for layer in layers]
    [(-1, 'projection', 50), (-2, 'relu_1', 256), (-3, 'dense_1', 256), (-4, 'encoder', 2048)]
    """
    forward = [("encoder", encoder.widths[-1]), *((layer.name, layer.width) for layer in forward_layers(head))]
    return [Layer(-position, name, width) for position, (name, width) in enumerate(reversed(forward), start=1)]


def all_layers(encoder: EncoderConfig, head: HeadConfig) -> list[Layer]:
    """Those, and the encoder's stages, each averaged over its positions; they are inside it and have no index."""
    stages = [Layer(None, f"stage_{number}", width) for number, width in enumerate(encoder.widths, start=1)]
    return head_layers(encoder, head) + stages


def probed_layer(config: Config) -> Layer:
    """The layer that ``probe.layer`` means with this head and encoder.

    Raises:
        ImpossibleCell: this head has no such layer, or this encoder no such stage.
    """
    given, known = config.probe.layer, all_layers(config.encoder, config.head)
    for layer in known:
        if given in (layer.index, layer.name):
            return layer
    listed = ", ".join(f"{layer.index} {layer.name}" for layer in known if layer.index is not None)
    raise ImpossibleCell(
        f"probe.layer={given}: head={config.head.name} has the layers {listed}; "
        f"encoder={config.encoder.name} the stages stage_1 to stage_{len(config.encoder.widths)}."
        f"{suggestion(str(given), [layer.name for layer in known])}"
    )


def coordinates(config: Config) -> dict[str, Any]:
    """What a record says of where in a grid its cell is; of a layer that is not there, what was asked for."""
    given = config.probe.layer
    try:
        layer = asdict(probed_layer(config))
    except ImpossibleCell:
        layer = {"index": given if isinstance(given, int) else None, "name": str(given), "width": None}
    return {
        "data": config.data.name,
        "transfer": config.transfer.name,
        "encoder": config.encoder.name,
        "head": config.head.name,
        "probe": config.probe.name,
        "layer": layer,
        "seed": config.seed,
        "label_fraction": config.probe.label_fraction if config.probe.name != "none" else None,
    }


def configured(config: Config) -> dict[str, Any]:
    """Every setting under its dotted key, but for those that say only where and how a run is kept."""
    return {key: value for key, _, value in settings(config) if key != "root" and not key.startswith("tracking.")}


def probed_view(probe: ProbeConfig, augment: AugmentConfig) -> View:
    """How the frozen network looks at an image; ``auto`` is where the augmentation flips, and where it crops."""
    mirror = augment.flip > 0 if probe.flip == "auto" else probe.flip == "true"
    centre = augment.crop_area[0] < 1 if probe.crop == "auto" else probe.crop == "centre"
    return View(probe.image_size, mirror, centre)


def labelled_augment(augment: AugmentConfig) -> AugmentConfig:
    """How an image varies while a network is trained with its label: the views' geometry, without colour and noise."""
    geometry = ("crop_area", "crop_aspect", "crop_fit", "flip", "rotation", "scale", "shear", "shift")
    return AugmentConfig(name="labelled", **{name: getattr(augment, name) for name in geometry})


def pretraining_identity(config: Config, digest: str) -> dict[str, Any]:
    """Everything that can change the pretrained weights, as dotted keys, in the form that says only what matters.

    ``auto`` is what it stands for here. Left out is what decides nothing: the momentum of an optimizer without one, the
    strength of a jitter that never happens, widths that this head does not have.
    """
    identity = decisive(config, Decides.WEIGHTS)
    identity["data.digest"] = digest
    identity["training.version"] = TRAINING_VERSION
    identity["pretrain.precision"] = resolve_precision(config.pretrain.precision)
    identity["head.hidden"] = config.head.hidden[: RELU_LAYERS[config.head.name]]
    if config.head.name == "none":
        del identity["head.output"]
    if config.encoder.norm == "group" and not config.head.normed:  # look at no other image of the batch
        identity.pop("pretrain.statistics", None)
    return identity


def cell_identity(config: Config, digest: str, asked: str | None = None) -> dict[str, Any]:
    """The pretraining's key and everything that decides what is measured on it, as dotted keys.

    A probe on frozen features trains no network, and how it would is left out. One without neighbours has the usual
    number of them, whatever was typed.
    """
    identity = decisive(config, Decides.CELL)
    try:
        identity["probe.layer"] = probed_layer(config).name
    except ImpossibleCell:
        identity["probe.layer"] = config.probe.layer
    view = probed_view(config.probe, config.augment)
    identity["probe.flip"], identity["probe.crop"] = view.mirror, view.centre
    left_out: tuple[str, ...] = () if config.probe.name == "finetune" else LABELLED_TRAINING
    if config.probe.name == "none":
        left_out += CLASSIFIED
    if config.probe.name != "knn":
        identity["probe.neighbours"] = _DEFAULT.probe.neighbours
    identity = {key: value for key, value in identity.items() if key not in left_out}
    if config.transfer.name is not None:
        identity["transfer.digest"] = asked
    return {"pretraining": fingerprint(pretraining_identity(config, digest))[:16], **identity}


def describe(config: Config, digest: str, asked: str | None = None) -> Cell:
    """The cell that a configuration means, by the content of its images and, with ``transfer``, of those asked about.

    Raises:
        ImpossibleCell: there is no such cell.
    """
    layer = probed_layer(config)
    identity = cell_identity(config, digest, asked)
    return Cell(config, layer, digest, identity["pretraining"], _readable(config, layer.name, identity), asked)


def idle(typed: Iterable[tuple[Config, Iterable[str]]]) -> list[str]:
    """Overrides that decide nothing beside the others they were typed with: a weight for a loss that has none.

    They change no identity of the cells that they were typed for. What only says a default again is left out.
    """
    used: set[str] = set()
    useless: dict[str, str] = {}
    for config, overrides in typed:
        keys = {text: text.partition("=")[0] for text in overrides}
        asked = {text: key for text, key in keys.items() if key in _DECIDING and key not in used}
        asked = {text: key for text, key in asked.items() if attrgetter(key)(config) != attrgetter(key)(_DEFAULT)}
        if asked:
            deciding = pretraining_identity(config, "").keys() | cell_identity(config, "").keys()
            if config.probe.name != "knn":
                deciding -= {"probe.neighbours"}
            if config.baselines:  # one of them is trained so, whatever the probe
                deciding |= set(LABELLED_TRAINING)
            used |= deciding.intersection(asked.values())
            useless |= asked
    return [text for text, key in useless.items() if key not in used]


def say_what_is_idle(typed: Iterable[tuple[Config, Iterable[str]]]) -> None:
    """Log each of them, in a line of its own."""
    for text in idle(typed):
        log.warning("%s counts for nothing beside the other settings", text)


def chosen(config: Config) -> Cell:
    """The cell without a look at its images: what they are chosen by stands in place of their content.

    Its key is another one than that of the cell itself, and the same as that of others which share its pretraining.

    Raises:
        ImpossibleCell: there is no such cell.
    """
    asked = None if config.transfer.name is None else repr(config.asked.selection)
    return describe(config, repr(config.data.selection), asked)


def skipped_name(config: Config, digest: str, asked: str | None = None) -> str:
    """The name under which an impossible cell is recorded."""
    return _readable(config, f"layer{config.probe.layer}", cell_identity(config, digest, asked))


def fingerprint(identity: dict[str, Any]) -> str:
    """SHA-256, 64 hex digits, over the identity in canonical JSON.

    Raises:
        TypeError: a value without a stable form (an object, a float that is not finite): hashing it would make a
            different key of the same thing, or the same key of different ones.
    """
    try:
        canonical = json.dumps(identity, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{identity!r} has no stable identity: {error}") from error
    return hashlib.sha256(canonical.encode()).hexdigest()


def _readable(config: Config, layer: str, identity: dict[str, Any]) -> str:
    data = config.data.name if config.transfer.name is None else f"{config.data.name}-to-{config.transfer.name}"
    parts = (as_file_name(data), config.encoder.name, config.head.name, layer, f"s{config.seed}")
    return "-".join((*parts, fingerprint(identity)[:8]))
