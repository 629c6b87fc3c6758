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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from simclr import experiment
from simclr.command.outcome import shown_as_can_be
from simclr.config import home
from simclr.config.cell import ImpossibleCell, say_what_is_idle
from simclr.config.compose import NOT_COMPOSED, without_hydra
from simclr.config.explain import explain
from simclr.config.validation import resolve
from simclr.foundation.errors import InvalidInput, RunFailed, one_line
from simclr.foundation.interruption import TERMINATED, exit_when_asked, stop_when_orphaned
from simclr.tracking import agent

if TYPE_CHECKING:
    from simclr.data import Catalogue

FINISHED, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130

GO_ON = "what was finished is kept, and the same command goes on from there"

log = logging.getLogger(__name__)


@shown_as_can_be()
def main(task: Callable[[], Any]) -> int:
    """Run a function decorated with ``hydra.main``: whatever comes out of it is an exit code and at most one line."""
    # Hydra prints errors its own way, in several lines and with code 1, unless it is told to let them through.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # A log file on a full disk is no reason for a traceback; what matters fails by itself.
    logging.raiseExceptions = False
    exit_when_asked()
    if agent.sweep(os.environ) is not None:
        # Nobody could end a cell whose agent was killed, and the sweep hands it out again.
        stop_when_orphaned()
    # A start makes a million objects that stay; to look through all of them every few hundred is a tenth of its time.
    gc.set_threshold(100_000)
    arguments = sys.argv[1:]
    code = FINISHED
    try:
        if not __debug__:
            raise InvalidInput("python -O: Hydra's grammar needs what it leaves out; valid is python without -O")
        arguments = home.quoted(agent.overrides(arguments, os.environ))
        _say_what_is_typed_twice(arguments)
        sys.argv[1:] = arguments = _with_dry_run(_with_recorded_cell(arguments))
        task()
    except InvalidInput as error:
        code = _complain(error, INVALID)
    except yaml.YAMLError as error:
        code = _complain(_of_yaml(error), INVALID)
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
        from simclr.grid.job import run_job

        run_job(Path(config.grid))
        return
    try:
        record = experiment.run(config, listed=CheckBeforeStart.listed)
    except (InvalidInput, RunFailed) as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        _exit_with(error)
    if record["path"] is None:  # another process's to record and to show
        return
    from simclr.records.summary import print_summary

    _show(lambda: print_summary(record))
    _show(lambda: print(f"result {record['path']}", flush=True))


def _show(what: Callable[[], None]) -> None:
    """Print what was recorded: where it cannot be shown, nothing of the work is lost, and that is no failure of it."""
    try:
        what()
    except Exception as error:
        log.warning("the result cannot be shown: %s", one_line(error))


class CheckBeforeStart(Callback):  # type: ignore[misc]
    """Hydra's callback that refuses a cell that cannot run before Hydra has written anything for it."""

    listed: ClassVar[tuple[Catalogue, Catalogue] | None] = None
    """The images as they were then: a million files are not listed again for the run. Hydra makes the object."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Validate the composed configuration; what is wrong with it ends the process with code 2."""
        try:
            typed = resolve(without_hydra(config))
            say_what_is_idle([(typed, config.hydra.overrides.task)])
            try:
                CheckBeforeStart.listed = experiment.check(typed)
            except ImpossibleCell:
                if typed.on_invalid == "error":
                    raise
        except (InvalidInput, RunFailed) as error:
            _exit_with(error)


EXTRAS = {"joblib": "local", "submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray"}


def _of_yaml(error: yaml.YAMLError) -> str:
    """Where a file of ``conf/`` or of ``--config-dir`` is no YAML."""
    mark = getattr(error, "problem_mark", None)
    place = f"{mark.name}:{mark.line + 1}: " if mark is not None else ""
    return f"{place}it cannot be read as YAML: {getattr(error, 'problem', None) or one_line(error)}"


