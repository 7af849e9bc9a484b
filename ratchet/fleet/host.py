"""One host: puts bentos into service under its supervisor, and tells what runs on it.

Knows packages and processes; needs neither Prefect nor MLflow.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from ratchet import files
from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.fleet import processes
from ratchet.fleet.shelf import Fetch, Shelf
from ratchet.fleet.supervisor import Program, Supervisor
from ratchet.local_http import LOCAL
from ratchet.settings import TELEMETRY_OFF, Settings, url_of
from ratchet.words import Arm, Package, from_json, to_json


@dataclass(frozen=True)
class _Kept:
    """An arm as its file tells: the program's name, the package, and the port of its process on each GPU."""

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
    def shelf(self) -> Shelf:
        return Shelf(self.settings)

    @property
    def gpus(self) -> tuple[str, ...]:
        """Those that each arm has a process on; one empty name where it has just one process."""
        if self.settings.gpus or self.settings.device == "cpu":
            return tuple(self.settings.gpus.split(","))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        count = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
        return tuple(visible.split(",")) if visible else tuple(map(str, range(count))) or ("",)

    def start(self, package: Package, fetch: Fetch) -> tuple[int, ...]:
        """Makes the package run under the supervisor, a process on each GPU, and returns the ports.

        Does no more when it does already. A port that something of this home still holds unsupervised
        is freed first. Raises Refusal, before anything is started, where its memory does not fit.
        """
        if self.supervisor.pid() is None:  # before anything is changed: a bento that lives keeps its port
            raise Refusal("no supervisord lives on this host", self.settings.host_name, "Run `ratchet up`")
        folder = self.shelf.unpack(package, fetch)
        with locked(self.settings.home / "arms" / ".lock"):
            kept = self._kept_of(package.recipe, package.arm)
            name = kept.name if kept else f"bento-{package.recipe}-{package.arm}"
            if why := self.no_room(package):
                raise Refusal(why, package.tag, "Raise RATCHET_MEMORY_MB, or add a host with more")
            ports = self._ports(name, kept.ports if kept and kept.package == package else {})
            if kept != _Kept(name, package, ports):
                # One file for all of them: whoever reads it knows how many there are to be.
                files.keep(self._file(name), {"package": to_json(package), "ports": ports})
            for gpu, port in ports.items():
                self.supervisor.ensure(self._described(name, gpu, folder, port, package.memory_mb))
        return tuple(ports.values())

    def programs(self) -> Iterator[Program]:
        """The processes of its arms, as this host's settings describe them now."""
        for kept in self._all():
            folder = self.shelf.folder(kept.package)
            for gpu, port in kept.ports.items():
                yield self._described(kept.name, gpu, folder, port, kept.package.memory_mb)

    def _ports(self, name: str, had: Mapping[str, int]) -> dict[str, int]:
        """A port for each GPU: those that it had, but for dead processes whose port is not to be had again."""
        alive = {p.name for p in self.supervisor.list() if p.state != "failed"}
        lives = any(_program(name, gpu) in alive for gpu in had)
        wanted = tuple(had) if lives else self.gpus  # the setting may have changed; who lives, stays
        ports: dict[str, int] = {}
        for gpu in wanted:
            kept = gpu in had and (_program(name, gpu) in alive or self._usable(had[gpu], name))
            ports[gpu] = had[gpu] if kept else self._free_port(name, {*had.values(), *ports.values()})
        return ports

    def no_room(self, package: Package) -> str:
        """Why the package does not fit into this host's memory beside the others; empty where it does."""
        limit, own = self.settings.memory_mb, (package.recipe, package.arm)
        taken = {k.name: k.package.memory_mb for k in self._all() if (k.package.recipe, k.package.arm) != own}
        if not limit or sum(taken.values()) + package.memory_mb <= limit:
            return ""
        others = ", ".join(f"{other} {mb} MB" for other, mb in taken.items()) or "nothing else"
        return f"it takes {package.memory_mb} MB, and does not fit into {limit} MB beside {others}"

    def crowded(self, package: Package, leaving: Callable[[], Container[tuple[str, str]]]) -> bool:
        """Whether it does not fit before one of those `leaving`, by recipe and arm, has gone; asked where need be."""
        if not self.no_room(package):
            return False
        gone = leaving()
        return any((k.package.recipe, k.package.arm) in gone for k in self._all())

    def stop(self, recipe: str, arm: str, wait: bool = True) -> None:
        """Lets the bento finish what it has and stops it; forgets its port when it is gone.

        Without `wait` it only asks; call again until the arm is no longer listed.
        """
        with locked(self.settings.home / "arms" / ".lock", wait=wait) as had:
            kept = self._kept_of(recipe, arm) if had else None
            if kept is None:
                return
            gone = [self.supervisor.remove(_program(kept.name, gpu), wait) for gpu in kept.ports]
            if all(gone):
                self._forget(kept)

    def _forget(self, kept: _Kept) -> None:
        processes.end(
            p for p in processes.marked(self.settings.mark) if processes.environment(p, "RATCHET_ARM") == kept.name
        )
        for gpu in kept.ports:
            shutil.rmtree(self._scratch(_program(kept.name, gpu)), ignore_errors=True)
        self._file(kept.name).unlink(missing_ok=True)

    def kill(self, arm: Arm) -> None:
        """Ends its master at once; the supervisor starts it again."""
        for pid in arm.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end_orphans(self, arm: Arm) -> None:
        """Ends the processes of an arm that nobody supervises."""
        processes.end(p for p in processes.marked(self.settings.mark) if p.pid in arm.pids)

    def arms(self) -> list[Arm]:
        """Every bento of this host, supervised or not, and whether it is ready to answer."""
        supervised = {p.name: p for p in self.supervisor.list()}
        orphans: dict[tuple[str, str, int], list[int]] = {}
        seen = processes.survey(self.settings.mark, self.supervisor.pid())
        for process in seen.unsupervised():
            if name := processes.environment(process, "RATCHET_ARM"):
                gpu = processes.environment(process, "RATCHET_ARM_GPU") or ""
                port = int(processes.environment(process, "RATCHET_ARM_PORT") or 0)
                orphans.setdefault((name, gpu, port), []).append(process.pid)
        arms = []
        for kept in self._all():
            for gpu, port in kept.ports.items():
                process_of = supervised.get(_program(kept.name, gpu))
                lost = orphans.pop((kept.name, gpu, port), [])
                state = "orphan" if lost else process_of.state if process_of else "stopped"
                pids = tuple(lost) or ((process_of.pid,) if process_of else ())
                arms.append(self._arm(kept.package.recipe, kept.package.arm, gpu, port, state, pids, seen))
        for (name, gpu, port), left in orphans.items():
            # Its file was written anew for another port; recipes may hold a dash, versions do not.
            recipe, arm = name.removeprefix("bento-").rsplit("-v", 1)
            arms.append(self._arm(recipe, f"v{arm}", gpu, port, "orphan", tuple(left), seen))
        return arms

    def _arm(
        self, recipe: str, arm: str, gpu: str, port: int, state: str, pids: tuple[int, ...], seen: processes.Survey
    ) -> Arm:
        ready, fault = self.health(recipe, port) if state in ("running", "starting", "orphan") else (False, "")
        return Arm(recipe, arm, self.settings.host_name, self.settings.address, port, state, ready,
                   since=seen.youngest(pids), fault=fault, pids=pids, gpu=gpu, workers=seen.below(pids))  # fmt: skip

    def url(self, port: int) -> str:
        return url_of(self.settings.address, port)

    def ready(self, port: int) -> bool:
        return self.health("", port)[0]

    def health(self, recipe: str, port: int) -> tuple[bool, str]:
        """Whether it is; and why it never will be, where its service itself says so."""
        try:
            answer = httpx.get(f"{self.url(port)}/v2/health/ready", timeout=0.4, **LOCAL)
            told = answer.json() if answer.status_code == 503 else {}
        except (httpx.HTTPError, ValueError):
            return False, ""
        fault = told.get("error", "") if isinstance(told, dict) and recipe and told.get("which") == recipe else ""
        return answer.status_code == 200, str(fault)

    def fault(self, recipe: str, arm: str) -> str:
        """Why a process of it never will be ready here, where its service says so; asks no more than its ports."""
        kept = self._kept_of(recipe, arm)
        told = (self.health(recipe, port)[1] for port in kept.ports.values()) if kept else ()
        return next(filter(None, told), "")

    def why_not_ready(self, port: int) -> str:
        try:
            answer = httpx.get(f"{self.url(port)}/v2/health/ready", timeout=2, **LOCAL)
            return str(answer.json().get("error", answer.status_code))
        except (httpx.HTTPError, ValueError) as error:
            return f"it does not answer ({type(error).__name__})"

    def _all(self) -> Iterator[_Kept]:
        for path in sorted((self.settings.home / "arms").glob("bento-*.json")):
            # One that is broken must not keep the others from being served; the arm's next start writes it anew.
            if _is_json(path) and (kept := self._kept(path.stem)):
                yield kept

    def _kept_of(self, recipe: str, arm: str) -> _Kept | None:
        # Looked up: Ratchet 0.1 named programs by version alone.
        return next((k for k in self._all() if (k.package.recipe, k.package.arm) == (recipe, arm)), None)

    def _kept(self, name: str) -> _Kept | None:
        data = files.kept(self._file(name))
        if data is None:
            return None
        ports = data["ports"] if "ports" in data else {"": data["port"]}  # of before there were several
        return _Kept(name, from_json(Package, data["package"]), ports)

    def _scratch(self, program: str) -> Path:
        return self.settings.home / "bentoml" / program

    def _file(self, name: str) -> Path:
        return self.settings.home / "arms" / f"{name}.json"

    def _usable(self, port: int, name: str) -> bool:
        """Whether the arm may have this port again. Ends what of this home still holds it without answering.

        One that answers is left to: the gateway may be sending it requests, until the new one is ready.
        """
        if self.ready(port):
            return False
        processes.end(
            p for p in processes.unsupervised(self.settings.mark, self.supervisor.pid())
            if processes.environment(p, "RATCHET_ARM") == name
            and processes.environment(p, "RATCHET_ARM_PORT") == str(port)
        )  # fmt: skip
        return port_is_free(port, self.settings.address)

    def _free_port(self, name: str, but: Iterable[int]) -> int:
        first, last = map(int, self.settings.bento_ports.split("-"))
        taken = {port for other in self._all() if other.name != name for port in other.ports.values()} | set(but)
        ports = list(range(first, last + 1))
        # Hosts of one machine begin at different places, so that two do not take one port at the same moment.
        begin = int(hashlib.sha256(self.settings.host_name.encode()).hexdigest(), 16) % len(ports)
        for port in ports[begin:] + ports[:begin]:
            if port not in taken and port_is_free(port, self.settings.address):
                return port
        raise Refusal("no port is free for a bento", f"RATCHET_BENTO_PORTS={self.settings.bento_ports}", "Widen it")

    def _described(self, name: str, gpu: str, folder: Path, port: int, memory_mb: int) -> Program:
        environment = {
            **TELEMETRY_OFF,
            "RATCHET_ARM": name, "RATCHET_ARM_PORT": str(port), "RATCHET_DEVICE": self.settings.device,
            "RATCHET_MEMORY_MB": str(memory_mb),
            **({"CUDA_VISIBLE_DEVICES": gpu, "RATCHET_ARM_GPU": gpu} if gpu else {}),
            # Of its own: BentoML adds up the metrics of all that share one.
            "BENTOML_HOME": str(self._scratch(_program(name, gpu))), "BENTOML_CONFIG_OPTIONS": "",
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        listen = ("--host", self.settings.address, "--port", str(port))
        command = (sys.executable, "-m", "bentoml", "serve", str(folder), *listen)
        # Longer than the longest request, or the master is killed over its worker's head.
        return Program(_program(name, gpu), command, environment, folder, stop_seconds=40, retries=3)


def _is_json(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError):
        return False


def _program(name: str, gpu: str) -> str:
    """The name of an arm's process on a GPU, under the supervisor."""
    return f"{name}.{gpu}" if gpu else name


def port_is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server may listen there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError):
            return False
    return True
