"""Where the documents' images are on this machine, for the tests and benchmarks that look at them."""

from __future__ import annotations

import os
from pathlib import Path

from simclr.data import imagenet5

REPOSITORY = Path(__file__).parents[1]


def real_images() -> Path | None:
    """The folder that holds ``imagenet-5-categories``: ``$SIMCLR_DATA``, else beside the checkout; None for nowhere."""
    given = os.environ.get("SIMCLR_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    return folder if (folder / imagenet5.FOLDER / "train").is_dir() else None
