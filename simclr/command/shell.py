"""The shell around one cell: exit codes, one-line errors, the table at the end.

Exit codes: 0 finished, reused or skipped; 1 failed; 2 bad input, nothing was started; 130 Ctrl-C; 143 SIGTERM.
"""

from __future__ import annotations

import gc
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from simclr import experiment
from simclr.config import home
from simclr.config.cell import ImpossibleCell
from simclr.config.compose import NOT_COMPOSED, without_hydra
from simclr.config.explain import explain
from simclr.config.validation import resolve
from simclr.foundation.errors import InvalidInput, RunFailed, one_line
from simclr.foundation.interruption import TERMINATED, exit_when_asked
from simclr.tracking import agent

FINISHED, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130

GO_ON = "what was finished is kept, and the same command goes on from there"

log = logging.getLogger(__name__)


def main(task: Callable[[], Any]) -> int:
    """Run Hydra's entry point and turn whatever comes out of it into an exit code and at most one line.

    Args:
        task: a function decorated with ``hydra.main``.

    Returns:
        The exit code.
    """
    # Hydra prints errors its own way, in several lines and with code 1, unless it is told to let them through.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # A log file on a full disk is no reason for a traceback; what matters fails by itself.
    logging.raiseExceptions = False
    exit_when_asked()
    # A start makes a million objects that stay; to look through all of them every few hundred is a tenth of its time.
    gc.set_threshold(100_000)
    arguments = sys.argv[1:]
    code = FINISHED
    try:
        arguments = home.quoted(agent.overrides(arguments, os.environ))
        sys.argv[1:] = arguments = _with_dry_run(_with_recorded_cell(arguments))
        task()
    except InvalidInput as error:
        code = _complain(error, INVALID)
    except NOT_COMPOSED as error:
        conf = Path(inspect.getfile(inspect.unwrap(task))).parent / "conf"
        told = explain(arguments, conf) or _not_installed(error)
        if told is None and isinstance(error, ValueError):
            raise
        code = _complain(told or error, INVALID)
    except RunFailed as error:
        code = _complain(error, FAILED)
    except OSError as error:
        code = _complain(f"cannot write or read: {one_line(error)}", FAILED)
    except KeyboardInterrupt:
        code = _leave(_complain(f"interrupted; {GO_ON}", INTERRUPTED))
    except SystemExit as end:
        if end.code != TERMINATED:
            raise
        code = _leave(_complain(f"terminated; {GO_ON}", TERMINATED))
    gc.freeze()  # what is left ends with the process; to take it apart first would be half a second
    return code


def run_cell(config: DictConfig) -> None:
    """One cell as Hydra's task: run it, print the table and, last, ``result <path>`` on standard output.

    In a single run an error ends the process with its code; in a grid it is raised, so that Hydra can count it.
    """
    if config.grid is not None:
        from simclr.grid.run import run_job

        run_job(Path(config.grid))
        return
    try:
        record = experiment.run(config)
    except (InvalidInput, RunFailed) as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        _exit_with(error)
    if record["path"] is None:  # another process's to record and to show
        return
    from simclr.records.summary import print_summary

    print_summary(record)
    print(f"result {record['path']}", flush=True)


class CheckBeforeStart(Callback):  # type: ignore[misc]
    """Hydra's callback that refuses a cell that cannot run before Hydra has written anything for it."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Validate the composed configuration; what is wrong with it ends the process with code 2."""
        try:
            typed = resolve(without_hydra(config))
            try:
                experiment.check(typed)
            except ImpossibleCell:
                if typed.on_invalid == "error":
                    raise
        except (InvalidInput, RunFailed) as error:
            _exit_with(error)


EXTRAS = {"joblib": "local", "submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray"}


def _not_installed(error: Exception) -> InvalidInput | None:
    """What to install, where a launcher is not there."""
    found = re.search(r"hydra/launcher/(\w+)", str(error))
    if found is None or found[1] not in EXTRAS:
        return None
    return InvalidInput(f"launch: the launcher {found[1]} is not installed: pip install 'simclr[{EXTRAS[found[1]]}]'")


def _with_recorded_cell(arguments: list[str]) -> list[str]:
    """Let ``--config-dir`` name the folder of a cell's record: its configuration is then the base of this run.

    A group chosen on the command line replaces what the record has for it.
    """
    for position, argument in enumerate(arguments):
        if argument.startswith("--config-dir=") or (argument in ("--config-dir", "-cd") and arguments[position + 1 :]):
            given = argument.partition("=")[2] or arguments[position + 1]
            if (Path(given) / "result.json").is_file() and (Path(given) / "config.yaml").is_file():
                recorded = OmegaConf.to_container(OmegaConf.load(Path(given) / "config.yaml"))
                assert isinstance(recorded, dict)
                for key in {text.partition("=")[0] for text in arguments}:
                    if isinstance(recorded.get(key), dict):
                        del recorded[key]
                ConfigStore.instance().store(group="recorded", name="cell", package="_global_", node=recorded)
                rest = position + (1 if "=" in argument else 2)
                return arguments[:position] + arguments[rest:]
    return arguments


def _with_dry_run(arguments: list[str]) -> list[str]:
    """Let a grid take ``--dry-run``, which Hydra's own command line does not know."""
    return ["hydra.sweeper.dry_run=true" if argument == "--dry-run" else argument for argument in arguments]


def _exit_with(error: InvalidInput | RunFailed) -> NoReturn:
    code = _complain(error, INVALID if isinstance(error, InvalidInput) else FAILED)
    if isinstance(error, RunFailed) and error.path:
        print(f"result {error.path}", flush=True)
    raise SystemExit(code)


def _complain(error: Exception | str, code: int) -> int:
    line = error if isinstance(error, str) else one_line(error)
    print(f"error: {line}" if code in (FAILED, INVALID) else line, file=sys.stderr, flush=True)
    return code


def _leave(code: int) -> int:
    """End this process at once: TensorFlow's threads, stopped in the middle of work, may crash an orderly end."""
    if "tensorflow" in sys.modules:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
