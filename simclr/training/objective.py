"""The loss that a configuration means, for whoever trains or watches with it and need not know which one that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from simclr.config import LossConfig
from simclr.foundation.errors import InvalidInput
from simclr.training.loss import decoupled_local_loss, decoupled_loss_of, local_loss, loss_of, similarities

LOSSES = ("nt_xent", "dcl")


def chance(loss: LossConfig, batch_size: int) -> float:
    """The loss where all embeddings are the same: the logarithm of the number of views that an anchor is told from.

    Local views are told from as many, and DCLW's weights are then all 1.

    Args:
        loss: which one.
        batch_size: N, images (not views) in a batch, over all devices.

    >>> [round(chance(LossConfig(name), batch_size=16), 3) for name in LOSSES]  # ln 31, ln 30
    [3.434, 3.401]
    """
    return math.log(max(2 * batch_size - (2 if loss.name == "dcl" else 1), 2))


@dataclass(frozen=True)
class Objective:
    """A loss with its temperature.

    Raises:
        InvalidInput: there is no loss of that name.
    """

    loss: LossConfig
    temperature: float

    def __post_init__(self) -> None:
        if self.loss.name not in LOSSES:
            raise InvalidInput(f"loss.name={self.loss.name}: valid is {', '.join(LOSSES)}")

    def of(self, embeddings: Any) -> Any:
        """The loss of embeddings (2N, D), rows i and i + N the two views of image i; a float32 scalar."""
        return self.of_similarities(similarities(embeddings))

    def of_similarities(self, similarity: Any) -> Any:
        """The same from the matrix of :func:`.loss.similarities`, (2N, 2N) float32."""
        if self.loss.name == "dcl":
            return decoupled_loss_of(similarity, self.temperature, self._sigma)
        return loss_of(similarity, self.temperature)

    def of_local_views(self, local: Any, embeddings: Any) -> Any:
        """The loss of local views (V N, D) against two whole ones (2N, D); a float32 scalar."""
        if self.loss.name == "dcl":
            return decoupled_local_loss(local, embeddings, self.temperature, self._sigma)
        return local_loss(local, embeddings, self.temperature)

    @property
    def _sigma(self) -> float | None:
        return self.loss.sigma if self.loss.weights_positives else None
