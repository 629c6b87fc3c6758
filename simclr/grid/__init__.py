"""Grids: planned in :mod:`simclr.plan`, run here on any of Hydra's launchers, watched from files."""
