"""One run of W&B, and what is done with it while a cell runs."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from simclr.config import TrackingConfig
from simclr.foundation import machine
from simclr.foundation.errors import one_line
from simclr.foundation.files import MANIFEST, as_file_name, whole_file
from simclr.tracking import artifacts, client, content
from simclr.tracking.client import reason
from simclr.tracking.connection import Connection
from simclr.tracking.content import Material
from simclr.tracking.patience import Patience, Value
from simclr.tracking.wishes import Wishes

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)


class Tracker(Connection):
    """One run, made by :func:`simclr.tracking.start`. Before it begins and once it is given up, it does nothing at all.

    Attributes:
        wishes: what this run and the others of its sweep make or want to make.
    """

    def __init__(self, settings: TrackingConfig, root: str, patience: Patience) -> None:
        super().__init__(settings, root, patience)
        self.wishes = Wishes(self)
        self._uploads: list[tuple[str, wandb.Artifact]] = []
        self._unseen: dict[str, tuple[Path, Mapping[str, Any]]] = {}

    def begin(self, identity: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
        """Begin the run, see :meth:`open`, with a configuration for its page."""
        self.open(identity, partial(self._describe, configuration))

    def epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """An epoch of pretraining, counted from 1: whatever of it is a finite number."""

        def put(run: wandb.Run) -> None:
            named = {name if "/" in name else f"pretrain/{name}": float(value) for name, value in logs.items()}
            finite = {name: value for name, value in named.items() if math.isfinite(value)}
            run.log({"pretrain/epoch": epoch, **finite})

        self.local(put)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Facts of the run as a whole; what is None is left out."""
        self.local(lambda run: run.summary.update({name: each for name, each in values.items() if each is not None}))

    def result(
        self,
        record: Mapping[str, Any],
        predictions: Mapping[str, NDArray[Any]] | None = None,
        material: Material | None = None,
    ) -> None:
        """A cell's record as in ``result.json``, its predictions, and its pictures of what there is for them.

        Predictions are ``labels`` (N,) and, by representation, the class given to each test image by each subset's
        probe (S, N), as kept beside the record.
        """
        if self.run is None:
            return
        self.summary(self._made("summary", lambda: content.summary(record)) or {})
        if record.get("probe"):
            self.local(lambda run: run.log(content.accuracies(record)))
        if shown := self._shown(content.drawings(record, material)):
            self.local(lambda run: run.log(shown))
        if predictions is not None and record.get("probe"):
            names = material.names if material is not None else ()
            classes = record["probe"]["classes"]
            table = self._made("predictions", lambda: content.table(predictions, classes, names))
            if table is not None:
                # A table is an artifact too, so the server is asked before it is taken.
                self.to_server("log the predictions", lambda run: run.log({"predictions": table}))

    def log_data(self, name: str, digest: str, reference: str, metadata: Mapping[str, Any]) -> None:
        """The images by reference: a URI of where they are from and the digest of their content, not the images."""
        kept = f"data-{as_file_name(name)}"
        self._put(kept, lambda: artifacts.of_data(kept, digest, reference, metadata), [digest[:16]])

    def log_pretraining(self, key: str, folder: Path, metadata: Mapping[str, Any], *, made_here: bool = True) -> None:
        """The plain files of a finished pretraining's folder as the artifact ``pretrained-<key>``, once per key.

        Of one that was not made here the run is said to use it, and the artifact is made where there is none by the
        time that the run ends: whoever made the network may be about to upload it.
        """
        if not made_here and not self.online:
            return
        if self._exists(key):
            self.use_pretraining(key)
        elif made_here:
            name = artifacts.pretraining_name(key)
            self._put(name, lambda: artifacts.of_pretraining(key, folder, metadata), ["latest", key])
        else:
            self._unseen[key] = folder, metadata

    def use_pretraining(self, key: str) -> None:
        """Say that this cell looks at a network that another run trained; offline there is no telling."""
        run = self.run
        if run is not None and self.online:
            self.ask(f"use the pretraining {key}", lambda: artifacts.use(run, self._latest(key)))

    def fetch_pretraining(self, key: str, into: Path) -> bool:
        """Take a pretrained network from its artifact, each file checked against its digest; whether it is there now.

        The folder is made where it is missing, and files of the same name are replaced; it is untouched unless all went
        well.
        """
        run, name = self.run, artifacts.pretraining_name(key)
        if run is None or not self.online:
            return False
        ask = partial(self.ask, f"fetch {name}")
        try:
            into.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.", ignore_cleanup_errors=True) as folder:
                draft = Path(folder)
                artifact = ask(lambda: artifacts.use(run, self._latest(key)))
                found = artifact and ask(
                    lambda: artifacts.download(artifact, draft), progress=lambda: artifacts.bytes_in(draft)
                )
                if not found:
                    return False
                into.mkdir(parents=True, exist_ok=True)
                with ExitStack() as stack:  # ends with what it began with: the manifest, as it makes the others count
                    for file in sorted(found, key=lambda name: name != MANIFEST):
                        fetched = stack.enter_context((draft / file).open("rb"))
                        shutil.copyfileobj(fetched, stack.enter_context(whole_file(into / file)))
                return True
        except OSError as error:
            log.warning("W&B: the pretraining %s cannot be put in place (%s)", key, one_line(error))
            return False

    def sweep(self) -> dict[str, Any] | None:
        """The configuration of the sweep that this process's agent works on, as its file has it."""
        if not (self.in_agent and self.online):
            return None
        return self.ask("read the sweep", lambda: dict(client.api(self.patience).sweep(self.sweep_path).config))

    def stopped(self) -> bool:
        """Whether someone stopped this run, or cancelled its sweep; asks the server where it has not said so."""
        run = self.run
        if self.stop_requested or run is None or not (self.online and self.in_agent):
            return self.stop_requested
        try:
            question = partial(client.stopped, self.sweep_path, run.id, self.patience)
            return self.patience.wait(self.patience.spare / 3, question)
        except Exception as error:
            log.debug("W&B: %s", reason(error))
            return False

    def preempting(self) -> None:
        """Say that this process is about to end though its cell has not, so that its sweep hands the cell out again.

        The process must then end with another code than 0.
        """
        self.local(lambda run: run.mark_preempting())

    def finish(self, exit_code: int = 0) -> None:
        """End the run, and send what is not sent yet as long as patience lasts."""
        if self.run is None:
            return
        for key, (folder, metadata) in self._unseen.items():
            self.log_pretraining(key, folder, metadata)
        sent = partial(client.bytes_sent, self.run)
        for name, artifact in self._uploads:
            self.ask(f"upload {name}", artifact.wait, progress=sent)
        self.close(exit_code)

    def _describe(self, configuration: Mapping[str, Any]) -> None:
        values = {
            **configuration,
            **{f"versions.{name}": version for name, version in machine.versions().items()},
            **(self.wishes.beginning() if self.in_agent else {}),
        }

        def describe(run: wandb.Run) -> None:
            run.config.update(values, allow_val_change=True)
            run.define_metric("pretrain/epoch", hidden=True)
            run.define_metric("pretrain/*", step_metric="pretrain/epoch")
            run.define_metric("monitor/*", step_metric="pretrain/epoch")

        self.local(describe)

    def _latest(self, key: str) -> str:
        return self.path_of(f"{artifacts.pretraining_name(key)}:latest")

    def _exists(self, key: str) -> bool:
        asked = f"look for {artifacts.pretraining_name(key)}"
        return bool(self.ask(asked, lambda: client.api(self.patience).artifact_exists(self._latest(key))))

    def _put(self, name: str, make: Callable[[], wandb.Artifact], aliases: list[str]) -> None:
        """Log an artifact: offline to the run's folder, else to the server, which is asked about it first."""

        def put(run: wandb.Run) -> None:
            self._uploads.append((name, run.log_artifact(make(), aliases=aliases)))

        self.to_server(f"log {name}", put)

    def _shown(self, drawings: Mapping[str, Callable[[], NDArray[Any]]]) -> dict[str, Any]:
        """Pictures as the client takes them; one that cannot be drawn is left out, with a line."""
        from wandb import Image

        drawn = {name: self._made(name, draw) for name, draw in drawings.items()}
        return {f"pictures/{name}": Image(picture) for name, picture in drawn.items() if picture is not None}

    def _made(self, name: str, make: Callable[[], Value]) -> Value | None:
        """A picture or a table, None where it cannot be made: that is no reason to go without the others."""
        try:
            return make()
        except Exception as error:
            log.warning("W&B: no %s (%s)", name, reason(error))
            return None
