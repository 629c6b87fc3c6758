"""The W&B client: how it is started and ended, and what it is told to do and not to do."""

from __future__ import annotations

import logging
import math
import netrc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from simclr.foundation.errors import one_line
from simclr.tracking.patience import Patience

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

CLIENT = ("wandb", "gpu_stats")
"""How the names of its processes begin."""


def reason(error: BaseException) -> str:
    """An error as part of a line."""
    return one_line(error)[:200]


def set_up(folder: Path) -> None:
    """Start the client's process: its caches lie in a folder of ours, and it reports to nobody else.

    At exit the client says goodbye to it; where it has gone before, which costs nothing by then, its traceback is for
    the debug log.
    """
    import wandb

    for name, value in (("DATA_DIR", folder / "data"), ("CACHE_DIR", folder / "cache"), ("ERROR_REPORTING", "false")):
        os.environ.setdefault(f"WANDB_{name}", str(value))
    sys.unraisablehook = _unraisable
    threading.excepthook = _of_a_thread
    with _standard_output_elsewhere():
        wandb.setup(wandb.Settings(silent=True, quiet=True))


@contextmanager
def _standard_output_elsewhere() -> Iterator[None]:
    """What is started meanwhile does not hold our output open: whoever reads it to its end would wait for that too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, before in kept.items():
            os.dup2(before, number)
            os.close(before)
        os.close(nowhere)


def let_go(patience: Patience) -> None:
    """End the client's own processes that this one has started, without asking: they answer nobody any more.

    The next run starts another one. They stay where somebody else's run is among theirs.
    """
    import wandb

    if wandb.run is None:
        for pid in _processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            patience.wait(patience.left / 2, lambda: wandb.teardown(exit_code=1))
        except Exception as error:  # of a goodbye to nobody
            log.debug("W&B: %s", reason(error))


def _processes() -> list[int]:
    """Those of the client below this process that have not ended, the parents first."""
    parents: dict[int, tuple[int, str, str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            pid, _, rest = path.read_text(errors="replace").partition(" (")
            name, _, fields = rest.rpartition(") ")
            state, parent = fields.split()[:2]
            parents[int(pid)] = int(parent), name, state
    found, above = list[int](), [os.getpid()]
    while above:
        above = [pid for pid, (parent, name, _) in parents.items() if parent in above and name.startswith(CLIENT)]
        found += [pid for pid in above if parents[pid][2] != "Z"]
    return found


def _unraisable(given: sys.UnraisableHookArgs) -> None:
    """What an error that nobody can catch is worth: one of the client's own callbacks no more than a line."""
    if str(getattr(given.object, "__module__", "")).startswith("wandb."):
        log.debug("W&B: %s", reason(given.exc_value) if isinstance(given.exc_value, Exception) else given.exc_type)
    else:
        sys.__unraisablehook__(given)


def _of_a_thread(given: threading.ExceptHookArgs) -> None:
    """The same of its threads, which may find its process gone."""
    if given.thread is not None and given.thread.name.startswith("wandb"):
        log.debug("W&B: %s", reason(given.exc_value) if given.exc_value else given.exc_type)
    else:
        threading.__excepthook__(given)


def resolve_mode(wanted: str) -> str:
    """``auto`` is what WANDB_MODE says, else online where a key is configured; without a key nothing is online."""
    import wandb

    given = os.environ.get("WANDB_MODE", "") if wanted == "auto" else wanted
    if given in ("offline", "dryrun"):
        return "offline"
    known = wandb.setup().settings
    if known.api_key or known.identity_token_file or _key_in_netrc(known.base_url):
        return "online"
    if given == "online":
        log.warning("W&B: no key is configured (`wandb login`), so the run is kept offline")
    return "offline"


def _key_in_netrc(url: str) -> bool:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(path).authenticators(urlsplit(url).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def run_settings(patience: Patience, stop: Callable[[], None]) -> wandb.Settings:
    """A run that is silent, waits no longer than patience lasts, and takes nothing along that it was not given."""
    import wandb

    return wandb.Settings(
        silent=True,
        quiet=True,
        console="off",
        init_timeout=max(1.0, patience.left),
        finish_timeout=patience.sending,
        finish_timeout_raises=True,
        stop_fn=stop,
        disable_code=True,
        # A remote's address may have a token in it, of which the client leaves out no more than the password.
        disable_git=True,
        # It writes down every SLURM_ variable of the environment, Slurm's token among them.
        x_disable_meta=any(name.startswith("SLURM") for name in os.environ),
    )


def api(patience: Patience) -> wandb.Api:
    """What asks the server about other things than the run itself."""
    import wandb

    return wandb.Api(timeout=max(1, math.ceil(patience.spare)))


def bytes_sent(run: wandb.Run) -> int:
    """How much of the run's files the server has taken."""
    try:
        # The client shows this to people, and tells it in no other way.
        answer = run._interface.deliver_poll_exit().wait_or(timeout=1)  # type: ignore[union-attr]
        return int(answer.response.poll_exit_response.pusher_stats.uploaded_bytes)
    except Exception as error:
        log.debug("W&B: %s", reason(error))
        return 0


def arrived(path: str, patience: Patience) -> None:
    """See that the server has the run's end.

    The client itself says nothing where the server refuses what it sends, as with a full quota or a withdrawn key.

    Raises:
        ConnectionError: it has not.
    """
    until = time.monotonic() + patience.spare / 3
    while (state := api(patience).run(path).state) == "running":
        if time.monotonic() > until:
            raise ConnectionError(f"the server has the run as {state}, so it did not take all of it")
        time.sleep(0.5)


def stopped(sweep: str, run: str, patience: Patience) -> bool:
    """Whether someone stopped a run on its page, or cancelled its sweep."""
    entity, project, name = sweep.split("/")
    question = """
    query Stopped($entity: String!, $project: String!, $sweep: String!, $run: String!) {
        project(name: $project, entityName: $entity) { run(name: $run) { stopped } sweep(sweepName: $sweep) { state } }
    }
    """
    variables = {"entity": entity, "project": project, "sweep": name, "run": run}
    # The client's own objects for runs do not say it, and its own question is asked every 15 seconds.
    answer: dict[str, Any] = api(patience)._service_api.execute_graphql(question, variables)["project"]
    return bool(answer["run"]["stopped"]) or answer["sweep"]["state"] in ("CANCELED", "CANCELLED")
