"""One host: runs bentos under its supervisor, and lists what runs on it.

It knows packages and processes, and needs neither Prefect nor MLflow.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil

from ratchet import files
from ratchet.endpoints import READY
from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.fleet import processes
from ratchet.fleet.package_cache import Fetch, PackageCache
from ratchet.fleet.supervisor import Program, Supervisor
from ratchet.local_http import LOCAL
from ratchet.scratch import outside
from ratchet.settings import TELEMETRY_OFF, Settings, url_of
from ratchet.types import Endpoint, Package, from_json, to_json

_REVISION, _PORT, _GPU = "RATCHET_PRIVATE_REVISION", "RATCHET_PRIVATE_PORT", "RATCHET_PRIVATE_GPU"
"""Variables in the environment of a bento's processes that say what it serves, and where."""


@dataclass(frozen=True)
class _Placement:
    """A revision that was started here: its program's name, its package, and its port for each GPU."""

    name: str
    package: Package
    ports: Mapping[str, int]


@dataclass(frozen=True)
class Host:
    settings: Settings

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.settings)

    @property
    def packages(self) -> PackageCache:
        return PackageCache(self.settings)

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs on which each revision has a process; one empty name if it has a single process."""
        if self.settings.gpus or self.settings.device == "cpu":
            return tuple(self.settings.gpus.split(","))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if visible:
            return tuple(visible.split(","))
        count = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
        return tuple(map(str, range(count))) or ("",)

    def start(self, package: Package, fetch: Fetch) -> tuple[int, ...]:
        """Runs the package under the supervisor, with one process per GPU, and returns the ports.

        It does nothing if the package runs already. A port that an unsupervised process of this home still holds is
        freed first. Raises Refusal before anything is started if there is too little memory.
        """
        if self.supervisor.pid() is None:  # checked before anything changes: a living bento keeps its port
            raise Refusal("no supervisord runs on this host", self.settings.host_name, "Run `ratchet up`")
        folder = self.packages.unpack(package, fetch)
        with locked(self.settings.home / "revisions" / ".lock"):
            name = _name(package.recipe, package.revision)
            placement = self._load(name)
            if why := self.why_no_room(package):
                raise Refusal(why, package.tag, "Raise RATCHET_MEMORY_MB, or add a host with more memory")
            ports = self._ports(name, placement.ports if placement and placement.package == package else {})
            if placement != _Placement(name, package, ports):
                # One file for all processes: its reader knows how many there should be.
                files.save(self._file(name), {"package": to_json(package), "ports": ports})
            for gpu, port in ports.items():
                self._sockets(_program_name(name, gpu)).mkdir(exist_ok=True)
                self.supervisor.ensure(self._program(name, gpu, folder, port, package))
        return tuple(ports.values())

    def programs(self) -> Iterator[Program]:
        """The processes of its revisions as this host's settings describe them now."""
        for placement in self._placements():
            folder = self.packages.folder(placement.package)
            for gpu, port in placement.ports.items():
                yield self._program(placement.name, gpu, folder, port, placement.package)

    def _ports(self, name: str, previous: Mapping[str, int]) -> dict[str, int]:
        """A port for each GPU: the previous one, unless its process is dead and the port is taken."""
        alive = {process.name for process in self.supervisor.list() if process.state != "failed"}
        lives = any(_program_name(name, gpu) in alive for gpu in previous)
        gpus = tuple(previous) if lives else self.gpus  # a living revision stays where it is if the setting changed
        ports: dict[str, int] = {}
        for gpu in gpus:
            keeps = gpu in previous and (_program_name(name, gpu) in alive or self._reclaimable(previous[gpu], name))
            ports[gpu] = previous[gpu] if keeps else self._free_port(name, {*previous.values(), *ports.values()})
        return ports

    def why_no_room(self, package: Package) -> str:
        """Why the package does not fit into this host's memory beside the others; empty if it does."""
        limit, own = self.settings.memory_mb, _name(package.recipe, package.revision)
        taken = {p.name: p.package.memory_mb for p in self._placements() if p.name != own}
        if not limit or sum(taken.values()) + package.memory_mb <= limit:
            return ""
        others = ", ".join(f"{name} {mb} MB" for name, mb in taken.items()) or "nothing else"
        return f"it needs {package.memory_mb} MB, which do not fit into {limit} MB beside {others}"

    def must_wait_for_room(self, package: Package, leaving: Callable[[], Container[tuple[str, str]]]) -> bool:
        """Whether the package fits only after a revision that is draining, by recipe and name, has gone."""
        if not self.why_no_room(package):
            return False
        draining = leaving()
        return any((p.package.recipe, p.package.revision) in draining for p in self._placements())

    def stop(self, recipe: str, revision: str, wait: bool = True) -> None:
        """Lets the bento finish its requests and stops it; forgets its ports when it is gone.

        Without `wait` it only asks the supervisor; call it again until the revision is no longer listed.
        """
        with locked(self.settings.home / "revisions" / ".lock", wait=wait) as acquired:
            placement = self._load(_name(recipe, revision)) if acquired else None
            if placement is None:
                return
            programs = [_program_name(placement.name, gpu) for gpu in placement.ports]
            gone = [self.supervisor.remove(program, wait) for program in programs]
            if all(gone):
                processes.end(p for p in self._marked() if processes.environment(p, _REVISION) == placement.name)
                for program in programs:
                    for scratch in (self._scratch(program), self._sockets(program)):
                        shutil.rmtree(scratch, ignore_errors=True)
                self._file(placement.name).unlink(missing_ok=True)

    def _marked(self) -> Iterable[psutil.Process]:
        return processes.marked(self.settings.marker)

    def kill(self, endpoint: Endpoint) -> None:
        """Kills its master; the supervisor starts it again."""
        for pid in endpoint.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end_orphans(self, endpoint: Endpoint) -> None:
        """Ends the unsupervised processes of an endpoint."""
        processes.end(p for p in self._marked() if p.pid in endpoint.pids)

    def endpoints(self) -> list[Endpoint]:
        """Every bento of this host, supervised or not, and whether it is ready."""
        supervised = {process.name: process for process in self.supervisor.list()}
        survey = processes.survey(self.settings.marker, self.supervisor.pid())
        orphans: dict[tuple[str, str, int], list[int]] = {}
        for process in survey.unsupervised():
            if name := processes.environment(process, _REVISION):
                gpu = processes.environment(process, _GPU) or ""
                port = int(processes.environment(process, _PORT) or 0)
                orphans.setdefault((name, gpu, port), []).append(process.pid)
        endpoints, here = [], (self.settings.host_name, self.settings.address)
        for placement in self._placements():
            recipe, revision = placement.package.recipe, placement.package.revision
            for gpu, port in placement.ports.items():
                program = supervised.get(_program_name(placement.name, gpu))
                lost = orphans.pop((placement.name, gpu, port), [])
                state = "orphan" if lost else program.state if program else "stopped"
                pids = tuple(lost) or ((program.pid,) if program else ())
                endpoints.append(Endpoint(recipe, revision, *here, port, state, False, pids=pids, gpu=gpu))
        for (name, gpu, port), lost in orphans.items():
            # Its file was written again for another port. A recipe's name may hold a hyphen, a version may not.
            recipe, _, suffix = name.removeprefix("bento-").rpartition("-v")
            endpoints.append(Endpoint(recipe, f"v{suffix}", *here, port, "orphan", False, pids=tuple(lost), gpu=gpu))
        return [self._observed(endpoint, survey) for endpoint in endpoints]

    def _observed(self, endpoint: Endpoint, survey: processes.Survey) -> Endpoint:
        """The endpoint with what its processes show."""
        alive, pids = endpoint.state in ("running", "starting", "orphan"), endpoint.pids
        ready, fault = self.health(endpoint.recipe, endpoint.port) if alive else (False, "")
        since, workers = survey.youngest(pids), survey.descendants(pids)
        return replace(endpoint, ready=ready, fault=fault, since=since, workers=workers)

    def url(self, port: int) -> str:
        return url_of(self.settings.address, port)

    def health(self, recipe: str, port: int) -> tuple[bool, str]:
        """Whether the bento is ready, and the fault that its service reports if it never will be."""
        try:
            response = httpx.get(f"{self.url(port)}{READY}", timeout=0.4, **LOCAL)
            body = response.json() if response.status_code == 503 else {}
        except (httpx.HTTPError, ValueError):
            return False, ""
        fault = body.get("error", "") if isinstance(body, dict) and recipe and body.get("which") == recipe else ""
        return response.status_code == 200, str(fault)

    def fault(self, recipe: str, revision: str) -> str:
        """The fault that one of its processes here reports; only its own ports are read."""
        placement = self._load(_name(recipe, revision))
        faults = (self.health(recipe, port)[1] for port in placement.ports.values()) if placement else ()
        return next(filter(None, faults), "")

    def _placements(self) -> Iterator[_Placement]:
        for path in sorted((self.settings.home / "revisions").glob("bento-*.json")):
            # A broken file must not keep the others from being served; the next start of its revision replaces it.
            if _is_json(path) and (placement := self._load(path.stem)):
                yield placement

    def _load(self, name: str) -> _Placement | None:
        path = self._file(name)
        data = files.load(path) if _is_json(path) else None
        return _Placement(name, from_json(Package, data["package"]), data["ports"]) if data else None

    def _scratch(self, program: str) -> Path:
        return self.settings.home / "bentoml" / program

    def _sockets(self, program: str) -> Path:
        return outside(self.settings) / hashlib.sha256(program.encode()).hexdigest()[:12]

    def _file(self, name: str) -> Path:
        return self.settings.home / "revisions" / f"{name}.json"

    def _reclaimable(self, port: int, name: str) -> bool:
        """Whether the revision can have this port again; ends its own process there if that does not answer.

        A process that answers keeps the port: the gateway may send it requests until the new one is ready.
        """
        if self.health("", port)[0]:
            return False
        processes.end(
            process
            for process in processes.unsupervised(self.settings.marker, self.supervisor.pid())
            if processes.environment(process, _REVISION) == name and processes.environment(process, _PORT) == str(port)
        )
        return port_is_free(port, self.settings.address)

    def _free_port(self, name: str, excluded: Iterable[int]) -> int:
        first, last = map(int, self.settings.bento_ports.split("-"))
        taken = {port for p in self._placements() if p.name != name for port in p.ports.values()} | set(excluded)
        ports = list(range(first, last + 1))
        # Hosts on one machine start at different ports, so that two do not take the same one at the same moment.
        start = int(hashlib.sha256(self.settings.host_name.encode()).hexdigest(), 16) % len(ports)
        for port in ports[start:] + ports[:start]:
            if port not in taken and port_is_free(port, self.settings.address):
                return port
        raise Refusal("no port is free for a bento", f"RATCHET_BENTO_PORTS={self.settings.bento_ports}", "Widen it")

    def _program(self, name: str, gpu: str, folder: Path, port: int, package: Package) -> Program:
        program = _program_name(name, gpu)
        environment = {
            **TELEMETRY_OFF,
            _REVISION: name,
            _PORT: str(port),
            "RATCHET_DEVICE": self.settings.device,
            "RATCHET_MEMORY_MB": str(package.memory_mb),
            "RATCHET_LOG": str(self.settings.home / "predictions" / package.recipe) if self.settings.log_mb else "",
            "RATCHET_LOG_MB": str(self.settings.log_mb),
            "BENTOML_HOME": str(self._scratch(program)),  # BentoML adds up the metrics of all that share a home
            "BENTOML_CONFIG_OPTIONS": "",
            "TMPDIR": str(self._sockets(program)),  # a killed bento leaves its sockets
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        if gpu:
            environment |= {"CUDA_VISIBLE_DEVICES": gpu, _GPU: gpu}
        listen = ("--host", self.settings.address, "--port", str(port))
        command = (sys.executable, "-m", "bentoml", "serve", str(folder), *listen)
        # Longer than the longest request, or the master is killed and orphans its worker.
        return Program(program, command, environment, folder, stop_seconds=40, retries=3)


def is_bento(process: psutil.Process) -> bool:
    return processes.environment(process, _REVISION) is not None


def _is_json(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError):
        return False


def _name(recipe: str, revision: str) -> str:
    """The name of a revision among the supervisor's programs."""
    return f"bento-{recipe}-{revision}"


def _program_name(name: str, gpu: str) -> str:
    """The name of a revision's process on a GPU, under the supervisor."""
    return f"{name}.{gpu}" if gpu else name


def port_is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server can listen there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as socket_:
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            socket_.bind((address, port))
        except (OSError, OverflowError):
            return False
    return True
