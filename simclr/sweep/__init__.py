"""W&B sweep files without a server: read, searched with Optuna, run as grids."""
