"""The schema's section of the views: what makes two of an image, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from simclr.config.setting import Decides, OneOf, Range, options, setting

WEIGHTS = Decides.WEIGHTS
PROBABILITY = Range(0, 1)


def _jitters(augment: AugmentConfig) -> bool:
    return augment.jitter > 0


def _multi_crop(augment: AugmentConfig) -> bool:
    return augment.local_views > 0


def _crops(augment: AugmentConfig) -> bool:
    return augment.crop_area[0] < 1 or _multi_crop(augment)


@dataclass
class AugmentConfig:
    """What makes two views of an image: geometry first, then colour, blur and noise."""

    name: str = setting(MISSING, WEIGHTS, options("augment"))
    """Which kind of views; `augment=NAME` brings its strengths too."""
    crop_area: list[float] = setting([1.0, 1.0], WEIGHTS, Range(0, 1, above=True), "share of the image")
    """The smallest and the largest part of the image that a crop shows; `[1, 1]`: no crop."""
    crop_aspect: list[float] = setting([0.75, 4 / 3], WEIGHTS, Range(0.1, 10), "width / height", _crops)
    """The narrowest and the widest crop."""
    crop_fit: str = setting(
        "clipped",
        WEIGHTS,
        OneOf(("clipped", "redrawn")),
        counts=lambda augment: _crops(augment) and augment.crop_fit != "clipped",
    )
    """What becomes of a crop that does not fit: cut off, or drawn again, as RandomResizedCrop does (ten attempts)."""
    flip: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often a view is a mirror image."""
    jitter: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often brightness, contrast, saturation and hue change, by the next four."""
    brightness: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - b to 1 + b", _jitters)
    """How much brighter or darker, b."""
    contrast: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - c to 1 + c", _jitters)
    """How much more or less contrast, c."""
    saturation: float = setting(0.0, WEIGHTS, Range(0, 1), "factor 1 - s to 1 + s", _jitters)
    """How much more or less colour, s."""
    hue: float = setting(0.0, WEIGHTS, Range(0, 0.5), "turns, from -h to h", _jitters)
    """How far colours turn, h."""
    grey: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often colours are taken away."""
    blur: float = setting(0.0, WEIGHTS, PROBABILITY, "probability")
    """How often a view is blurred."""
    blur_sigma: list[float] = setting(
        [0.0004, 0.009], WEIGHTS, Range(0, 0.2), "share of the side", lambda augment: augment.blur > 0
    )
    """The weakest and the strongest blur."""
    blur_draw: str = setting(
        "log_uniform",
        WEIGHTS,
        OneOf(("log_uniform", "uniform")),
        counts=lambda augment: augment.blur > 0 and augment.blur_draw != "log_uniform",
    )
    """How strengths are drawn from between them: evenly, as the paper's code does, or their logarithms evenly."""
    rotation: float = setting(0.0, WEIGHTS, Range(0, 180, "degrees"), "degrees, from -r to r")
    """The largest angle, r."""
    scale: float = setting(0.0, WEIGHTS, Range(0, 2), "exp(-s) to exp(s), each axis by itself")
    """How far a view is stretched, s."""
    shear: float = setting(0.0, WEIGHTS, Range(0, 2), "from -s to s")
    """How far it is slanted, s."""
    shift: float = setting(0.0, WEIGHTS, Range(0, 1), "share of the side, from -s to s")
    """How far it is moved along each axis, s."""
    noise: float = setting(0.0, WEIGHTS, Range(0, 1), "standard deviation")
    """Random numbers added to each pixel, whose values go from 0 to 1."""
    local_views: int = setting(0, WEIGHTS, Range(0, 16, "views"), counts=_multi_crop)
    """Further views of small parts of each image, of half the side (multi-crop, arXiv 2006.09882)."""
    local_area: list[float] = setting([0.05, 0.35], WEIGHTS, Range(0, 1, above=True), "share of the image", _multi_crop)
    """The smallest and the largest such part."""
