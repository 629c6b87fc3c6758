"""``python -m simclr.store``: what pretrained networks there are, which one a configuration means, taking one along."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from simclr.command.outcome import exit_code
from simclr.foundation.errors import suggestion


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0 well, 1 damaged or failed, 2 bad input."""
    return exit_code(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(given: list[str]) -> int:
    parser, verbs = _parser()
    if given and not given[0].startswith("-") and given[0] not in verbs:
        parser.print_help(sys.stderr)
        print(f"error: {given[0]}: there is no such command.{suggestion(given[0], verbs)}", file=sys.stderr)
        return 2
    options = parser.parse_args(given or ["--help"])
    return int(options.run(options))


def _parser() -> tuple[argparse.ArgumentParser, Iterable[str]]:
    """The parser, and the names of the subcommands."""
    parser = argparse.ArgumentParser("python -m simclr.store", description="The pretrained networks below a root.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, summary: str, *, rooted: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        if rooted:
            added.add_argument(
                "--root", default="runs", type=os.path.expanduser, help="as given to the runs (%(default)s)"
            )
        return added

    command("list", _list, "what is there: key, what it is, size, that of its features, age, which results use it")
    explaining = command(
        "explain", _explain, "which pretraining a configuration means, whether it is there, and why not", rooted=False
    )
    explaining.add_argument("overrides", nargs="*", help="as for run.py: head=two_relu pretrain.epochs=100 ...")
    command("verify", _verify, "compare every file with its checksum; exit code 1 if one is damaged")
    exporting = command("export", _export, "write a network for use elsewhere: .keras, SavedModel, model card")
    exporting.add_argument("key", metavar="KEY", help="of the pretraining, or its first digits")
    exporting.add_argument("directory", metavar="DIR", type=_path, help="a new folder")
    exporting.add_argument("--layer", default="encoder", help="the last layer that is kept (%(default)s)")
    exporting.add_argument("--onnx", action="store_true", help="an ONNX file too (pip install 'simclr[onnx]')")
    embedding = command("embed", _embed, "write what a network makes of every image below a folder, a row each")
    embedding.add_argument("key", metavar="KEY", help="of the pretraining, or its first digits")
    embedding.add_argument("folder", metavar="FOLDER", type=_path, help="images at any depth")
    embedding.add_argument("--out", metavar="FILE", type=_path, required=True, help="a new .parquet or .npz file")
    embedding.add_argument("--layer", default="encoder", help="which representation (%(default)s)")
    pruning = command("prune", _prune, "what no result uses; nothing is deleted without --yes")
    pruning.add_argument("--unfinished", action="store_true", help="also what is left of interrupted pretrainings")
    pruning.add_argument("--features", action="store_true", help="also what networks make of images: it is made again")
    pruning.add_argument("--yes", action="store_true", help="delete it")
    return parser, commands.choices


def _list(options: argparse.Namespace) -> int:
    from simclr.store.inventory import inventory, leftovers

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("key", "what", "state", "size", "features", "age", "used by"):
        table.add_column(name, no_wrap=name == "key", overflow="fold")
    for item in inventory(options.root):
        users = "\n".join(item.results) or "no result"
        sizes = _bytes(item.size), _bytes(item.features)
        table.add_row(item.key, item.what, item.stage.value, *sizes, _age(item.changed), users)
    if table.rows:
        Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False).print(table)
    else:
        print(f"no pretraining below {options.root}; python run.py makes one")
    if left := list(leftovers(options.root)):
        size = _bytes(sum(each.size for each in left))
        print(f"{len(left)} set aside or left half-written, {size}: see prune")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from simclr.config.compose import compose
    from simclr.store.explain import explain

    print(*explain(compose(options.overrides)), sep="\n")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from simclr.store.inventory import verify

    checked, damaged = 0, 0
    for path, damage in verify(options.root):
        checked += 1
        if damage is not None:
            damaged += 1
            print(f"{path}: {damage}")
    print(f"{checked} folders checked, {damaged} damaged")
    return 1 if damaged else 0


def _export(options: argparse.Namespace) -> int:
    from simclr.store import named
    from simclr.store.export import export
    from simclr.training.runtime import start_tensorflow

    pretraining = named(options.root, options.key)
    start_tensorflow(None)
    export(pretraining, options.root, options.directory, options.layer, onnx=options.onnx)
    print(f"wrote {options.directory}")
    return 0


def _embed(options: argparse.Namespace) -> int:
    from simclr.data.decoding import named as named_files
    from simclr.evaluation.embedding import check, embed
    from simclr.store import named
    from simclr.training.runtime import start_tensorflow

    pretraining = named(options.root, options.key)
    check(options.out)
    start_tensorflow(None)
    count, failures = embed(
        pretraining, options.folder, options.out, options.layer, lambda line: print(line, file=sys.stderr)
    )
    if failures:
        print(f"left out: {named_files(failures)}", file=sys.stderr)
    print(f"wrote {options.out}: {count:,} rows")
    return 1 if failures else 0


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _prune(options: argparse.Namespace) -> int:
    from simclr.store.inventory import prunable, remove

    total = 0
    for each in list(prunable(options.root, unfinished=options.unfinished, features=options.features)):
        if options.yes and not remove(each.path):
            print(f"kept {each.path}: somebody is at it now")
            continue
        total += each.size
        done = "deleted" if options.yes else "would delete"
        print(f"{done} {each.path}: {each.reason}, {_bytes(each.size)}")
    print(f"{_bytes(total)} {'freed' if options.yes else 'could be freed; with --yes it is deleted'}")
    return 0


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"
