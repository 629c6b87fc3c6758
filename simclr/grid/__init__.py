"""Grids: planned in :mod:`simclr.grid.plan`, run here on any of Hydra's launchers, watched from files.

From outside one uses :mod:`launching <simclr.grid.launching>` (a grid or a sweep file from start to end),
:mod:`job <simclr.grid.job>` (one of its jobs, in the process that does it) and :mod:`table <simclr.grid.table>` (what
it will do, and how far it is).
"""
