"""The only file that speaks supervisord."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ratchet.errors import Refusal
from ratchet.files import replace
from ratchet.fleet import processes
from ratchet.settings import Settings

_STATES = {
    "RUNNING": "running", "STARTING": "starting", "BACKOFF": "starting", "STOPPING": "stopped",
    "STOPPED": "stopped", "EXITED": "starting", "FATAL": "failed", "UNKNOWN": "failed",
}  # fmt: skip
_NOT_RUNNING, _BAD_NAME, _STILL_RUNNING, _SHUTTING_DOWN = 70, 10, 91, 6
"""supervisord's fault codes."""
_LOGGED = 'exec "$@" >> "$0" 2>&1'
MAX_LOG = 10 << 20
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "SSL_CERT_FILE", "SSL_CERT_DIR",
              "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
              "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")  # fmt: skip


@dataclass(frozen=True)
class Program:
    """What supervisord is told to keep alive."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    stop_seconds: int = 10
    retries: int = 5
    priority: int = 500
    """Low ones start first and stop last."""


@dataclass(frozen=True)
class Process:
    name: str
    state: str
    """`running`, `starting`, `stopped` or `failed`."""
    pid: int
    since: float


@dataclass(frozen=True)
class Supervisor:
    settings: Settings

    @property
    def folder(self) -> Path:
        return self.settings.home / "supervisor"

    @property
    def logs(self) -> Path:
        return self.settings.home / "logs"

    @property
    def _socket(self) -> Path:
        # Unix sockets have paths of at most 107 bytes.
        usual = self.folder / "supervisor.sock"
        if len(str(usual).encode()) < 100:
            return usual
        return Path(tempfile.gettempdir()) / f"ratchet-{os.getuid()}-{self.settings.mark}.sock"

    def pid(self) -> int | None:
        """The living supervisord of this home, or None."""
        try:
            pid = int((self.folder / "supervisord.pid").read_text())
            alive = psutil.Process(pid)
            ours = str(self.folder / "supervisord.conf") in alive.cmdline()
            return pid if ours and alive.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None

    def launch(self) -> None:
        """Starts supervisord with no program. Raises Refusal when it does not answer."""
        for folder in (self.folder / "programs", self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # a program's environment may hold the ledger's password
        (self.folder / "supervisord.conf").write_text(self._config())
        environment = {k: os.environ[k] for k in _INHERITED if k in os.environ}
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.folder / "supervisord.conf")],
            env=environment, cwd=self.settings.home, capture_output=True, text=True,
        )  # fmt: skip
        until = time.monotonic() + 20
        while done.returncode == 0 and time.monotonic() < until:
            if self.pid() and self._answers():
                return
            time.sleep(0.1)
        told = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it did not answer in 20 s"]
        raise Refusal(f"supervisord did not start ({told[0]})", self.folder, f"See {self.logs / 'supervisord.log'}")

    def _config(self) -> str:
        return "\n".join([
            "[supervisord]", f"logfile={self.logs}/supervisord.log", "logfile_maxbytes=5MB", "logfile_backups=2",
            f"pidfile={self.folder}/supervisord.pid", f"childlogdir={self.logs}", "umask=077",
            "[unix_http_server]", f"file={self._socket}", "chmod=0700",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]", f"serverurl=unix://{self._socket}",
            "[include]", "files = programs/*.conf", "",
        ]).replace("%", "%%")  # fmt: skip

    def ensure(self, program: Program) -> bool:
        """Makes the program run as described; False where it already did."""
        path, text = self._file(program.name), self._section(program)
        known = {p.name: p for p in self.list()}
        if path.exists() and path.read_text() == text and program.name in known:
            if known[program.name].state in ("running", "starting"):
                return False
            self._call("startProcess", program.name, False)
            return True
        if program.name in known:
            self._forget(program)
        replace(path, text)
        self._call("reloadConfig")
        self._call("addProcessGroup", program.name)
        return True

    def _file(self, name: str) -> Path:
        return self.folder / "programs" / f"{name}.conf"

    def _section(self, program: Program) -> str:
        environment = {**program.environment, processes.MARK: self.settings.mark, processes.PROGRAM: program.name}
        quoted = ",".join(f'{k}="{_quote(v)}"' for k, v in sorted(environment.items()))
        # Each writes its log itself: a pipe to supervisord would break, and its writer with it, when that dies.
        log = str(self.logs / f"{program.name}.log")
        command = " ".join(f'"{_quote(part)}"' for part in ("/bin/sh", "-c", _LOGGED, log, *program.command))
        return "\n".join([
            f"[program:{program.name}]", f"command={command}", f"environment={quoted}",
            f"directory={str(program.directory).replace('%', '%%')}", "autostart=true", "autorestart=true",
            f"priority={program.priority}", f"startretries={program.retries}", "startsecs=2",
            f"stopwaitsecs={program.stop_seconds}",
            "stopasgroup=true", "killasgroup=true", "stdout_logfile=NONE", "stderr_logfile=NONE", "",
        ])  # fmt: skip

    def rotate(self) -> None:
        """Begins the logs anew that have grown over `MAX_LOG` bytes; the old lines stay in `NAME.log.1`."""
        for log in self.logs.glob("*.log"):
            if log.name != "supervisord.log" and log.stat().st_size > MAX_LOG:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)  # its writers append, so they go on at the start

    def _forget(self, program: Program) -> None:
        """Removes it, however long it takes to finish what it has."""
        until = time.monotonic() + program.stop_seconds + 5
        while not self.remove(program.name):
            if time.monotonic() > until:
                raise Refusal("the process does not stop", program.name, "See `ratchet logs supervisord`")
            time.sleep(0.1)

    def remove(self, name: str, wait: bool = True) -> bool:
        """Stops the program and forgets it; whether it is gone. Without `wait`, call again until it is."""
        self.disown(name)
        self._unless_done("stopProcess", name, wait)
        return self._unless_done("removeProcessGroup", name)

    def disown_changed(self, programs: Iterable[Program]) -> None:
        """Does not start, the next time, what it was told otherwise of; who wants it tells of it anew."""
        for program in programs:
            path = self._file(program.name)
            if path.exists() and path.read_text() != self._section(program):
                self.disown(program.name)

    def disown(self, name: str) -> None:
        """Does not start it the next time."""
        self._file(name).unlink(missing_ok=True)

    def _unless_done(self, method: str, *arguments: Any) -> bool:
        """Calls; False where the process still runs. What is already as asked is no fault."""
        try:
            self._call(method, *arguments)
        except Refusal as refusal:
            if f"({_STILL_RUNNING} " in refusal.what:
                return False
            if not any(f"({code} " in refusal.what for code in (_NOT_RUNNING, _BAD_NAME)):
                raise
        return True

    def list(self) -> list[Process]:
        """Every program and its state; empty where no supervisord lives."""
        if not self.pid():
            return []
        return [
            Process(p["name"], _STATES[p["statename"]], int(p["pid"]), float(p["start"]))
            for p in self._call("getAllProcessInfo")
        ]

    def shutdown(self, seconds: float = 60) -> None:
        """Stops every program and supervisord itself."""
        pid = self.pid()
        if pid is None:
            return
        try:
            self._call("shutdown")
        except Refusal:  # it lives and its socket is gone
            processes.end([psutil.Process(pid)], seconds)
        if not processes.wait_gone(pid, seconds):
            processes.end([psutil.Process(pid)])

    def _answers(self) -> bool:
        try:
            return bool(self._call("getPID"))
        except Refusal:
            return False

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTTING_DOWN:
                raise Refusal("supervisord is stopping everything", self.folder, "Wait for it") from fault
            raise Refusal(
                f"supervisord refused {method} ({fault.faultCode} {fault.faultString})",
                arguments[0] if arguments else "",
                "See `ratchet logs supervisord`",
            ) from fault
        except (OSError, xmlrpc.client.ProtocolError) as error:
            raise Refusal(f"supervisord does not answer ({error})", self._socket, "Run `ratchet up`") from error


def _quote(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
