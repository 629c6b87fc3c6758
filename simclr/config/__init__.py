"""What can be configured and what a configuration means: schema, validation, composition, identity.

The schema is imported from here, and so is what its settings say of themselves. Of the modules,
:mod:`validation <simclr.config.validation>` makes a typed configuration of a composed one,
:mod:`compose <simclr.config.compose>` composes many at once, :mod:`explain <simclr.config.explain>` says what is wrong
with an override, and :mod:`cell <simclr.config.cell>` names cells and pretrainings. Values live in ``conf/``, a folder
per group.
"""

from simclr.config.method import (
    AugmentConfig,
    EncoderConfig,
    HeadConfig,
    LossConfig,
    OptimizerConfig,
    PretrainConfig,
    Recipe,
)
from simclr.config.schema import (
    LABELLED_TRAINING,
    OF_ITS_QUESTION,
    Config,
    DataConfig,
    ProbeConfig,
    TrackingConfig,
    TransferConfig,
)
from simclr.config.setting import Decides, Range, decisive, options, settings

__all__ = [
    "LABELLED_TRAINING",
    "OF_ITS_QUESTION",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "Decides",
    "EncoderConfig",
    "HeadConfig",
    "LossConfig",
    "OptimizerConfig",
    "PretrainConfig",
    "ProbeConfig",
    "Range",
    "Recipe",
    "TrackingConfig",
    "TransferConfig",
    "decisive",
    "options",
    "settings",
]