def _not_installed(error: Exception) -> InvalidInput | None:
    """What to install, where a launcher is not there."""
    found = re.search(r"hydra/launcher/(\w+)", str(error))
    if found is None or found[1] not in EXTRAS:
        return None
    return InvalidInput(f"launch: the launcher {found[1]} is not installed: pip install 'simclr[{EXTRAS[found[1]]}]'")


KINDS = {"results": "result.json", "pretrained": "manifest.json"}
"""Folders below a root whose own folders have the configuration that they were made from, and the file by which to
know one that is finished."""


def _with_recorded_cell(arguments: list[str]) -> list[str]:
    """Let ``--config-dir`` name the folder of a cell's record, or of a pretraining: its configuration is then the base.

    A group chosen on the command line replaces what the record has for it, and the record's own place is the root.

    Raises:
        InvalidInput: the folder is neither, nor one of configuration groups.
    """
    for position, argument in enumerate(arguments):
        if argument.startswith("--config-dir=") or (argument in ("--config-dir", "-cd") and arguments[position + 1 :]):
            given = Path(argument.partition("=")[2] or arguments[position + 1])
            if not _is_record(given):
                return arguments
            try:
                recorded = OmegaConf.to_container(OmegaConf.load(given / "config.yaml"))
            except (yaml.YAMLError, OSError, ValueError) as error:
                raise InvalidInput(f"--config-dir={given}: config.yaml cannot be read: {one_line(error)}") from error
            if not isinstance(recorded, dict):
                raise InvalidInput(f"--config-dir={given}: config.yaml is no configuration of a cell")
            if given.absolute().parent.name in KINDS:
                recorded["root"] = str((given if len(given.parents) > 1 else given.absolute()).parents[1])
            for key in {text.partition("=")[0] for text in arguments}:
                if isinstance(recorded.get(key), dict):
                    del recorded[key]
            ConfigStore.instance().store(group="recorded", name="cell", package="_global_", node=recorded)
            rest = position + (1 if "=" in argument else 2)
            return arguments[:position] + arguments[rest:]
    return arguments


def _is_record(folder: Path) -> bool:
    """Whether a folder is a cell's record or a pretraining's; False for a folder of configuration groups.

    Raises:
        InvalidInput: it is none of these.
    """
    needed = KINDS.get(folder.absolute().parent.name, "result.json")
    if (folder / "config.yaml").is_file() and (folder / needed).is_file():
        return True
    if not folder.is_dir():
        raise InvalidInput(f"--config-dir={folder}: there is no such folder")
    if below := next((path.parent for path in sorted(folder.glob("*/result.json"))), None):
        raise InvalidInput(f"--config-dir={folder}: its folders are the records; valid is one of them, say {below}")
    if (folder / "config.yaml").is_file():
        raise InvalidInput(f"--config-dir={folder}: it has a config.yaml and no {needed}; valid is a cell's record")
    if not any(folder.glob("*/*.yaml")):
        raise InvalidInput(f"--config-dir={folder}: it has no config.yaml with {needed}, and no configuration group")
    return False


def _with_dry_run(arguments: list[str]) -> list[str]:
    """Let ``--dry-run`` be taken, which Hydra's own command line does not know; a single run is then a grid of one."""
    if "--dry-run" not in arguments:
        return arguments
    rest = ["hydra.sweeper.dry_run=true" if argument == "--dry-run" else argument for argument in arguments]
    return rest if {"-m", "--multirun"} & set(rest) else ["-m", *rest]


def _say_what_is_typed_twice(arguments: list[str]) -> None:
    """A shell makes ``seed=0 seed=1`` of ``seed={0,1}``, and of the two the last one counts."""
    keys = Counter(argument.partition("=")[0] for argument in arguments if re.match(r"[\w./@]+=", argument))
    for key, count in keys.items():
        if count > 1:
            values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
            print(
                f"{key} is typed {count} times, and {key}={values[-1]} counts; a grid of them: "
                f"-m {key}={','.join(values)}",
                file=sys.stderr,
            )


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
