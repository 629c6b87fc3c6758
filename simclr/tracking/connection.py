"""One run of the client, and how to tell it something without failing for it or waiting for long."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simclr.config import TrackingConfig
from simclr.foundation.errors import one_line
from simclr.foundation.files import write_whole
from simclr.foundation.work import held
from simclr.tracking import agent, client
from simclr.tracking.client import reason
from simclr.tracking.patience import Patience, Value

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)


class Connection:
    """To the client's process and, through it, to a server. Before :meth:`open`, and once it is lost, it does nothing.

    Attributes:
        run: as the client has it, None where there is none.
        online: whether there is a server that answers.
        folder: the run's own folder on disk, None where nothing is kept.
        patience: how long anyone waits for any of it.
    """

    def __init__(self, settings: TrackingConfig, root: str, patience: Patience) -> None:
        self.run: wandb.Run | None = None
        self.online = False
        self.folder: Path | None = None
        self.patience = patience
        self._settings, self._root = settings, Path(root).resolve()
        self._set_up = partial(client.set_up, self._root / "wandb")
        self._stop = threading.Event()
        self._told = self._broken = False

    @property
    def stop_requested(self) -> bool:
        """Whether someone stopped this run from its page."""
        return self._stop.is_set()

    @property
    def run_id(self) -> str | None:
        """The run's identity on the server, None where there is no run."""
        return None if self.run is None else self.run.id

    @property
    def sweep_id(self) -> str | None:
        """The sweep of the agent that started this process for one of its cells, None outside an agent."""
        return agent.sweep(os.environ)

    @property
    def in_agent(self) -> bool:
        """Whether an agent started this process, for a cell of its sweep."""
        return self.sweep_id is not None

    @property
    def sweep_path(self) -> str:
        """The sweep, as the server is asked for it."""
        return self.path_of(str(self.sweep_id))

    def path_of(self, name: str) -> str:
        """A name in the run's project, with that and its entity, as the server is asked for it."""
        assert self.run is not None
        return f"{self.run.entity}/{self.run.project}/{name}"

    def open(self, identity: Mapping[str, Any], describe: Callable[[], None]) -> None:
        """Start the client and the run, ``identity`` as it takes it: online where that is wanted and possible.

        Else it is offline. ``describe`` is called once it has begun, before anything is said of how it did.
        """
        wanted = self._settings.mode
        if wanted == "disabled" or (wanted, os.environ.get("WANDB_MODE")) == ("auto", "disabled"):
            return None
        try:
            # All of it at once: it looks through every module there is, and is the quicker the fewer there are.
            import wandb.apis.public  # noqa: F401
        except ImportError as error:
            return self._tell(f"the client cannot be imported ({one_line(error)}), so nothing is tracked")
        try:
            self.patience.wait(self.patience.left / 2, self._set_up)
            mode = client.resolve_mode(wanted)
        except Exception as error:
            return self._tell(f"the client does not start ({reason(error)}), so nothing is tracked")
        refused = self._begin(identity, "online") if mode == "online" else None
        failed = self._begin(identity, "offline") if mode == "offline" or refused else None
        if self.run is None:
            return self._tell(f"the run does not begin ({failed or refused}), so nothing is tracked")
        describe()
        if refused:
            self._unsent(f"the run does not begin online ({refused})")
        elif not self.online:
            log.info(
                "W&B: offline in %s; look at it with `wandb leet %s`, send it with `%s`",
                self.folder, self.folder, self._sync(),
            )  # fmt: skip
        return None

    def local(self, act: Callable[[wandb.Run], Any]) -> None:
        """Do what needs no server: it goes to the client's process and its file, which are here."""
        run = self.run
        if run is None or self._broken:
            return
        try:
            self.patience.wait(self.patience.left / 2, lambda: act(run))
        except Exception as error:
            self._broken, self.online = True, False
            self._unsent(f"the client fails: {reason(error)}")

    def ask(self, what: str, question: Callable[[], Value], progress: Callable[[], int] | None = None) -> Value | None:
        """Ask the server, once: where it does not answer well, nothing more is asked of it, and what was is said.

        An answer may take longer as long as its ``progress`` grows.
        """
        if not self.online:
            return None
        try:
            return self.patience.wait(self.patience.spare, question, progress)
        except Exception as error:
            self.online = False
            self._unsent(f"could not {what}: {reason(error)}")
            return None

    def to_server(self, what: str, act: Callable[[wandb.Run], Any]) -> None:
        """Do what the client asks a server about, and what goes to the run's folder where that is offline."""
        run = self.run
        if run is not None and self.online:
            self.ask(what, partial(act, run))
        elif self.folder is not None and self.folder.name.startswith("offline"):
            self.local(act)

    def close(self, exit_code: int) -> None:
        """End the run, and send what is not sent yet as long as patience lasts."""
        run, self.run = self.run, None
        if run is None:
            return None
        try:
            path = f"{run.entity}/{run.project}/{run.id}"
            self.patience.wait(self.patience.left * 3 / 4, lambda: run.finish(exit_code=exit_code))
        except Exception as error:
            self._unsent(f"the run could not be finished: {reason(error)}")
            return client.let_go(self.patience)
        if self.online:
            self.ask("ask for the run", lambda: client.arrived(path, self.patience))
        return None

    def _begin(self, identity: Mapping[str, Any], mode: Literal["online", "offline"]) -> str | None:
        """Begin the run, or say why it does not begin."""
        import wandb

        settings = client.run_settings(self.patience, self._stop.set)
        # An agent's variables say which run of which project this is; anything else would be another run.
        tracking, own = self._settings, not self.in_agent

        def init() -> wandb.Run:
            self._set_up()  # again, where an attempt before this one was let go
            return wandb.init(
                project=tracking.project if own else None,
                entity=tracking.entity if own else None,
                id=f"{identity['name']}-{identity_of(self._root)}" if own else None,
                **identity,
                dir=str(self._root),
                mode=mode,
                resume="allow",
                reinit="create_new",
                settings=settings,
            )

        seconds = self.patience.spare if mode == "online" else self.patience.left / 2
        try:
            run = self.patience.wait(seconds, init)
        except Exception as error:
            if seconds:
                client.let_go(self.patience)  # it still holds the run
            return reason(error)
        self.run, self.online, self.folder = run, mode == "online", Path(run.dir).parent
        return None

    def _unsent(self, reason: str) -> None:
        self._tell(f"{reason}; the result is not affected, and what was not sent can be sent with `{self._sync()}`")

    def _sync(self) -> str:
        """The command that sends what is in the run's folder; runs that began online are left out unless asked for."""
        began_online = self.folder is not None and not self.folder.name.startswith("offline")
        return f"wandb sync {'--no-skip-online ' if began_online else ''}{self.folder}"

    def _tell(self, line: str) -> None:
        if not self._told:
            self._told = True
            log.warning("W&B: %s", line)


def identity_of(root: Path) -> str:
    """A few digits that stand for a root, from wherever it is seen: another one has cells of the same names."""
    file = root / "wandb" / "root-id"
    if not file.exists():
        with held(file.with_name(".root-id")):
            if not file.exists():
                write_whole(file, secrets.token_hex(3).encode())
    return file.read_text().strip()
