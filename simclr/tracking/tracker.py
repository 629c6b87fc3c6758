"""One run of W&B, and what is done with it while a cell runs."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from simclr import agent, machine
from simclr.config import Config
from simclr.errors import one_line
from simclr.files import MANIFEST
from simclr.studio import Studio
from simclr.tracking import artifacts, client, content
from simclr.tracking.client import Patience, Value, reason, within
from simclr.tracking.content import Material

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

CLAIM = "pretraining.claim."
"""The key in a run's configuration under which it says what it wants and what it has, before the number of the attempt:
what a preempted run has logged is handed out again, and the client lets nobody change what was handed out."""


@dataclass(frozen=True)
class Claim:
    """A run of a sweep that is under way: which pretraining it wants to make, and which ones it makes or has made."""

    run: str
    wants: str | None
    has: tuple[str, ...]


class Tracker:
    """One run, made by :func:`simclr.tracking.start`. Before it begins and once it is given up, it does nothing at all.

    Attributes:
        online: whether there is a server that answers.
        folder: the run's own folder on disk, None where nothing is kept.
    """

    def __init__(self, config: Config, patience: Patience) -> None:
        self.online = False
        self.folder: Path | None = None
        self._config, self._patience = config, patience
        self._run: wandb.Run | None = None
        self._stop = threading.Event()
        self._uploads: list[tuple[str, wandb.Artifact]] = []
        self._unseen: dict[str, tuple[Path, Mapping[str, Any]]] = {}
        self._attempt, self._has = 1, tuple[str, ...]()
        self._told = self._broken = self._drawing = False
        self._studio = Studio()

    @property
    def stop_requested(self) -> bool:
        """Whether someone stopped this run from its page."""
        return self._stop.is_set()

    @property
    def run_id(self) -> str | None:
        """The run's identity on the server, None where there is no run."""
        return None if self._run is None else self._run.id

    @property
    def in_agent(self) -> bool:
        """Whether an agent started this process, for a cell of its sweep."""
        return self.sweep_id is not None

    @property
    def sweep_id(self) -> str | None:
        """The sweep of this process's agent, None outside an agent."""
        return os.environ.get("WANDB_SWEEP_ID") or None

    def begin(
        self,
        identity: Mapping[str, Any],
        configuration: Mapping[str, Any],
        meanwhile: Callable[[], Any] | None = None,
        *,
        soon: bool = False,
    ) -> None:
        """Start the client and the run: online where that is wanted and possible, else offline.

        With ``soon`` there will be something to draw before long.
        """
        if soon:
            with contextlib.suppress(OSError):
                self._studio.open()
        try:
            # All of it at once: it looks through every module there is, and is the quicker the fewer there are.
            import wandb.apis.public  # noqa: F401
        except ImportError as error:
            return self._tell(f"the client cannot be imported ({one_line(error)}), so nothing is tracked")
        root = Path(self._config.root).resolve()
        client.prepare_environment(root / "wandb")
        try:
            within(self._patience.begin, client.set_up, meanwhile=meanwhile)
            mode = client.resolve_mode(self._config.tracking.mode)
        except Exception as error:
            return self._tell(f"the client does not start ({reason(error)}), so nothing is tracked")
        if mode == "disabled":
            return None
        refused = self._begin(identity, root, "online") if mode == "online" else None
        failed = self._begin(identity, root, "offline") if mode == "offline" or refused else None
        if self._run is None:
            return self._tell(f"the run does not begin ({failed or refused}), so nothing is tracked")
        self._describe(configuration)
        if refused:
            self._unsent(f"the run does not begin online ({refused})")
        elif not self.online:
            log.info(
                "W&B: offline in %s; look at it with `wandb leet %s`, send it with `%s`",
                self.folder, self.folder, self._sync(),
            )  # fmt: skip
        return None

    def epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """An epoch of pretraining, counted from 1: whatever of it is a finite number."""

        def put(run: wandb.Run) -> None:
            named = {name if "/" in name else f"pretrain/{name}": float(value) for name, value in logs.items()}
            finite = {name: value for name, value in named.items() if math.isfinite(value)}
            run.log({"pretrain/epoch": epoch, **finite})

        self._local(put)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Facts of the run as a whole; what is None is left out."""
        self._local(lambda run: run.summary.update({name: each for name, each in values.items() if each is not None}))

    def draw(self, material: Material) -> None:
        """Begin with a cell's pictures, which are drawn beside its other work and shown with its result."""
        if self._run is None or self._drawing:
            return
        self._drawing = True
        try:
            self._studio.draw(content.pictures(material, self._config.seed))
        except Exception as error:
            log.debug("W&B: %s", reason(error))

    def result(
        self,
        record: Mapping[str, Any],
        predictions: Mapping[str, NDArray[Any]] | None = None,
        material: Material | None = None,
    ) -> None:
        """A cell's record, its predictions and its pictures.

        Args:
            record: as in ``result.json``.
            predictions: ``labels`` (N,) and, by representation, the class given to each test image by each subset's
                probe (S, N), as kept beside the record.
            material: for the pictures, where they are not being drawn.
        """
        if self._run is None:
            return
        self.summary(self._made("summary", lambda: content.summary(record)) or {})
        if record.get("probe"):
            self._local(lambda run: run.log(content.accuracies(record)))
        if shown := self._pictures(record, material):
            self._local(lambda run: run.log(shown))
        if predictions is not None and record.get("probe"):
            names = material.names if material is not None else ()
            classes = record["probe"]["classes"]
            table = self._made("predictions", lambda: content.table(predictions, classes, names))
            if table is not None:
                # A table is an artifact too, so the server is asked before it is taken.
                self._to_server("log the predictions", lambda run: run.log({"predictions": table}))

    def log_data(self, digest: str, reference: str, metadata: Mapping[str, Any] | None = None) -> None:
        """The images by reference: where they are from and the digest of their content, not the images.

        Args:
            digest: of the content.
            reference: a URI.
            metadata: what else to say of them.
        """
        name = f"data-{self._config.data.name}"
        self._put(name, lambda: artifacts.of_data(name, digest, reference, metadata or {}), [digest[:16]])

    def log_pretraining(
        self, key: str, folder: Path, metadata: Mapping[str, Any] | None = None, *, made_here: bool = True
    ) -> None:
        """A pretrained network as the artifact ``pretrained-<key>``, once per key.

        Args:
            key: the pretraining's.
            folder: the finished pretraining; its plain files are taken.
            metadata: what to say of it, as the artifact's metadata.
            made_here: by this run; else the run is said to use it, and the artifact is made where there is none by the
                time that the run ends: whoever made the network may be about to upload it.
        """
        if not made_here and not self.online:
            return
        if self._exists(key):
            self.use_pretraining(key)
        elif made_here:
            self._put_pretraining(key, folder, metadata or {})
        else:
            self._unseen[key] = (folder, metadata or {})

    def use_pretraining(self, key: str) -> None:
        """Say that this cell looks at a network that another run trained; offline there is no telling."""
        run = self._run
        if run is not None and self.online:
            self._ask(
                f"use the pretraining {key}", lambda: artifacts.use(run, self._path(artifacts.pretraining_name(key)))
            )

    def fetch_pretraining(self, key: str, into: Path) -> bool:
        """Take a pretrained network from its artifact, each file checked against its digest.

        Args:
            key: the pretraining's.
            into: a folder, made where it is missing, whose files of the same name are replaced; untouched unless all
                went well.

        Returns:
            Whether it is there now.
        """
        run, name = self._run, artifacts.pretraining_name(key)
        if run is None or not self.online:
            return False
        try:
            into.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}."))
        except OSError as error:
            log.warning("W&B: the pretraining %s cannot be put in place (%s)", key, one_line(error))
            return False
        try:
            artifact = self._ask(f"fetch {name}", lambda: artifacts.use(run, self._path(name)))
            found = artifact and self._ask(
                f"fetch {name}", lambda: artifacts.download(artifact, draft), progress=lambda: artifacts.bytes_in(draft)
            )
            if not found:
                return False
            into.mkdir(parents=True, exist_ok=True)
            for file in sorted(found, key=lambda name: name == MANIFEST):  # last, as it makes the others count
                (draft / file).replace(into / file)
            return True
        except OSError as error:
            log.warning("W&B: the pretraining %s cannot be put in place (%s)", key, one_line(error))
            return False
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def sweep(self) -> dict[str, Any] | None:
        """The configuration of the sweep that this process's agent works on, as its file has it."""
        if not self.in_agent:
            return None
        return self._ask("read the sweep", lambda: dict(client.api(self._patience).sweep(self._sweep_path()).config))

    def want(self, key: str | None) -> None:
        """Say which pretraining this run would make, or that it would not any more."""
        self._say(key)

    def take_on(self, key: str) -> None:
        """Say that this run makes a pretraining."""
        self._has = (*self._has, key)
        self._say(None)

    def give_up(self, key: str) -> None:
        """Say that this run does not make a pretraining after all."""
        if key in self._has:
            self._has = tuple(each for each in self._has if each != key)
            self._say(None)

    def claims(self) -> list[Claim]:
        """What the runs of this sweep that are under way say, the oldest run first; empty where nobody can be asked."""

        def ask() -> list[Claim]:
            project, _, sweep = self._sweep_path().rpartition("/")
            filters = {"sweep": sweep, "state": "running"}
            runs = client.api(self._patience).runs(project, filters=filters, order="+created_at", lazy=False)
            return [_claim(run.id, run.config) for run in runs]

        return (self._ask("ask what others pretrain", ask) or []) if self.in_agent else []

    def stopped(self) -> bool:
        """Whether someone stopped this run, or cancelled its sweep; asks the server where it has not said so."""
        run = self._run
        if self._stop.is_set() or run is None or not (self.online and self.in_agent):
            return self._stop.is_set()
        try:
            path = self._sweep_path()
            return within(self._patience.answer / 2, lambda: client.stopped(path, run.id, self._patience))
        except Exception as error:
            log.debug("W&B: %s", reason(error))
            return False

    def preempting(self) -> None:
        """Say that this process is about to end though its cell has not, so that its sweep hands the cell out again.

        The process must then end with another code than 0.
        """
        self._local(lambda run: run.mark_preempting())

    def finish(self, exit_code: int = 0) -> None:
        """End the run, and send what is not sent yet as long as patience lasts."""
        self._studio.close()
        run = self._run
        if run is None:
            return None
        begun = time.monotonic()
        for key, (folder, metadata) in self._unseen.items():
            if self._exists(key):
                self.use_pretraining(key)
            else:
                self._put_pretraining(key, folder, metadata)
        if self.online:
            for name, artifact in self._uploads:
                left = max(1.0, self._patience.finish / 2 - (time.monotonic() - begun))
                self._ask(f"upload {name}", partial(artifacts.uploaded, artifact, left), left + 1)
        self._run = None
        try:
            path = f"{run.entity}/{run.project}/{run.id}"
            within(self._patience.finish + 5, lambda: run.finish(exit_code=exit_code))
        except Exception as error:
            return self._unsent(f"the run could not be finished: {reason(error)}")
        if self.online:
            self._ask("ask for the run", lambda: client.arrived(path, self._patience))
        return None

    def _begin(self, identity: Mapping[str, Any], root: Path, mode: Literal["online", "offline"]) -> str | None:
        """Begin the run, or say why it does not begin."""
        import wandb

        settings = client.run_settings(self._patience, self._stop.set)
        # An agent's variables say which run of which project this is; anything else would be another run.
        tracking, own = self._config.tracking, not self.in_agent

        def init() -> wandb.Run:
            return wandb.init(
                project=tracking.project if own else None,
                entity=tracking.entity if own else None,
                id=identity["name"] if own else None,
                **identity,
                dir=str(root),
                mode=mode,
                resume="allow",
                reinit="create_new",
                settings=settings,
            )

        try:
            run = within(self._patience.begin + 5, init)
        except Exception as error:
            client.let_go(self._patience)
            return reason(error)
        self._run, self.online, self.folder = run, mode == "online", Path(run.dir).parent
        return None

    def _describe(self, configuration: Mapping[str, Any]) -> None:
        values = {
            **configuration,
            **{f"versions.{name}": version for name, version in machine.versions().items()},
            **(self._of_the_sweep() if self.in_agent else {}),
        }

        def describe(run: wandb.Run) -> None:
            run.config.update(values, allow_val_change=True)
            run.define_metric("pretrain/epoch", hidden=True)
            run.define_metric("pretrain/*", step_metric="pretrain/epoch")
            run.define_metric("monitor/*", step_metric="pretrain/epoch")

        self._local(describe)

    def _of_the_sweep(self) -> dict[str, Any]:
        handed = agent.handed_out(os.environ)
        self._attempt = 1 + max(_attempts(handed), default=0)
        # What was said before this attempt holds no more.
        return {agent.PARAMETERS: agent.parameters(handed), **self._claim(None)}

    def _claim(self, wants: str | None) -> dict[str, Any]:
        return {f"{CLAIM}{self._attempt}": {"wants": wants, "has": list(self._has)}}

    def _say(self, wants: str | None) -> None:
        self._local(lambda run: run.config.update(self._claim(wants), allow_val_change=True))

    def _sweep_path(self) -> str:
        assert self._run is not None
        return f"{self._run.entity}/{self._run.project}/{self.sweep_id}"

    def _path(self, name: str) -> str:
        assert self._run is not None
        return f"{self._run.entity}/{self._run.project}/{name}:latest"

    def _exists(self, key: str) -> bool:
        name = artifacts.pretraining_name(key)
        return bool(self._ask(f"look for {name}", lambda: client.api(self._patience).artifact_exists(self._path(name))))

    def _put_pretraining(self, key: str, folder: Path, metadata: Mapping[str, Any]) -> None:
        name = artifacts.pretraining_name(key)
        self._put(name, lambda: artifacts.of_pretraining(key, folder, metadata), ["latest", key])

    def _put(self, name: str, make: Callable[[], wandb.Artifact], aliases: list[str]) -> None:
        """Log an artifact: offline to the run's folder, else to the server, which is asked about it first."""

        def put(run: wandb.Run) -> None:
            self._uploads.append((name, run.log_artifact(make(), aliases=aliases)))

        self._to_server(f"log {name}", put)

    def _to_server(self, what: str, act: Callable[[wandb.Run], Any]) -> None:
        """Do what the client asks a server about, and what goes to the run's folder where that is offline."""
        run = self._run
        if run is not None and self.online:
            self._ask(what, lambda: act(run))
        elif self.folder is not None and self.folder.name.startswith("offline"):
            self._local(act)

    def _pictures(self, record: Mapping[str, Any], material: Material | None) -> dict[str, Any]:
        """All pictures of a cell as the client takes them; one that cannot be drawn is left out, with a line."""
        from wandb import Image

        verdict = content.verdict(record)

        def collect() -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
            self._studio.draw(verdict)
            return self._studio.collect()

        if material is not None:
            self.draw(material)
        if not (verdict or self._drawing):
            return {}
        try:
            drawn, errors = within(self._patience.pictures, collect)
        except Exception as error:
            drawn, errors = {}, {"pictures": reason(error)}
        self._studio.close()
        for name, why in errors.items():
            log.warning("W&B: no %s (%s)", name, why)
        return {f"pictures/{name}": Image(picture) for name, picture in drawn.items()}

    def _made(self, name: str, make: Callable[[], Value]) -> Value | None:
        """A picture or a table, None where it cannot be made: that is no reason to go without the others."""
        try:
            return make()
        except Exception as error:
            log.warning("W&B: no %s (%s)", name, reason(error))
            return None

    def _local(self, act: Callable[[wandb.Run], Any]) -> None:
        """Do what needs no server: it goes to the client's process and its file, which are here."""
        run = self._run
        if run is None or self._broken:
            return
        try:
            within(self._patience.answer, lambda: act(run))
        except Exception as error:
            self._broken, self.online = True, False
            self._unsent(f"the client fails: {reason(error)}")

    def _ask(
        self,
        what: str,
        question: Callable[[], Value],
        seconds: float | None = None,
        progress: Callable[[], Any] | None = None,
    ) -> Value | None:
        """Ask the server, once: where it does not answer well, nothing more is asked of it."""
        if not self.online:
            return None
        try:
            return within(seconds or self._patience.answer, question, progress)
        except Exception as error:
            self.online = False
            self._unsent(f"could not {what}: {reason(error)}")
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


def _attempts(configuration: Mapping[str, Any]) -> list[int]:
    numbers = [key.removeprefix(CLAIM) for key in configuration if key.startswith(CLAIM)]
    return [int(number) for number in numbers if number.isdecimal()]


def _claim(run: str, configuration: Mapping[str, Any]) -> Claim:
    """What a run says in its last attempt."""
    said = configuration.get(f"{CLAIM}{max(_attempts(configuration), default=0)}") or {}
    return Claim(run, said.get("wants"), tuple(said.get("has") or ()))
