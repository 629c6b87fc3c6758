"""The contrastive loss's settings."""

from __future__ import annotations

from dataclasses import dataclass

from simclr.config.setting import Decides, Range, options, setting

WEIGHTS = Decides.WEIGHTS


def _weighted(loss: LossConfig) -> bool:
    return loss.weights_positives


@dataclass
class LossConfig:
    """What training follows; its temperature is `pretrain.temperature`."""

    # Said here as well as by the group's default: networks from before there was a choice were trained so.
    name: str = setting("nt_xent", WEIGHTS, options("loss"), counts=lambda loss: loss.name != "nt_xent")
    """Which loss: NT-Xent, or the decoupled one, which leaves the positive out of the denominator."""
    weighted: bool = setting(False, WEIGHTS, counts=_weighted)
    """With `dcl`: positives that are far apart count more than those that are close already (DCLW)."""
    sigma: float = setting(0.5, WEIGHTS, Range(0.01, 100), counts=_weighted)
    """With these weights: the lower, the more they differ."""

    @property
    def weights_positives(self) -> bool:
        """Whether it is DCLW."""
        return self.name == "dcl" and self.weighted
