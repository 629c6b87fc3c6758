"""The optimizer and the way its learning rate goes over a run."""

from __future__ import annotations

import math
from typing import Any

import keras

from simclr.config import OptimizerConfig
from simclr.foundation.errors import InvalidInput
from simclr.training.adamw import FusedAdamW
from simclr.training.lars import LARS

# The batch that a scaled learning rate is given for (Goyal et al. 2017, arXiv 1706.02677).
REFERENCE_BATCH = 256

# TensorFlow's variables are called by their path, Keras's by the last part of it.
NOT_KERNELS = r"(^|/)(bias|gamma|beta)(:\d+)?$"


def learning_rate_schedule(config: OptimizerConfig, steps: int, steps_per_epoch: int, batch_size: int) -> Any:
    """The learning rate by step: linear warm-up from 0, then a cosine to 0 (arXiv 1608.03983) or a constant.

    Args:
        config: the base rate, its scaling with the batch, the warm-up and the decay.
        steps: of the whole run; the cosine ends there unless ``config.decay_steps`` says how many it takes after the
            warm-up. A warm-up as long as the run leaves no step to the decay.
        steps_per_epoch: turns the warm-up's epochs, which may be fractional, into steps.
        batch_size: images (not views) in a step.

    Returns:
        A ``keras.optimizers.schedules.LearningRateSchedule``.
    """
    peak = _scaled_rate(config, batch_size)
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    # A cosine that falls to all of its height stays constant.
    floor = 1.0 if config.schedule == "constant" else 0.0
    decay_steps = config.decay_steps or max(1, steps - warmup_steps)
    if not warmup_steps:
        return keras.optimizers.schedules.CosineDecay(peak, decay_steps, alpha=floor)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps, alpha=floor, warmup_target=peak, warmup_steps=warmup_steps
    )


def build_optimizer(config: OptimizerConfig, steps: int, steps_per_epoch: int, batch_size: int) -> Any:
    """The optimizer that ``config`` names; weight decay is for kernels only, not for biases and norms.

    AdamW and SGD decay weights apart from the gradient (arXiv 1711.05101), LARS through it, as in its paper. Keras
    does not save which variables an AdamW or SGD leaves out: to go on with a saved state, load its variables into an
    optimizer of this function rather than making one from a saved configuration.

    Args:
        config: which optimizer, its momentum and decay, its learning rate.
        steps: of the whole run.
        steps_per_epoch: of the same.
        batch_size: images (not views) in a step.

    Returns:
        A ``keras.optimizers.Optimizer``, not yet built.

    Raises:
        InvalidInput: there is no optimizer of that name.
    """
    rate = learning_rate_schedule(config, steps, steps_per_epoch, batch_size)
    decay, momentum = float(config.weight_decay), float(config.momentum)
    if config.name == "lars":
        return LARS(rate, momentum=momentum, weight_decay=decay, trust_coefficient=config.trust_coefficient)
    if config.name == "adamw":
        optimizer = FusedAdamW(rate, weight_decay=decay)
    elif config.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=momentum, weight_decay=decay or None)
    else:
        raise InvalidInput(f"optimizer.name={config.name}: valid is adamw, sgd, lars")
    optimizer.exclude_from_weight_decay(var_names=[NOT_KERNELS])
    return optimizer


def _scaled_rate(config: OptimizerConfig, batch_size: int) -> float:
    ratio = batch_size / REFERENCE_BATCH
    factor = {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[config.scaling]
    return float(config.learning_rate * factor)
