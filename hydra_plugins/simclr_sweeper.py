"""Hydra's way into :mod:`simclr.grid`: the sweeper of ``python run.py -m``, with the basic sweeper's syntax."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from simclr.config.explain import several
from simclr.foundation.errors import InvalidInput


class SimclrSweeper(BasicSweeper):  # type: ignore[misc]
    """Plans the grid that the overrides span, and runs it on the chosen launcher."""

    def __init__(self, params: dict[str, str] | None, dry_run: bool, file: str | None, run_cap: int | None) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.dry_run, self.file = dry_run, file
        self.run_cap = [] if run_cap is None else [f"run_cap={run_cap}"]

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid that the arguments span, or the sweep file with the arguments as its overrides."""
        from simclr.grid.launcher import Launcher
        from simclr.grid.launching import sweep_file, sweep_points

        launcher = Launcher(self.launcher, self.config, self.hydra_context.config_loader)
        arguments = [*self._parse_config(), *arguments]
        if self.file is not None:
            return sweep_file(self.file, [*arguments, *self.run_cap], launcher, dry_run=self.dry_run)
        overrides = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(arguments)
        for each in overrides:
            if each.is_sweep_override() and not each.is_discrete_sweep():
                raise InvalidInput(f"{each.input_line}: an interval has no end; valid is several values, or range()")
            if each.is_discrete_sweep():
                several(each, self.hydra_context.config_loader.get_group_options(each.key_or_group))
        (points,) = self.split_arguments(overrides, None)
        ranges = {each.get_key_element() for each in overrides if each.is_range_sweep()}
        points = [[_as_meant(text) if text.partition("=")[0] in ranges else text for text in point] for point in points]
        return sweep_points(points, launcher, dry_run=self.dry_run)


def _as_meant(text: str) -> str:
    """A number of a range without the rounding errors of its steps: 0.30000000000000004 is another cell than 0.3."""
    key, _, value = text.partition("=")
    try:
        return f"{key}={float(value):.12g}" if "." in value or "e" in value else text
    except ValueError:
        return text
