"""One cell, or with -m a grid of cells: ``python run.py head=two_relu probe.layer=-4``; ``--help`` tells the rest."""

import sys

import hydra
from omegaconf import DictConfig

from simclr.command import shell


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def cell(config: DictConfig) -> None:
    """Pretrain, probe, record."""
    shell.run_cell(config)


if __name__ == "__main__":
    sys.exit(shell.main(cell))
