"""A composed configuration as objects of the schema: of the right types, in range, and not at odds with each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from simclr.config import home
from simclr.config.method import RELU_LAYERS, AugmentConfig
from simclr.config.schema import OF_ITS_QUESTION, Config
from simclr.config.setting import OneOf, Range, settings
from simclr.foundation.errors import InvalidInput, one_line, suggestion

# Hydra's knowledge of the schema. It is not where the schema is: whoever only reads records does not need Hydra, which
# takes longer to import than a grid's records to read.
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


def resolve(config: DictConfig | Config) -> Config:
    """The composed configuration as typed, validated objects: every range of the schema, then what ties them together.

    Raises:
        InvalidInput: a key is unknown, or a value missing, of the wrong type, out of its range, or at odds with
            another one.
    """
    if not isinstance(config, Config):
        config = typed(config)
    config.root = home.expanded(config.root)
    config.probe.flip = config.probe.flip.lower()  # YAML's true arrives as "True"
    for key, declared, value in settings(config):
        validate_one(key, declared, value)
    for key, path in (("root", config.root), ("data.root", config.data.root), ("transfer.root", config.transfer.root)):
        if path is not None and not path.strip():
            raise InvalidInput(f"{key}=: it is empty, as that of a variable that is not set; valid is a folder")
    validate_question(config)
    for wrong in _at_odds(config):
        raise InvalidInput(wrong)
    config.pretrain.sizes = [[int(side), float(share)] for side, share in config.pretrain.sizes]
    return config


def typed(config: DictConfig) -> Config:
    """The composed configuration as objects of the schema, each value of its type, none looked at yet.

    Raises:
        InvalidInput: a key is unknown, or a value missing or of the wrong type.
    """
    try:
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), config))
    except OmegaConfBaseException as error:
        raise InvalidInput(f"{error.full_key or 'configuration'}: {one_line(error)}") from error
    assert isinstance(made, Config)
    made.root = home.expanded(made.root)
    return made


def as_yaml(config: Config) -> str:
    """The configuration as a file keeps it, of which :func:`resolve` makes the same objects again."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def validate_one(key: str, declared: dataclasses.Field[Any], value: Any) -> None:
    """The range of one setting.

    Raises:
        InvalidInput: the value, or one of a list, is out of it.
    """
    valid = declared.metadata["valid"]
    for item in value if isinstance(value, list) else [value]:
        if item is None or valid is None or (isinstance(valid, Range) and not isinstance(item, (int, float))):
            continue
        if item not in valid:
            near = suggestion(str(item), valid.names) if isinstance(valid, OneOf) else ""
            raise InvalidInput(f"{key}={_shown(value)}: valid is {valid}.{near}")


def validate_question(config: Config) -> None:
    """What a grid is asked, which its cells know nothing of.

    Raises:
        InvalidInput: a value is out of its range, or given though nothing is asked.
    """
    for key, declared, value in settings(config):
        if key in OF_ITS_QUESTION:
            validate_one(key, declared, value)
            if config.seeds is None and value != declared.default:
                raise InvalidInput(f"{key}={_shown(value)}: valid with seeds=auto alone")


