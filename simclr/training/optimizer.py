"""The optimizers, ours and Keras's, and the way the learning rate goes over a run."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from simclr.config import OptimizerConfig
from simclr.foundation.errors import InvalidInput

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
    ratio = batch_size / REFERENCE_BATCH
    factor = {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[config.scaling]
    peak = float(config.learning_rate * factor)
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

    The arguments are those of :func:`learning_rate_schedule`; ``config`` says besides which optimizer it is.

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


@keras.saving.register_keras_serializable(package="simclr")
class FusedAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """``keras.optimizers.AdamW`` (arXiv 1711.05101) through TensorFlow's fused kernel.

    The same arguments, state and result; for a small network on a CPU the dozen small operations per variable cost up
    to a tenth of a training step. What the kernel does not do (AMSGrad, sparse gradients) is left to Keras.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of Adam on a variable; the decoupled weight decay has been applied before."""
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        steps = tf.cast(self.iterations + 1, dtype)
        first, second = (tf.cast(beta, dtype) for beta in (self.beta_1, self.beta_2))
        position = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[position]),
            v=_handle(self._velocities[position]),
            beta1_power=first**steps,
            beta2_power=second**steps,
            lr=tf.cast(learning_rate, dtype),
            beta1=first,
            beta2=second,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


def _handle(variable: Any) -> Any:
    """The resource behind a variable: Keras hands over its own as well as TensorFlow's."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


@keras.saving.register_keras_serializable(package="simclr")
class LARS(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv 1708.03888) as SimCLR uses it (arXiv 2002.05709).

    For a kernel w with gradient g, and velocity v::

        g <- g + weight_decay w
        v <- momentum v + learning_rate (trust_coefficient |w| / |g|) g
        w <- w - v

    The trust ratio in brackets is 1 where either norm is 0. Variables of rank 0 and 1, that is biases and the scales
    and shifts of norms, take part in neither decay nor adaptation.

    ``trust_coefficient`` is the paper's eta. Weight decay is added to the gradient, unlike that of Keras's own
    optimizers, which is decoupled from it.
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        # The base class would decay the weights by itself, decoupled and unscaled, if it knew of the decay.
        super().__init__(learning_rate=learning_rate, name=name, weight_decay=None, **kwargs)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient

    def build(self, variables: list[Any]) -> None:
        """Create the velocity of each variable."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self.momentums[self._get_variable_index(variable)]
        if len(variable.shape) > 1:
            gradient = gradient + self.coupled_weight_decay * variable
            rate = rate * self._trust_ratio(variable, gradient)
        self.assign(velocity, self.momentum * velocity + rate * gradient)
        self.assign_sub(variable, velocity)

    def _trust_ratio(self, variable: Any, gradient: Any) -> Any:
        weight_norm = ops.sqrt(ops.sum(ops.square(variable)))
        gradient_norm = ops.sqrt(ops.sum(ops.square(gradient)))
        defined = ops.logical_and(weight_norm > 0, gradient_norm > 0)
        divisor = ops.where(defined, gradient_norm, ops.ones_like(gradient_norm))
        return ops.where(defined, self.trust_coefficient * weight_norm / divisor, ops.ones_like(weight_norm))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, without its state."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "trust_coefficient": self.trust_coefficient,
        }
