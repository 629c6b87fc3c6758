"""W&B's sweep files and searches as data, with no server and no network.

:mod:`file <simclr.sweep.file>` reads and checks a file, :mod:`space <simclr.sweep.space>` holds what it says and gives
a grid's points, :mod:`search <simclr.sweep.search>` draws the trials of a random or Bayesian one. ``python -m
simclr.sweep`` runs a file on any of Hydra's launchers.
"""
