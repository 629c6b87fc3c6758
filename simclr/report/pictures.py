"""Every picture of a report, drawn on light and on dark ground."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from simclr.foundation.errors import one_line
from simclr.report import plot_accuracy, plot_classes, plot_representation, plot_search, plot_training
from simclr.report.palette import THEMES
from simclr.report.scene import Picture, Scene

log = logging.getLogger(__name__)

MAKERS = (
    plot_accuracy.by_layer,
    plot_accuracy.by_label_fraction,
    plot_accuracy.by_epochs,
    plot_search.search,
    plot_representation.facts,
    plot_representation.spectra,
    plot_classes.maps,
    plot_classes.confusions,
    plot_classes.mistakes,
    plot_training.curves,
)
DOTS_PER_INCH = 144


@dataclass(frozen=True)
class Drawn:
    """A picture as PNG, by theme, and its width and height in CSS pixels."""

    picture: Picture
    png: dict[str, bytes]
    size: tuple[int, int]


def draw_all(scene: Scene) -> Iterator[Drawn]:
    """Draw what this grid has something to show for, the main picture first.

    A picture that cannot be drawn is named in the log: the numbers are still worth a page.
    """
    for make in MAKERS:
        try:
            picture = make(scene)
            if picture is not None:
                yield draw(picture)
        except Exception as error:
            log.warning("the picture %s is left out: %s: %s", make.__name__, type(error).__name__, one_line(error))
            log.debug("where that was", exc_info=error)


def draw(picture: Picture) -> Drawn:
    """Draw one picture in every theme."""
    found, size = {}, (0, 0)
    for theme in THEMES:
        with mpl.rc_context(theme.settings()):
            figure = picture.draw(theme)
            figure.set_dpi(DOTS_PER_INCH)
            # savefig would lay the figure out once more before it draws it.
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
            packed = BytesIO()
            Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(packed, "png", compress_level=5)
            found[theme.name] = packed.getvalue()
            size = (round(figure.get_figwidth() * 96), round(figure.get_figheight() * 96))
    return Drawn(picture, found, size)
