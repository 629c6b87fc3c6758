"""``python -m simclr.data``: what a set of images holds, and what in it looks like a mistake; trains nothing."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.table import Table

from simclr.command.outcome import exit_code

NAMED = 20
"""Files, at most, that are named of a kind."""


def main(arguments: list[str] | None = None) -> int:
    """Look at the configured images and say what was found.

    The exit code is 0 well, 1 files that cannot be used or a sheet that cannot be written, 2 bad input.
    """
    parser = argparse.ArgumentParser("python -m simclr.data", description=__doc__.split("``: ")[1])
    parser.add_argument("overrides", nargs="*", help="as for run.py: data=folder data.root=~/flowers ...")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _look(options.overrides))


def _look(overrides: list[str]) -> int:
    from simclr.config.compose import compose
    from simclr.data import catalogue, reference
    from simclr.data.account import asked, inspect, passed_over, sheet, unasked
    from simclr.data.content import digest
    from simclr.experiment.checks import cache_folder
    from simclr.foundation.files import as_file_name

    config = compose(overrides)
    cache = cache_folder(config)
    found = catalogue(config.data, cache)
    part = asked(found)
    table = Table("class", "train", part, box=None, padding=(0, 2, 0, 0))
    for name, trained, tested in zip(found.classes, found.train_counts, found.test_counts, strict=True):
        table.add_row(name, f"{trained:,}", f"{tested:,}")
    if found.classes:
        table.add_row("", f"{len(found.train):,}", f"{len(found.test):,}")
    print(f"{config.data.name}: {found.root or reference(config.data)}")
    if found.classes:
        Console(soft_wrap=True, highlight=False, markup=False).print(table)
    if found.unlabeled:
        print(f"unlabeled: {len(found.unlabeled):,} images")
    for line in unasked(found):
        print(line)
    if found.ignored:
        print(f"passed over, as they are no images: {passed_over(found)}")
    if found.root is None:
        print("not on this machine yet" if found.needs_download else "part of a package")
        return 0
    content = digest(found, cache)
    print(f"content {content}")
    seen = inspect(found, cache, config.data.most_pixels, lambda line: print(line, file=sys.stderr))
    if len(seen.sizes):
        width, height = (sorted(side) for side in seen.sizes.T.tolist())
        middle = len(width) // 2
        print(
            f"sizes: width {width[0]} to {width[-1]}, half of them up to {width[middle]}; "
            f"height {height[0]} to {height[-1]}, half of them up to {height[middle]}"
        )
    print("kinds: " + ", ".join(f"{count:,} {kind}" for kind, count in seen.kinds.most_common()))
    print(f"the same file twice: {len(seen.twice):,}, of several classes or parts: {seen.across:,}")
    for same in seen.twice[:NAMED]:
        print(f"  {' = '.join(same)}")
    print(f"cannot be used: {len(seen.damaged):,}")
    for line in seen.damaged[:NAMED]:
        print(f"  {line}")
    place = cache / f"{as_file_name(found.name)}-{content[:12]}.png"
    place.parent.mkdir(parents=True, exist_ok=True)
    sheet(found, config.data.most_pixels).save(place)
    print(f"pictures {place}")
    return 1 if seen.damaged else 0
