"""Experiment sweeps for SimCLR ablations: which part of a contrastive-learning setup matters.

For notebooks and other programs, each imported when it is first asked for:

- :func:`run`: one cell, the same as ``run.py``, returning its record.
- :func:`answer`: what the results below a root say: who is how good, what is above what, and how sure that is.
- :func:`load_results`: every record below a root as a tidy ``pandas.DataFrame``, one row per cell.
- :func:`load_network`: a pretrained network as a ``keras.Model``, ready to be used elsewhere.
- :func:`nt_xent`: SimCLR's loss.

The rooms, from the top floor down, each importing from those below it alone: :mod:`~simclr.command`,
:mod:`~simclr.grid`, :mod:`~simclr.report`, :mod:`~simclr.experiment`, :mod:`~simclr.tracking`,
:mod:`~simclr.evaluation`, :mod:`~simclr.store`, :mod:`~simclr.training`, :mod:`~simclr.model`, :mod:`~simclr.sweep`,
:mod:`~simclr.records`, :mod:`~simclr.data`, :mod:`~simclr.config`, :mod:`~simclr.foundation`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from simclr.foundation.version import __version__

if TYPE_CHECKING:
    from simclr.experiment import run
    from simclr.records.result import load as load_results
    from simclr.report.answer import answer
    from simclr.store import load as load_network
    from simclr.training.loss import nt_xent

__all__ = ["__version__", "answer", "load_network", "load_results", "nt_xent", "run"]

_HOMES = {
    "answer": ("simclr.report.answer", "answer"),
    "load_network": ("simclr.store", "load"),
    "load_results": ("simclr.records.result", "load"),
    "nt_xent": ("simclr.training.loss", "nt_xent"),
    "run": ("simclr.experiment", "run"),
}


def __getattr__(name: str) -> Any:
    """What is asked for for the first time, from the room that it lives in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'simclr' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = globals()[name] = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