def _at_odds(config: Config) -> Iterator[str]:
    """What is wrong with settings beside each other. Of several such things, only the first is sure to be one."""
    data, transfer, encoder, head = config.data, config.transfer, config.encoder, config.head
    if data.name == "folder" and not data.root:
        yield "data.root is missing: data=folder needs data.root=DIR, a folder with train/ and test/"
    if transfer.name == "folder" and not transfer.root:
        yield "transfer.root is missing: transfer=folder needs transfer.root=DIR"
    if transfer.name is None:
        for each in dataclasses.fields(transfer):
            if each.default is None and (given := getattr(transfer, each.name)) is not None:
                yield f"transfer.{each.name}={given}: which images? valid with transfer=NAME, as transfer=folder"
    elif (transfer.name == "digits") != (data.name == "digits"):
        asked, has = "one channel", "three channels"
        if data.name == "digits":
            asked, has = has, asked
        yield f"transfer={transfer.name}: its images have {asked}, and those of data={data.name} have {has}"
    if config.baselines and config.probe.name == "none":
        yield "baselines=true probe=none: valid with a probe that they are compared with"
    if len(encoder.widths) != len(encoder.blocks) or not encoder.widths:
        yield f"encoder.widths={encoder.widths}: one width per stage is needed, encoder.blocks={encoder.blocks}"
    for key, own in (("widths", [256, 512, 1024, 2048]), ("blocks", [3, 4, 6, 3]), ("norm", "batch")):
        given = getattr(encoder, key)
        if encoder.name == "resnet50" and given != own:
            yield f"encoder.{key}={given}: resnet50 is Keras's own, its {key} cannot be changed"
    needed = RELU_LAYERS.get(head.name, 0)
    if len(head.hidden) < needed:
        widths = "one width" if needed == 1 else f"{needed} widths"
        yield (
            f"head.hidden={_shown(head.hidden)}: head={head.name} needs {widths}, one for each ReLU layer; "
            f"valid is at least so many, say {_shown([256] * max(needed - 1, 1) + [128] * (needed > 1))}"
        )
    yield from _at_odds_with_microbatches(config)
    yield from _wrong_views(config.augment)
    yield from _wrong_sizes(config.pretrain.sizes)


def _at_odds_with_microbatches(config: Config) -> Iterator[str]:
    encoder, head, augment, pretrain = config.encoder, config.head, config.augment, config.pretrain
    if pretrain.microbatch is None:
        return
    given = f"pretrain.microbatch={pretrain.microbatch}"
    if pretrain.batch_size % pretrain.microbatch:
        yield f"{given}: valid is a divisor of pretrain.batch_size={pretrain.batch_size}"
    norms = ["encoder.norm=group"] * (encoder.norm == "batch") + ["head.norm=none"] * head.normed
    if pretrain.strategy != "one" and norms:
        yield (
            f"{given} pretrain.strategy={pretrain.strategy}: valid with "
            f"{' '.join(norms)}, as a batch norm over devices and microbatches at once would be neither's"
        )
    if augment.local_views:
        yield f"augment.local_views={augment.local_views} {given}: valid is one of them"
    if head.normed and pretrain.microbatch == 1:
        yield (
            f"{given} head.norm={head.norm}: valid is at least 2 images, as a batch norm makes two rows each other's "
            "opposite whatever they are"
        )


def _wrong_views(augment: AugmentConfig) -> Iterator[str]:
    for key in ("crop_area", "crop_aspect", "blur_sigma", "local_area"):
        ends = getattr(augment, key)
        if len(ends) != 2 or ends[0] > ends[1]:
            yield f"augment.{key}={ends}: two numbers are needed, the smaller one first"
    if augment.blur_sigma[0] == 0 and augment.blur_draw == "log_uniform":
        yield (
            f"augment.blur_sigma={_shown(augment.blur_sigma)} augment.blur_draw=log_uniform: "
            "0 has no logarithm; valid is more than 0, or augment.blur_draw=uniform"
        )
    if augment.local_views and augment.name == "documents":
        yield f"augment.local_views={augment.local_views}: augment=documents draws for a whole batch; valid is 0"


def _wrong_sizes(sizes: list[Any]) -> Iterator[str]:
    given = f"pretrain.sizes={_shown(sizes)}"
    for stage in sizes or [None]:
        match stage:
            case [int() | float() as side, int() | float() as share]:
                if side not in range(8, 1025):
                    yield f"{given}: a side of {side:g} pixels; valid is a whole number from 8 to 1024"
                if not 0 < share <= 1:
                    yield f"{given}: a share of {share:g}; valid is more than 0, at most 1"
            case _:
                yield f"{given}: valid is a list of [side in pixels, share of the steps], say [[32,0.5],[64,0.5]]"
    if abs(sum(share for _, share in sizes) - 1) > 0.001:
        yield f"{given}: the shares add up to {sum(share for _, share in sizes):g}, not to 1"


def _shown(value: Any) -> str:
    """A value as a person would type it on the command line."""
    if isinstance(value, list):
        return "[" + ",".join(_shown(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
