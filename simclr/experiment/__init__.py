"""One cell from start to end: :func:`run` reads like the method section.

The network is found or made (:mod:`pretrained <simclr.experiment.pretrained>`), measured and recorded, while a
:class:`session <simclr.experiment.session.Session>` keeps the time and tells others how far it is. From outside one
uses what is named here. TensorFlow is imported when a network is needed.
"""

from simclr.experiment.checks import about_transfer, cache_folder, check, check_cell
from simclr.experiment.procedure import pretrain_if_unstarted, run
from simclr.experiment.recording import fail, skip

__all__ = ["about_transfer", "cache_folder", "check", "check_cell", "fail", "pretrain_if_unstarted", "run", "skip"]
