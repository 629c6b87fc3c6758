"""LARS, the optimizer of SimCLR's large batches."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="simclr")
class LARS(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv 1708.03888) as SimCLR uses it (arXiv 2002.05709).

    For a kernel w with gradient g, and velocity v::

        g <- g + weight_decay w
        v <- momentum v + learning_rate (trust_coefficient |w| / |g|) g
        w <- w - v

    The trust ratio in brackets is 1 where either norm is 0. Variables of rank 0 and 1, that is biases and the scales
    and shifts of norms, take part in neither decay nor adaptation.

    Args:
        learning_rate: a number or a ``LearningRateSchedule``.
        momentum: from 0 to below 1.
        weight_decay: added to the gradient, unlike Keras's own optimizers' (which is decoupled from it).
        trust_coefficient: the paper's eta.
        name: of the optimizer.
        **kwargs: what every Keras optimizer takes, such as ``clipnorm``.
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
