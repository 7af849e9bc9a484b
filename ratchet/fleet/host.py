"""One host: puts bentos into service under its supervisor, and tells what runs on it.

Knows packages and processes; needs neither Prefect nor MLflow.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from ratchet import files
from ratchet.errors import Refusal
from ratchet.files import locked, replace_link, sha256
from ratchet.fleet import processes
from ratchet.fleet.supervisor import Program, Supervisor
from ratchet.local_http import LOCAL
from ratchet.settings import TELEMETRY_OFF, Settings
from ratchet.words import Arm, Package, from_json, to_json

MAX_BENTO = 2 << 30
"""Bytes that a bento may unpack to."""

Fetch = Callable[[Package, Path], None]
"""Writes a package's `.bento` to a path."""


def arm_name(recipe: str, version: str) -> str:
    return f"bento-{recipe}-v{version}"


@dataclass(frozen=True)
class Host:
    settings: Settings

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.settings)

    def folder(self, package: Package) -> Path:
        """Where the unpacked bento lies; named by version and digest, so it never means two things."""
        return self.settings.home / "bentos" / package.recipe / f"v{package.version}-{package.digest[:12]}"

    def unpack(self, package: Package, fetch: Fetch) -> Path:
        """The unpacked bento, fetched where it is not here yet, its digest checked.

        Raises Refusal when the bytes are not those of the digest, or unpack to anything but files.
        """
        folder = self.folder(package)
        packed = folder.with_suffix(".bento")
        with locked(folder.parent / ".lock"):
            if packed.exists() and sha256(packed) != package.digest:
                packed.unlink()
                shutil.rmtree(folder, ignore_errors=True)
            if not packed.exists():
                part = packed.with_suffix(".part")
                fetch(package, part)
                if (got := sha256(part)) != package.digest:
                    part.unlink()
                    raise Refusal(
                        f"its SHA-256 is {got[:16]}…, not {package.digest[:16]}…",
                        package.tag,
                        "The package was changed on its way; build and release it anew",
                    )
                part.replace(packed)
            if not (folder / "bento.yaml").exists():
                _extract(packed, folder)
            self._answer_to_relative(folder)
        return folder

    def _answer_to_relative(self, folder: Path) -> None:
        """`bentoml serve .ratchet/bentos/<recipe>/current` works, from where the home lies.

        BentoML (1.4) looks for a relative path below itself, so there must be something.
        """
        itself = folder / self.settings.home.name / "bentos" / folder.parent.name / "current"
        if not itself.is_symlink():
            itself.parent.mkdir(parents=True, exist_ok=True)
            replace_link(itself, os.path.relpath(folder, itself.parent))

    def start(self, package: Package, fetch: Fetch) -> Arm:
        """Makes the package run under the supervisor; does no more when it does already.

        A port that something of this home still holds unsupervised is freed first.
        """
        if self.supervisor.pid() is None:  # before anything is changed: a bento that lives keeps its port
            raise Refusal("no supervisord lives on this host", self.settings.host_name, "Run `ratchet up`")
        folder = self.unpack(package, fetch)
        name = arm_name(package.recipe, package.version)
        with locked(self.settings.home / "arms" / ".lock"):
            kept = self._kept(name)
            running = next((p for p in self.supervisor.list() if p.name == name), None)
            dead = running is None or running.state == "failed"
            if kept is None or kept[0] != package or (dead and not self._usable(kept[1], name)):
                kept = (package, self._free_port(name))
                files.keep(self._arm(name), {"package": to_json(package), "port": kept[1]})
            self.supervisor.ensure(self._program(name, folder, kept[1]))
        return next(
            a for a in self.arms() if a.version == package.version and a.recipe == package.recipe and a.port == kept[1]
        )

    def stop(self, recipe: str, version: str, wait: bool = True) -> None:
        """Lets the bento finish what it has and stops it; forgets its port when it is gone.

        Without `wait` it only asks; call again until the arm is no longer listed.
        """
        name = arm_name(recipe, version)
        if not self.supervisor.remove(name, wait):
            return
        processes.end(
            p for p in processes.marked(self.settings.mark) if processes.environment(p, "RATCHET_ARM") == name
        )
        self._arm(name).unlink(missing_ok=True)

    def end_orphans(self, arm: Arm) -> None:
        """Ends the processes of an arm that nobody supervises."""
        processes.end(p for p in processes.marked(self.settings.mark) if p.pid in arm.pids)

    def point_current(self, package: Package) -> None:
        """`bentos/<recipe>/current` is what `bentoml serve` takes; it follows the champion."""
        folder = self.folder(package)
        link = folder.parent / "current"
        if folder.exists() and not (link.is_symlink() and link.readlink() == Path(folder.name)):
            replace_link(link, folder.name)

    def arms(self) -> list[Arm]:
        """Every bento of this host, supervised or not, and whether it is ready to answer."""
        supervised = {p.name: p for p in self.supervisor.list()}
        orphans: dict[tuple[str, int], list[int]] = {}
        for process in self._unsupervised():
            if name := processes.environment(process, "RATCHET_ARM"):
                port = int(processes.environment(process, "RATCHET_ARM_PORT") or 0)
                orphans.setdefault((name, port), []).append(process.pid)
        arms = []
        for path in sorted((self.settings.home / "arms").glob("bento-*.json")):
            if (kept := self._kept(path.stem)) is None:
                continue
            package, port = kept
            process_of = supervised.get(path.stem)
            lost = orphans.pop((path.stem, port), [])
            state = "orphan" if lost else process_of.state if process_of else "stopped"
            pids = tuple(lost) or ((process_of.pid,) if process_of else ())
            ready = state in ("running", "starting", "orphan") and self.ready(port)
            arms.append(
                Arm(package.recipe, package.version, package.digest, package.tag, "127.0.0.1", port, state, ready, pids)
            )
        for (name, port), left in orphans.items():
            recipe, version = name.removeprefix("bento-").rsplit("-v", 1)
            arms.append(Arm(recipe, version, "", name, "127.0.0.1", port, "orphan", self.ready(port), tuple(left)))
        return arms

    def _unsupervised(self) -> list[psutil.Process]:
        return processes.unsupervised(self.settings.mark, self.supervisor.pid())

    def ready(self, port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=0.4, **LOCAL).status_code == 200
        except httpx.HTTPError:
            return False

    def why_not_ready(self, port: int) -> str:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2, **LOCAL)
            return str(answer.json().get("error", answer.status_code))
        except (httpx.HTTPError, ValueError) as error:
            return f"it does not answer ({type(error).__name__})"

    def _kept(self, name: str) -> tuple[Package, int] | None:
        data = files.kept(self._arm(name))
        return None if data is None else (from_json(Package, data["package"]), int(data["port"]))

    def _arm(self, name: str) -> Path:
        return self.settings.home / "arms" / f"{name}.json"

    def _usable(self, port: int, name: str) -> bool:
        """Whether the arm may have this port again. Ends what of this home still holds it without answering.

        One that answers is left to: the gateway may be sending it requests, until the new one is ready.
        """
        if self.ready(port):
            return False
        processes.end(
            p for p in self._unsupervised()
            if processes.environment(p, "RATCHET_ARM") == name
            and processes.environment(p, "RATCHET_ARM_PORT") == str(port)
        )  # fmt: skip
        return port_is_free(port)

    def _free_port(self, name: str) -> int:
        first, last = map(int, self.settings.bento_ports.split("-"))
        taken = {
            kept[1] for p in (self.settings.home / "arms").glob("bento-*.json")
            if p.stem != name and (kept := self._kept(p.stem))
        }  # fmt: skip
        for port in range(first, last + 1):
            if port not in taken and port_is_free(port):
                return port
        raise Refusal("no port is free for a bento", f"RATCHET_BENTO_PORTS={self.settings.bento_ports}", "Widen it")

    def _program(self, name: str, folder: Path, port: int) -> Program:
        environment = {
            **TELEMETRY_OFF,
            "RATCHET_ARM": name, "RATCHET_ARM_PORT": str(port), "RATCHET_DEVICE": self.settings.device,
            "BENTOML_HOME": str(self.settings.home / "bentoml"), "BENTOML_CONFIG_OPTIONS": "",
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = (sys.executable, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port))
        # Longer than the longest request, or the master is killed over its worker's head.
        return Program(name, command, environment, folder, stop_seconds=40, retries=3)


def port_is_free(port: int) -> bool:
    """Whether a server may listen there, on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def _extract_one(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """A file or a folder below `folder`, and nothing else. (`filter="data"` is not in Python 3.11.2.)"""
    path = folder / member.name
    if os.path.isabs(member.name) or ".." in Path(member.name).parts or not (member.isfile() or member.isdir()):
        raise Refusal("the bento holds what is neither a file nor a folder of it", member.name, "Build it anew")
    (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
    if member.isfile() and (opened := archive.extractfile(member)):
        with opened, path.open("wb") as file:
            shutil.copyfileobj(opened, file)


def _extract(packed: Path, folder: Path) -> None:
    part = folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with tarfile.open(packed) as archive:
            size = 0
            for member in archive:
                size += member.size
                if size > MAX_BENTO:
                    raise Refusal(f"it unpacks to more than {MAX_BENTO >> 20} MB", packed, "Build a smaller one")
                _extract_one(archive, member, part)
    except (tarfile.TarError, OSError) as error:
        raise Refusal(f"the bento cannot be unpacked ({error})", packed, "Build and release it anew") from error
    part.replace(folder)
