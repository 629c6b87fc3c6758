"""Where the documents' images are on this machine, for the tests and benchmarks that look at them."""

from __future__ import annotations

import os
from pathlib import Path

from simclr.data import imagenet5

REPOSITORY = Path(__file__).parents[1]


def data_folder() -> Path:
    """Where real images may be: ``$SIMCLR_DATA``, else beside the checkout."""
    given = os.environ.get("SIMCLR_DATA")
    return Path(given) if given else REPOSITORY.parent / "shared" / "data"


def real_images() -> Path | None:
    """The folder that holds ``imagenet-5-categories``; None for nowhere."""
    folder = data_folder()
    return folder if (folder / imagenet5.FOLDER / "train").is_dir() else None
