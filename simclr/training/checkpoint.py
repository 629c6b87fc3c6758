"""A pretraining in the middle: everything that going on from there to the bit takes."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr.foundation.files import Damaged, whole_file

Arrays = list[NDArray[Any]]

FACTS, PARTS = ("step", "history", "seconds", "compiling"), ("network", "optimizer", "means")
"""What a checkpoint's file has as JSON, and what as arrays."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after a number of steps.

    There is no random state among it: every draw of a run is a function of the seed and the step's number, and so is
    the place in the learning rate's schedule.

    Attributes:
        step: steps done since the beginning of the run.
        network: its variables, in Keras's order.
        optimizer: its variables, in Keras's order: moments, the loss scale where there is one, the count of steps.
        means: the running means of the epoch that is under way.
        history: the finished epochs.
        seconds: spent on them, in all attempts.
        compiling: seconds of these that were spent on compiling, not on steps.
    """

    step: int
    network: Arrays
    optimizer: Arrays
    means: Arrays
    history: list[dict[str, float]]
    seconds: float
    compiling: float = 0.0

    def save(self, path: Path) -> None:
        """Replace the file at ``path`` in one step.

        Raises:
            OSError: it cannot be written; the one before stays.
        """
        arrays = {f"{part}/{number:05}": each for part in PARTS for number, each in enumerate(getattr(self, part))}
        facts = json.dumps({**{name: getattr(self, name) for name in FACTS}, "arrays": list(arrays)})
        with whole_file(path) as file:
            np.savez(file, facts=np.frombuffer(facts.encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """The checkpoint at ``path``, None where there is none.

        Raises:
            Damaged: it cannot be read, or not all of it (each array has a checksum in the file).
        """
        try:
            with zipfile.ZipFile(path) as archive:
                # NumPy reads no further than an array's header says, and so not always to where its checksum is.
                if archive.testzip() is not None:
                    raise Damaged(f"{path.name} has changed since it was written")
            with np.load(path, allow_pickle=False) as arrays:
                parts: dict[str, Any] = {part: [] for part in PARTS}
                facts = json.loads(arrays["facts"].tobytes())
                if sorted(arrays.files) != sorted(["facts", *facts["arrays"]]):
                    raise Damaged(f"{path.name} does not hold all of its arrays")
                for name in facts["arrays"]:
                    parts[name.partition("/")[0]].append(arrays[name])
            return cls(**{name: facts[name] for name in FACTS if name in facts}, **parts)
        except FileNotFoundError:
            return None
        except Damaged:
            raise
        except Exception as error:  # a zip file with a bit changed raises almost anything
            raise Damaged(f"{path.name} cannot be read") from error
