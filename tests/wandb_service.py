"""A stand-in for the W&B service: what the real client and command line ask for, answered from memory.

``with Service() as service:`` and ``service.environment()`` for a process that shall talk to it. All that clients send
can be read from ``service.runs``, ``service.sweeps`` and ``service.artifacts``. ``service.fault`` makes it fail.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from tests import graphql

KEY = "feed" * 10
ENTITY = "lab"


class Fault(Enum):
    """How the service fails."""

    ERROR = "every call is answered with 500"
    HANG = "no call is answered"
    GONE = "every connection is closed without an answer"
    KEY = "every call is answered with 401: the key is wrong"
    QUOTA = "runs may be seen, but nothing may be stored any more"


@dataclass
class Run:
    """A run as clients have made it."""

    id: str
    entity: str
    project: str
    sweep: str | None = None
    name: str = ""
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    preempting: bool = False
    stopped: bool = False
    starts: int = 0
    used: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def logged(self, metric: str) -> list[Any]:
        """The values of a metric in the order in which they were logged."""
        return [row[metric] for row in self.history if metric in row]


@dataclass
class Sweep:
    """A sweep: its file's content, the grid still to be handed out, the runs that were."""

    id: str
    entity: str
    project: str
    config: dict[str, Any]
    state: str = "PENDING"
    waiting: list[dict[str, Any]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@dataclass
class Agent:
    """An agent, and which runs it says it is running."""

    id: str
    sweep: str
    host: str
    running: set[str] = field(default_factory=set)
    commands: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Artifact:
    """A version of an artifact; ``manifest`` as uploaded, ``files`` by path, whole."""

    id: str
    entity: str
    project: str
    collection: str
    type: str
    digest: str
    version: int
    metadata: dict[str, Any]
    run: str | None
    aliases: list[str]
    description: str | None = None
    state: str = "PENDING"
    manifest: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class Service:
    """The service at ``url``, until the block ends."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, Agent] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.operations: list[str] = []
        self.unknown: list[str] = []
        self.fault: Fault | None = None
        self.fault_after: tuple[int, Fault] | None = None
        """So many calls are answered as usual before the fault begins."""
        self._clients: dict[str, str] = {}
        self._blobs: dict[str, bytes] = {}
        self._uploads: dict[str, Callable[[bytes], None]] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()

    def __enter__(self) -> Service:
        service = self

        class Handler(_Handler):
            def __init__(self, *arguments: Any) -> None:
                self.service = service
                super().__init__(*arguments)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def environment(self, key: str = KEY) -> dict[str, str]:
        """The variables of a process that talks to this service, and to no other."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        return {**kept, "WANDB_BASE_URL": self.url, "WANDB_API_KEY": key, "NO_PROXY": "127.0.0.1"}

    def named(self, cell: str) -> Run:
        """The run of a cell."""
        (found,) = (run for run in self.runs.values() if run.name == cell)
        return found

    def stop(self, run: str) -> None:
        """What the stop button on a run's page does."""
        with self._lock:
            self.runs[run].stopped = True

    def artifact(self, name: str) -> Artifact:
        """The version that ``collection:alias`` names."""
        found = self._named(name)
        assert found is not None, f"{name}: there are {sorted(each.collection for each in self.artifacts.values())}"
        return found

    def corrupt(self, artifact: Artifact, name: str, content: bytes) -> None:
        """Give other content for a file of an artifact than its digest promises."""
        with self._lock:
            self._blobs[hashlib.md5(artifact.files[name]).hexdigest()] = content  # noqa: S324

    def rename(self, artifact: Artifact, name: str, other: str) -> None:
        """Give an entry of an artifact's manifest another path."""
        with self._lock:
            artifact.manifest["contents"][other] = artifact.manifest["contents"].pop(name)
            artifact.files[other] = artifact.files.pop(name)
            blob = artifact.manifest.pop("blob")
            self._blobs[blob] = json.dumps(artifact.manifest).encode()
            artifact.manifest["blob"] = blob

    def wait(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        """Until the condition holds; its value."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                value = condition()
            if value:
                return value
            time.sleep(0.05)
        raise TimeoutError("the condition does not hold")

    # What the HTTP handler calls.

    def failing(self) -> Fault | None:
        """The fault that this call shall meet."""
        with self._lock:
            if self.fault_after is not None:
                left, fault = self.fault_after
                self.fault_after = (left - 1, fault)
                if left <= 0:
                    self.fault, self.fault_after = fault, None
            return self.fault

    def hang(self) -> None:
        """Until the fault is over or the service closes."""
        while self.fault is Fault.HANG and not self._closed.wait(0.05):
            pass

    def graphql(self, text: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer one request."""
        request = graphql.parse(text)
        with self._lock:
            self.operations.append(request.name)
            data = self._mutations() if request.kind == "mutation" else self._queries()
            self.unknown += [
                f"{request.name}.{each.name}"
                for each in request.selections
                if isinstance(each, graphql.Field) and each.name not in data
            ]
            return {"data": graphql.answer(request, variables, data)}

    def file_stream(self, run_id: str, sent: dict[str, Any]) -> dict[str, Any]:
        """Lines of a run's files, and whether it is complete."""
        with self._lock:
            run = self.runs[run_id]
            for name, part in (sent.get("files") or {}).items():
                lines, offset = part["content"], part["offset"]
                if name == "wandb-history.jsonl":
                    run.history[offset:] = [json.loads(line) for line in lines]
                elif name == "wandb-summary.json":
                    run.summary = json.loads(lines[-1])
                elif name == "output.log":
                    run.console[offset:] = lines
            if sent.get("preempting"):
                run.preempting = True
                run.state = "preempting"
            if sent.get("complete"):
                self._ended(run, sent.get("exitcode", 0))
            return {"limits": {}, "stopped": run.stopped}

    def put(self, path: str, content: bytes) -> bool:
        """An upload to a URL that was given out."""
        with self._lock:
            receive = self._uploads.get(path)
            if receive is None:
                return False
            self._blobs[hashlib.md5(content).hexdigest()] = content  # noqa: S324
            receive(content)
            return True

    def get(self, path: str) -> bytes | None:
        """A file by the MD5 in its URL, as artifacts are stored."""
        parts = [unquote(part) for part in path.split("/") if part]
        with self._lock:
            return next((self._blobs[part] for part in reversed(parts) if part in self._blobs), None)

    # Runs and sweeps.

    def _ended(self, run: Run, code: int | None) -> None:
        run.exit_code = code
        run.state = (
            "finished" if code == 0 else "preempted" if run.preempting else "crashed" if code is None else "failed"
        )

    def _upsert_run(self, **given: Any) -> dict[str, Any]:
        name = given.get("name") or next(
            (run.id for run in self.runs.values() if _id("Run", run.id) == given.get("id")), uuid.uuid4().hex[:8]
        )
        inserted = name not in self.runs
        if inserted:
            self.runs[name] = Run(name, given.get("entityName") or ENTITY, given.get("modelName") or "uncategorized")
        run = self.runs[name]
        if given.get("host"):  # a process starts or resumes the run
            run.starts += 1
            run.state, run.preempting, run.exit_code = "running", False, None
        for key, attribute in (
            ("displayName", "name"), ("groupName", "group"), ("jobType", "job_type"), ("tags", "tags"),
            ("notes", "notes"), ("sweep", "sweep"), ("state", "state"),
        ):  # fmt: skip
            if given.get(key) is not None:
                setattr(run, attribute, given[key])
        if given.get("config"):
            run.config.update(json.loads(given["config"]))
        if given.get("summaryMetrics"):
            run.summary.update(json.loads(given["summaryMetrics"]))
        run.name = run.name or f"named-by-nobody-{len(self.runs)}"
        return {"bucket": self._run(run), "inserted": inserted}

    def _upsert_sweep(self, **given: Any) -> dict[str, Any]:
        known = [sweep for sweep in self.sweeps.values() if given.get("id") in (sweep.id, _id("Sweep", sweep.id))]
        if known:
            (sweep,) = known
        else:
            config = yaml.safe_load(given["config"])
            name = uuid.uuid4().hex[:8]
            sweep = Sweep(name, given.get("entityName") or ENTITY, given.get("projectName") or "uncategorized", config)
            sweep.waiting = list(grid(config["parameters"]))
            self.sweeps[name] = sweep
        if given.get("state"):
            sweep.state = given["state"]
        return {"sweep": self._sweep(sweep), "configValidationWarnings": []}

    def _create_agent(self, sweep: str, host: str, **_: Any) -> dict[str, Any]:
        agent = Agent(uuid.uuid4().hex[:8], sweep, host)
        self.agents[agent.id] = agent
        if self.sweeps[sweep].state == "PENDING":
            self.sweeps[sweep].state = "RUNNING"
        return {"agent": {"id": agent.id}}

    def _heartbeat(self, runState: str | None, **given: Any) -> dict[str, Any]:
        agent = self.agents[given["id"]]
        running = set(json.loads(runState or "{}"))
        for run in (self.runs[name] for name in agent.running - running):
            if run.state in ("running", "preempting"):  # its process ended without a word
                self._ended(run, None)
        agent.running = running
        commands = self._commands(agent, self.sweeps[agent.sweep])
        agent.commands += commands
        agent.running |= {each["run_id"] for each in commands if each["type"] in ("run", "resume")}
        return {"agent": {"id": agent.id}, "commands": json.dumps(commands)}

    def _commands(self, agent: Agent, sweep: Sweep) -> list[dict[str, Any]]:  # noqa: PLR0911
        stopping = [name for name in agent.running if self.runs[name].stopped or sweep.state == "CANCELED"]
        if stopping:
            return [{"type": "stop", "run_id": name} for name in sorted(stopping)]
        if agent.running or sweep.state == "PAUSED":
            return []
        if sweep.state in ("CANCELED", "FINISHED"):
            return [{"type": "exit"}]
        of_sweep = [self.runs[name] for name in sweep.runs]
        for run in of_sweep:
            if run.state == "preempted":
                run.state = "pending"
                # The real service hands out all that the run has logged, the client's own notes among it.
                arguments = {**{key: {"value": value} for key, value in run.parameters.items()}, **run.config}
                return [self._command("resume", sweep, run, arguments)]
        if sweep.waiting:
            parameters = sweep.waiting.pop(0)
            run = Run(
                uuid.uuid4().hex[:8], sweep.entity, sweep.project, sweep.id, parameters=parameters, state="pending"
            )
            self.runs[run.id] = run
            sweep.runs.append(run.id)
            return [self._command("run", sweep, run, {key: {"value": value} for key, value in parameters.items()})]
        if any(run.state == "preempting" for run in of_sweep):
            return []
        if all(run.state in ("finished", "failed", "crashed") for run in of_sweep):
            sweep.state = "FINISHED"
        return [{"type": "exit"}]

    def _command(self, kind: str, sweep: Sweep, run: Run, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, "run_id": run.id, "program": sweep.config.get("program"), "args": arguments, "logs": []}

    # Artifacts.

    def _create_artifact(self, **given: Any) -> dict[str, Any]:
        collection = given.get("artifactCollectionName") or given["artifactCollectionNames"][0]
        versions = [
            each for each in self.artifacts.values() if each.collection == collection and each.state != "DELETED"
        ]
        same = [each for each in versions if each.digest == given["digest"] and each.state == "COMMITTED"]
        aliases = [each["alias"] for each in given.get("aliases") or []]
        if same and given.get("enableDigestDeduplication"):
            artifact = same[0]
            artifact.aliases += [each for each in aliases if each not in artifact.aliases]
        else:
            artifact = Artifact(
                uuid.uuid4().hex, given["entityName"], given["projectName"], collection, given["artifactTypeName"],
                given["digest"], len(versions), json.loads(given.get("metadata") or "{}"), given.get("runName"),
                aliases, given.get("description"),
            )  # fmt: skip
            self.artifacts[artifact.id] = artifact
        if given.get("clientID"):
            self._clients[given["clientID"]] = artifact.id
        return {"artifact": self._artifact(artifact)}

    def _create_manifest(self, artifactID: str, name: str, **_: Any) -> dict[str, Any]:
        def receive(content: bytes) -> None:
            artifact = self.artifacts[artifactID]
            artifact.manifest = json.loads(content)
            for path, entry in artifact.manifest["contents"].items():
                stored = self._blobs.get(base64.b64decode(entry["digest"]).hex()) if "ref" not in entry else None
                if stored is not None:
                    artifact.files[path] = stored
            artifact.manifest["blob"] = hashlib.md5(content).hexdigest()  # noqa: S324

        file = {"id": _id("File", name), "uploadUrl": self._upload_url(receive), "uploadHeaders": []}
        return {"artifactManifest": {"id": f"manifest:{artifactID}", "file": file}}

    def _update_manifest(self, artifactManifestID: str, **_: Any) -> dict[str, Any]:
        return self._create_manifest(artifactManifestID.partition(":")[2], "manifest")

    def _create_artifact_files(self, artifactFiles: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        nodes = []
        for given in artifactFiles:
            artifact = self.artifacts[given["artifactID"]]

            def receive(content: bytes, artifact: Artifact = artifact, name: str = given["name"]) -> None:
                artifact.files[name] = content

            nodes.append(
                {
                    "id": _id("File", given["name"]),
                    "name": given["name"],
                    "storagePath": f"wandb_artifacts/{given['name']}",
                    "uploadUrl": self._upload_url(receive),
                    "uploadHeaders": [],
                    "artifact": {"id": artifact.id},
                }
            )
        return {"files": _edges(nodes)}

    def _commit(self, artifactID: str, **_: Any) -> dict[str, Any]:
        artifact = self.artifacts[artifactID]
        artifact.state = "COMMITTED"
        for other in self.artifacts.values():
            if other.collection == artifact.collection and other is not artifact:
                other.aliases = [each for each in other.aliases if each not in artifact.aliases]
        return {"artifact": self._artifact(artifact)}

    def _use_artifact(self, artifactID: str, runName: str, **_: Any) -> dict[str, Any]:
        artifact = self.artifacts[self._clients.get(artifactID, artifactID)]
        self.runs[runName].used.append(f"{artifact.collection}:v{artifact.version}")
        return {"artifact": self._artifact(artifact)}

    def _named(self, name: str) -> Artifact | None:
        collection, _, alias = name.partition(":")
        alias = alias or "latest"
        found = [
            each
            for each in self.artifacts.values()
            if each.collection == collection
            and each.state == "COMMITTED"
            and (alias in each.aliases or alias in (f"v{each.version}", each.digest))
        ]
        return found[-1] if found else None

    def _upload_url(self, receive: Callable[[bytes], None]) -> str:
        path = f"/storage/{uuid.uuid4().hex}"
        self._uploads[path] = receive
        return f"{self.url}{path}"

    # The service's data as GraphQL has it.

    def _queries(self) -> dict[str, Any]:
        viewer = {
            "id": _id("User", ENTITY), "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "lab@example.org",
            "flags": "{}", "teams": _edges([]), "admin": False, "apiKeys": _edges([]),
        }  # fmt: skip
        limits = {"max_cli_version": "0.99.0", "min_cli_version": "0.10.0"}
        return {
            "viewer": viewer,
            "serverInfo": {"cliVersionInfo": limits, "features": [], "latestLocalVersionInfo": None},
            "project": self._project,
            "model": self._project,
            "entity": lambda name: {"id": _id("Entity", name), "name": name, "xxhashDigestsEnabled": False},
            "artifact": lambda id: self._artifact(self.artifacts[id]) if id in self.artifacts else None,
            "clientIDMapping": lambda clientID: {"serverID": self._clients.get(clientID)},
        }

    def _mutations(self) -> dict[str, Any]:
        named = {
            "upsertBucket": self._upsert_run,
            "upsertSweep": self._upsert_sweep,
            "createAgent": self._create_agent,
            "agentHeartbeat": self._heartbeat,
            "createRunFiles": self._create_run_files,
            "markRunFilesUploaded": lambda **_: {"success": True},
            "stopRun": self._stop_run,
            "createArtifact": self._create_artifact,
            "createArtifactManifest": self._create_manifest,
            "updateArtifactManifest": self._update_manifest,
            "createArtifactFiles": self._create_artifact_files,
            "commitArtifact": self._commit,
            "updateArtifact": self._update_artifact,
            "useArtifact": self._use_artifact,
        }
        return {name: (lambda input, act=act: act(**input)) for name, act in named.items()}

    def _stop_run(self, **given: Any) -> dict[str, Any]:
        for run in self.runs.values():
            if _id("Run", run.id) == given["id"]:
                run.stopped = True
        return {"success": True}

    def _update_artifact(self, artifactID: str, **given: Any) -> dict[str, Any]:
        artifact = self.artifacts[artifactID]
        if given.get("metadata"):
            artifact.metadata = json.loads(given["metadata"])
        return {"artifact": self._artifact(artifact)}

    def _create_run_files(self, runName: str, files: list[str], **_: Any) -> dict[str, Any]:
        run = self.runs[runName]
        made = []
        for name in files:

            def receive(content: bytes, name: str = name) -> None:
                run.files[name] = content

            made.append({"name": name, "uploadUrl": self._upload_url(receive)})
        return {"runID": _id("Run", run.id), "uploadHeaders": [], "files": made}

    def _project(self, name: str | None = None, entityName: str | None = None) -> dict[str, Any]:
        runs = [run for run in self.runs.values() if run.project == name]

        def found(filters: str | None = None, first: int = 50, after: str | None = None, **_: Any) -> dict[str, Any]:
            matching = [run for run in runs if _matches(run, json.loads(filters or "{}"))]
            start = int(after or 0)
            page = matching[start : start + (first or 50)]
            end = start + len(page)
            edges = [{"node": self._run(run), "cursor": str(end)} for run in page]
            return {
                "edges": edges,
                "pageInfo": {"__typename": "PageInfo", "endCursor": str(end), "hasNextPage": end < len(matching)},
                "totalCount": len(matching),
            }

        def collection(name: str) -> dict[str, Any]:
            def membership(aliasName: str) -> dict[str, Any] | None:
                artifact = self._named(f"{name}:{aliasName}")
                if artifact is None:
                    return None
                return {"files": lambda **_: _edges(self._files(artifact))}

            return {"__typename": "ArtifactSequence", "name": name, "artifactMembership": membership}

        def membership(name: str) -> dict[str, Any] | None:
            artifact = self._named(name)
            if artifact is None:
                return None
            described = self._artifact(artifact) or {}
            return {
                "__typename": "ArtifactCollectionMembership", "id": artifact.id, "versionIndex": artifact.version,
                "createdAt": _NOW, "aliases": described["aliases"], "artifactCollection": described["artifactSequence"],
                "artifact": described,
            }  # fmt: skip

        def run(name: str, missingOk: bool = False) -> dict[str, Any] | None:
            # A run that the sweep only announced has no process yet, so it is not there to be resumed.
            known = self.runs.get(name)
            return self._run(known) if known is not None and known.starts else None

        return {
            "__typename": "Project",
            "id": _id("Project", str(name)),
            "internalId": "1",
            "name": name,
            "entity": {"id": _id("Entity", ENTITY), "name": entityName or ENTITY},
            "entityName": entityName or ENTITY,
            "readOnly": False,
            "run": run,
            "bucket": run,
            "runs": found,
            "runCount": lambda filters=None: found(filters)["totalCount"],
            "sweep": lambda sweepName: self._sweep(self.sweeps[sweepName]) if sweepName in self.sweeps else None,
            "sweeps": lambda **_: _edges([self._sweep(sweep) for sweep in self.sweeps.values()]),
            "artifact": lambda name, **_: self._artifact(self._named(name)),
            "artifactCollection": collection,
            "artifactCollectionMembership": membership,
            "artifactType": lambda name: {"__typename": "ArtifactType", "id": name, "name": name, "createdAt": _NOW},
        }

    def _run(self, run: Run) -> dict[str, Any]:
        visible = {key: value for key, value in run.config.items() if value is not None}
        return {
            "__typename": "Run",
            "id": _id("Run", run.id),
            "name": run.id,
            "displayName": run.name or run.id,
            "sweepName": run.sweep,
            "state": run.state,
            "group": run.group,
            "jobType": run.job_type,
            "tags": run.tags,
            "notes": run.notes,
            "config": json.dumps(visible),
            "summaryMetrics": json.dumps(run.summary),
            "systemMetrics": "{}",
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "logLineCount": len(run.console),
            "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
            "eventsTail": "[]",
            "historyKeys": None,
            "wandbConfig": json.dumps({"t": run.config.get("_wandb", {}).get("value", {}).get("t", {})}),
            "createdAt": _NOW,
            "heartbeatAt": _NOW,
            "stopped": run.stopped,
            "shouldStop": run.stopped,
            "exitcode": run.exit_code,
            "projectId": "1",
            "readOnly": False,
            "user": {"name": ENTITY, "username": ENTITY},
            "project": {
                "id": _id("Project", run.project),
                "name": run.project,
                "entity": {"id": _id("Entity", run.entity), "name": run.entity},
            },
            "sampledHistory": lambda specs: [[] for _ in specs],
            "history": [json.dumps(row) for row in run.history],
            "inputArtifacts": lambda **_: _edges(
                [self._artifact(found) for name in run.used if (found := self._named(name)) is not None]
            ),
            "outputArtifacts": lambda **_: _edges(
                [self._artifact(each) for each in self.artifacts.values() if each.run == run.id]
            ),
        }

    def _sweep(self, sweep: Sweep) -> dict[str, Any]:
        runs = [self.runs[name] for name in sweep.runs]
        return {
            "__typename": "Sweep",
            "id": _id("Sweep", sweep.id),
            "name": sweep.id,
            "displayName": sweep.config.get("name"),
            "method": sweep.config.get("method"),
            "state": sweep.state,
            "description": sweep.config.get("description"),
            "config": yaml.safe_dump(sweep.config),
            "createdAt": _NOW,
            "runs": _edges([self._run(run) for run in runs]),
            "runCount": len(runs),
            "runCountExpected": len(runs) + len(sweep.waiting),
            "project": self._project(sweep.project, sweep.entity),
        }

    def _artifact(self, artifact: Artifact | None) -> dict[str, Any] | None:
        if artifact is None:
            return None
        sequence = {
            "__typename": "ArtifactSequence",
            "id": _id("Sequence", artifact.collection),
            "name": artifact.collection,
            "project": {
                "id": _id("Project", artifact.project),
                "internalId": "1",
                "name": artifact.project,
                "entity": {"name": artifact.entity},
            },
        }
        versions = [
            each
            for each in self.artifacts.values()
            if each.collection == artifact.collection and each.state == "COMMITTED"
        ]
        latest = {"id": versions[-1].id, "versionIndex": versions[-1].version} if versions else None
        blob = artifact.manifest.get("blob")
        return {
            "__typename": "Artifact",
            "id": artifact.id,
            "artifactSequence": {**sequence, "latestArtifact": latest},
            "artifactType": {"name": artifact.type},
            "versionIndex": artifact.version,
            "description": artifact.description,
            "metadata": json.dumps(artifact.metadata),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "state": artifact.state,
            "size": sum(map(len, artifact.files.values())),
            "digest": artifact.digest,
            "fileCount": len(artifact.files),
            "createdAt": _NOW,
            "updatedAt": _NOW,
            "aliases": [
                {"__typename": "ArtifactAlias", "id": alias, "alias": alias, "artifactCollection": sequence}
                for alias in artifact.aliases
            ],
            "currentManifest": {"file": {"directUrl": f"{self.url}/storage/{blob}"}} if blob else None,
            "files": lambda **_: _edges(self._files(artifact)),
            "filesByManifestEntries": lambda entries, **_: _edges(
                [{"name": name, **self._direct(artifact, name)} for name in (each["storagePath"] for each in entries)]
            ),
        }

    def _files(self, artifact: Artifact) -> list[dict[str, Any]]:
        return [
            {
                "__typename": "File",
                "id": _id("File", name),
                "name": name,
                "displayName": name,
                **self._direct(artifact, name),
            }
            for name in artifact.files
        ]

    def _direct(self, artifact: Artifact, name: str) -> dict[str, Any]:
        digest = hashlib.md5(artifact.files[name]).hexdigest()  # noqa: S324
        return {"directUrl": f"{self.url}/storage/{digest}", "sizeBytes": len(artifact.files[name]), "digest": digest}


def grid(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The cells of a grid as the real service hands them out: names sorted, the last one varying fastest."""
    names = sorted(parameters)
    choices = [parameters[name].get("values", [parameters[name].get("value")]) for name in names]
    for values in itertools.product(*choices):
        yield dict(zip(names, values, strict=True))


def _matches(run: Run, filters: dict[str, Any]) -> bool:
    """Whether a run passes a filter of the public API's query language, as far as it is used."""
    plain = {
        "name": run.id, "displayName": run.name, "display_name": run.name, "state": run.state, "group": run.group,
        "jobType": run.job_type, "sweep": run.sweep, "tags": run.tags,
    }  # fmt: skip
    for key, wanted in filters.items():
        if key in ("$and", "$or"):
            if wanted and not (all if key == "$and" else any)(_matches(run, each) for each in wanted):
                return False
            continue
        if key.startswith("config."):
            value = (run.config.get(key.removeprefix("config.").removesuffix(".value")) or {}).get("value")
        else:
            value = plain[key]
        accepted = wanted["$in"] if isinstance(wanted, dict) else [wanted]
        if not any(one == value or (isinstance(value, list) and one in value) for one in accepted):
            return False
    return True


_NOW = "2026-01-01T00:00:00Z"


def _id(kind: str, name: str) -> str:
    return base64.b64encode(f"{kind}:v1:{name}".encode()).decode()


def _edges(nodes: list[Any]) -> dict[str, Any]:
    return {
        "edges": [{"node": node, "cursor": str(number)} for number, node in enumerate(nodes)],
        "pageInfo": {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False},
        "totalCount": len(nodes),
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """Clients that give up are no news."""


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._fails():
            return
        content = self.service.get(urlsplit(self.path).path)
        self._reply(404 if content is None else 200, content or b"", "application/octet-stream")

    def do_PUT(self) -> None:
        content = self._content()
        if self._fails():
            return
        if self.service.fault is Fault.QUOTA:
            self._refuse_storage()
        else:
            self._reply(200 if self.service.put(urlsplit(self.path).path, content) else 404)

    def do_POST(self) -> None:
        content = self._content()
        if self._fails():
            return
        path = urlsplit(self.path).path
        if path == "/sdk/otel/v1/metrics":
            self._json({})
        elif not self._authorized():
            self._json({"errors": [{"message": "user is not logged in"}]}, 401)
        elif path == "/graphql":
            sent = json.loads(content)
            if self.service.fault is Fault.QUOTA and "createArtifact(" in sent["query"]:
                self._refuse_storage()
            else:
                self._graphql(sent["query"], sent.get("variables") or {})
        elif path.endswith("/file_stream"):
            if self.service.fault is Fault.QUOTA:
                self._refuse_storage()
            else:
                self._json(self.service.file_stream(unquote(path.split("/")[-2]), json.loads(content)))
        else:
            self._json({}, 404)

    def _graphql(self, query: str, variables: dict[str, Any]) -> None:
        try:
            self._json(self.service.graphql(query, variables))
        except Exception as error:
            self.service.unknown.append(f"{type(error).__name__}: {error} in {query[:200]}")
            self._json({"errors": [{"message": repr(error)}]}, 400)

    def _fails(self) -> bool:
        fault = self.service.failing()
        if fault is Fault.HANG:
            self.service.hang()
            self.close_connection = True
        elif fault is Fault.GONE:
            self.close_connection = True
        elif fault is Fault.ERROR:
            self._json({"errors": [{"message": "internal error"}]}, 500)
        elif fault is Fault.KEY:
            self._json({"errors": [{"message": "user is not logged in"}]}, 401)
        return fault not in (None, Fault.QUOTA)

    def _authorized(self) -> bool:
        given = self.headers.get("Authorization", "")
        return base64.b64decode(given.partition(" ")[2] or b"").decode() == f"api:{KEY}"

    def _content(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def _refuse_storage(self) -> None:
        self._json({"errors": [{"message": "storage quota exceeded"}]}, 403)

    def _json(self, content: dict[str, Any], status: int = 200) -> None:
        self._reply(status, json.dumps(content).encode(), "application/json")

    def _reply(self, status: int, content: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Tests have logs of their own."""
