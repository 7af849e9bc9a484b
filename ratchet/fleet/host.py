"""One host: puts bentos into service under its supervisor, and tells what runs on it.

Knows packages and processes; needs neither Prefect nor MLflow.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import sys
from collections.abc import Iterator
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
from ratchet.settings import TELEMETRY_OFF, Settings
from ratchet.words import Arm, Package, from_json, to_json


@dataclass(frozen=True)
class Host:
    settings: Settings

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.settings)

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.settings)

    def start(self, package: Package, fetch: Fetch) -> tuple[str, int]:
        """Makes the package run under the supervisor, and returns where; does no more when it does already.

        A port that something of this home still holds unsupervised is freed first.
        """
        if self.supervisor.pid() is None:  # before anything is changed: a bento that lives keeps its port
            raise Refusal("no supervisord lives on this host", self.settings.host_name, "Run `ratchet up`")
        folder = self.shelf.unpack(package, fetch)
        with locked(self.settings.home / "arms" / ".lock"):
            name = self._program_of(package.recipe, package.arm) or f"bento-{package.recipe}-{package.arm}"
            kept = self._kept(name)
            running = next((p for p in self.supervisor.list() if p.name == name), None)
            dead = running is None or running.state == "failed"
            if kept is None or kept[0] != package or (dead and not self._usable(kept[1], name)):
                kept = (package, self._free_port(name))
                files.keep(self._file(name), {"package": to_json(package), "port": kept[1]})
            self.supervisor.ensure(self._program(name, folder, kept[1]))
        return self.settings.address, kept[1]

    def stop(self, recipe: str, arm: str, wait: bool = True) -> None:
        """Lets the bento finish what it has and stops it; forgets its port when it is gone.

        Without `wait` it only asks; call again until the arm is no longer listed.
        """
        with locked(self.settings.home / "arms" / ".lock", wait=wait) as had:
            if had and (name := self._program_of(recipe, arm)) and self.supervisor.remove(name, wait):
                self._forget(name)

    def _forget(self, name: str) -> None:
        processes.end(
            p for p in processes.marked(self.settings.mark) if processes.environment(p, "RATCHET_ARM") == name
        )
        shutil.rmtree(self._scratch(name), ignore_errors=True)
        self._file(name).unlink(missing_ok=True)

    def end_orphans(self, arm: Arm) -> None:
        """Ends the processes of an arm that nobody supervises."""
        processes.end(p for p in processes.marked(self.settings.mark) if p.pid in arm.pids)

    def arms(self) -> list[Arm]:
        """Every bento of this host, supervised or not, and whether it is ready to answer."""
        supervised = {p.name: p for p in self.supervisor.list()}
        orphans: dict[tuple[str, int], list[int]] = {}
        seen = processes.survey(self.settings.mark, self.supervisor.pid())
        for process in seen.unsupervised():
            if name := processes.environment(process, "RATCHET_ARM"):
                port = int(processes.environment(process, "RATCHET_ARM_PORT") or 0)
                orphans.setdefault((name, port), []).append(process.pid)
        arms = []
        for name, package, port in self._all():
            process_of = supervised.get(name)
            lost = orphans.pop((name, port), [])
            state = "orphan" if lost else process_of.state if process_of else "stopped"
            pids = tuple(lost) or ((process_of.pid,) if process_of else ())
            arms.append(self._arm(package.recipe, package.arm, port, state, pids, seen))
        for (name, port), left in orphans.items():
            # Its file was written anew for another port; recipes may hold a dash, versions do not.
            recipe, arm = name.removeprefix("bento-").rsplit("-v", 1)
            arms.append(self._arm(recipe, f"v{arm}", port, "orphan", tuple(left), seen))
        return arms

    def _arm(self, recipe: str, arm: str, port: int, state: str, pids: tuple[int, ...], seen: processes.Survey) -> Arm:
        ready = state in ("running", "starting", "orphan") and self.ready(port)
        return Arm(recipe, arm, self.settings.host_name, self.settings.address, port, state, ready,
                   since=seen.youngest(pids), pids=pids)  # fmt: skip

    def url(self, port: int) -> str:
        return f"http://{self.settings.address}:{port}"

    def ready(self, port: int) -> bool:
        try:
            return httpx.get(f"{self.url(port)}/v2/health/ready", timeout=0.4, **LOCAL).status_code == 200
        except httpx.HTTPError:
            return False

    def why_not_ready(self, port: int) -> str:
        try:
            answer = httpx.get(f"{self.url(port)}/v2/health/ready", timeout=2, **LOCAL)
            return str(answer.json().get("error", answer.status_code))
        except (httpx.HTTPError, ValueError) as error:
            return f"it does not answer ({type(error).__name__})"

    def _all(self) -> Iterator[tuple[str, Package, int]]:
        """The program's name, package and port of each arm."""
        for path in sorted((self.settings.home / "arms").glob("bento-*.json")):
            if kept := self._kept(path.stem):
                yield path.stem, *kept

    def _program_of(self, recipe: str, arm: str) -> str | None:
        # Looked up: Ratchet 0.1 named programs by version alone.
        return next((name for name, p, _ in self._all() if (p.recipe, p.arm) == (recipe, arm)), None)

    def _kept(self, name: str) -> tuple[Package, int] | None:
        data = files.kept(self._file(name))
        return None if data is None else (from_json(Package, data["package"]), int(data["port"]))

    def _scratch(self, name: str) -> Path:
        return self.settings.home / "bentoml" / name

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

    def _free_port(self, name: str) -> int:
        first, last = map(int, self.settings.bento_ports.split("-"))
        taken = {port for other, _, port in self._all() if other != name}
        ports = list(range(first, last + 1))
        # Hosts of one machine begin at different places, so that two do not take one port at the same moment.
        begin = int(hashlib.sha256(self.settings.host_name.encode()).hexdigest(), 16) % len(ports)
        for port in ports[begin:] + ports[:begin]:
            if port not in taken and port_is_free(port, self.settings.address):
                return port
        raise Refusal("no port is free for a bento", f"RATCHET_BENTO_PORTS={self.settings.bento_ports}", "Widen it")

    def _program(self, name: str, folder: Path, port: int) -> Program:
        environment = {
            **TELEMETRY_OFF,
            "RATCHET_ARM": name, "RATCHET_ARM_PORT": str(port), "RATCHET_DEVICE": self.settings.device,
            # Of its own: BentoML adds up the metrics of all that share one.
            "BENTOML_HOME": str(self._scratch(name)), "BENTOML_CONFIG_OPTIONS": "",
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        listen = ("--host", self.settings.address, "--port", str(port))
        command = (sys.executable, "-m", "bentoml", "serve", str(folder), *listen)
        # Longer than the longest request, or the master is killed over its worker's head.
        return Program(name, command, environment, folder, stop_seconds=40, retries=3)


def port_is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server may listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError):
            return False
    return True
