"""Hydra's knowledge of the schema: imported where a configuration is composed or made sense of, and for that alone.

Whoever only reads records needs the schema and not Hydra, which takes longer to import than a grid's records to read.
"""

from hydra.core.config_store import ConfigStore

from simclr.config.schema import Config

ConfigStore.instance().store(name="schema", node=Config)
# The sweeper of grids. Registered here and not by the plugin, which Hydra finds beside run.py only: a notebook that
# composes a configuration needs its name as well.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="simclr",
    node={
        "_target_": "hydra_plugins.simclr_sweeper.SimclrSweeper",
        "params": None,
        "dry_run": False,
        "file": None,
        "run_cap": None,
    },
)
