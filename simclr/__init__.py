"""Experiment sweeps for SimCLR ablations: which part of a contrastive-learning setup matters."""

__version__ = "0.1.0"
