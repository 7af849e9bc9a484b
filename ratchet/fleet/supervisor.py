"""The only file that uses supervisord."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from ratchet.errors import Refusal
from ratchet.files import replace
from ratchet.fleet import processes
from ratchet.local_http import unusable_proxies
from ratchet.settings import Settings

_STATES = {"RUNNING": "running", "STOPPING": "stopped", "STOPPED": "stopped", "FATAL": "failed", "UNKNOWN": "failed"}
"""Our state for each of supervisord's; in the others it starts the process."""
_NOT_RUNNING, _BAD_NAME, _STILL_RUNNING, _SHUTTING_DOWN = 70, 10, 91, 6
"""supervisord's fault codes."""
_LOGGED = 'echo "ratchet: started at $(date +%s)" >> "$0"; exec "$@" >> "$0" 2>&1'
MAX_LOG = 10 << 20
_ERROR = re.compile(r"^[\w.]+(Error|Exception|Refusal)(:|$)|\balready in use\b")
"""The last line of a Python trace, which says why; or of a server that did not get its port."""
_INHERITED = (
    "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


class _Fault(Refusal):
    """supervisord refused a call; `code` says why."""

    def __init__(self, code: int, what: str, which: object, next: str) -> None:
        super().__init__(what, which, next)
        self.code = code


@dataclass(frozen=True)
class Program:
    """A program that supervisord keeps alive."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    stop_seconds: int = 10
    retries: int = 5
    priority: int = 500
    """Programs with a low priority start first and stop last."""


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
        # The path of a Unix socket has at most 107 bytes.
        usual = self.folder / "supervisor.sock"
        if len(str(usual).encode()) < 100:
            return usual
        return Path(tempfile.gettempdir()) / f"ratchet-{os.getuid()}-{self.settings.marker}.sock"

    def pid(self) -> int | None:
        """The living supervisord of this home, or None."""
        try:
            pid = int((self.folder / "supervisord.pid").read_text(encoding="utf-8"))
            process = psutil.Process(pid)
            ours = str(self.folder / "supervisord.conf") in process.cmdline()
            return pid if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None

    def launch(self) -> None:
        """Starts supervisord with no program. Raises Refusal if it does not answer."""
        for folder in (self.folder / "programs", self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # a program's environment may hold the ledger's password
        config = self.folder / "supervisord.conf"
        config.write_text(self._config(), encoding="utf-8")
        # A worker looks up the `python` of a flow run in PATH, so this environment's comes first.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        inherited = (os.environ.keys() & set(_INHERITED)) - set(unusable_proxies())
        environment = {name: os.environ[name] for name in inherited} | {"PATH": path}
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
        process = subprocess.run(command, env=environment, cwd=self.settings.home, capture_output=True, text=True)
        until = time.monotonic() + 20
        while process.returncode == 0 and time.monotonic() < until:
            if self.pid() and self._answers():
                return
            time.sleep(0.1)
        errors = [line for line in (process.stderr or process.stdout).splitlines() if line.startswith("Error")]
        last = (process.stderr or process.stdout).strip().splitlines()[-1:] if process.returncode else []
        reason = [*errors, *last, "it did not answer in 20 s"][0]
        what = f"supervisord did not start ({reason})"
        raise Refusal(what, self.folder, f"See {self.logs / 'supervisord.log'}")

    def _config(self) -> str:
        lines = [
            "[supervisord]",
            f"logfile={self.logs}/supervisord.log",
            "logfile_maxbytes=5MB",
            "logfile_backups=2",
            f"pidfile={self.folder}/supervisord.pid",
            f"childlogdir={self.logs}",
            "umask=077",
            "[unix_http_server]",
            f"file={self._socket}",
            "chmod=0700",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            f"serverurl=unix://{self._socket}",
            "[include]",
            "files = programs/*.conf",
            "",
        ]
        return _file_of([line.replace("%", "%%") for line in lines])

    def ensure(self, program: Program) -> bool:
        """Makes the program run as described; False if it already did."""
        path, text = self._file(program.name), self._section(program)
        current = {process.name: process for process in self.list()}.get(program.name)
        if current and path.exists() and path.read_text(encoding="utf-8") == text:
            if current.state in ("running", "starting"):
                return False
            self._call("startProcess", program.name, False)
            return True
        if current:
            self._remove_and_wait(program)
        replace(path, text)
        self._call("reloadConfig")
        self._call("addProcessGroup", program.name)
        return True

    def _file(self, name: str) -> Path:
        return self.folder / "programs" / f"{name}.conf"

    def _section(self, program: Program) -> str:
        environment = {**program.environment, processes.MARKER: self.settings.marker, processes.PROGRAM: program.name}
        for name, value in (*environment.items(), *(("its command", part) for part in program.command)):
            _require_uncut(name, value)
        variables = ",".join(f'{name}="{_quote(value)}"' for name, value in sorted(environment.items()))
        # Each program writes its own log: a pipe to supervisord would break when that dies, and its writer with it.
        log = str(self.logs / f"{program.name}.log")
        command = " ".join(f'"{_quote(part)}"' for part in ("/bin/sh", "-c", _LOGGED, log, *program.command))
        lines = [
            f"[program:{program.name}]",
            f"command={command}",
            f"environment={variables}",
            f"directory={str(program.directory).replace('%', '%%')}",
            "autostart=true",
            "autorestart=true",
            f"priority={program.priority}",
            f"startretries={program.retries}",
            "startsecs=2",
            f"stopwaitsecs={program.stop_seconds}",
            "stopasgroup=true",
            "killasgroup=true",
            "stdout_logfile=NONE",
            "stderr_logfile=NONE",
            "",
        ]
        return _file_of(lines)

    def log_size(self, name: str) -> int:
        """The bytes in a program's log; 0 if there is none."""
        log = self.logs / f"{name}.log"
        return log.stat().st_size if log.exists() else 0

    def last_error(self, name: str, since: int = 0) -> str:
        """The newest line of a program's log, after its first `since` bytes, that names an error; or nothing."""
        size = self.log_size(name)
        if size <= since:
            return ""
        with (self.logs / f"{name}.log").open("rb") as file:
            file.seek(max(since, size - (64 << 10)))
            lines = file.read().decode(errors="replace").splitlines()
        return next((line.strip()[:300] for line in reversed(_recent(lines)) if _ERROR.search(line)), "")

    def rotate(self) -> None:
        """Truncates the logs that have grown above `MAX_LOG` bytes; the old lines are kept in `NAME.log.1`."""
        for log in self.logs.glob("*.log"):
            if log.name != "supervisord.log" and log.stat().st_size > MAX_LOG:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)  # its writers append, so they continue at the start

    def _remove_and_wait(self, program: Program) -> None:
        until = time.monotonic() + program.stop_seconds + 5
        while not self.remove(program.name):
            if time.monotonic() > until:
                raise Refusal("the process does not stop", program.name, "See `ratchet logs supervisord`")
            time.sleep(0.1)

    def remove(self, name: str, wait: bool = True) -> bool:
        """Stops the program and removes it; whether it is gone. Without `wait`, call it again until it is."""
        self.disown(name)
        self._try("stopProcess", name, wait)
        return self._try("removeProcessGroup", name)

    def disown_changed(self, programs: Iterable[Program]) -> None:
        """Disowns the programs whose description has changed; who needs one describes it again."""
        for program in programs:
            path = self._file(program.name)
            if path.exists() and path.read_text(encoding="utf-8") != self._section(program):
                self.disown(program.name)

    def disown(self, name: str) -> None:
        """Makes the next supervisord not start the program."""
        self._file(name).unlink(missing_ok=True)

    def _try(self, method: str, *arguments: Any) -> bool:
        """Calls the method; False if the process still runs. It is no fault if nothing is left to do."""
        try:
            self._call(method, *arguments)
        except _Fault as fault:
            if fault.code == _STILL_RUNNING:
                return False
            if fault.code not in (_NOT_RUNNING, _BAD_NAME):
                raise
        return True

    def list(self) -> list[Process]:
        """Every program and its state; empty if no supervisord lives."""
        if not self.pid():
            return []
        return [
            Process(info["name"], _STATES.get(info["statename"], "starting"), int(info["pid"]), float(info["start"]))
            for info in self._call("getAllProcessInfo")
        ]

    def shutdown(self, seconds: float = 60) -> None:
        """Stops every program and supervisord itself."""
        pid = self.pid()
        if pid is None:
            return
        try:
            self._call("shutdown")
        except Refusal:  # it lives, and its socket is gone
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
                raise Refusal("supervisord is shutting down", self.folder, "Wait for it") from fault
            what = f"supervisord refused {method} ({fault.faultCode} {fault.faultString})"
            which = arguments[0] if arguments else ""
            raise _Fault(fault.faultCode, what, which, "See `ratchet logs supervisord`") from fault
        except (OSError, xmlrpc.client.ProtocolError) as error:
            raise Refusal(f"supervisord does not answer ({error})", self._socket, "Run `ratchet up`") from error


def _file_of(lines: Sequence[str]) -> str:
    """A configuration file. supervisord has no quotes against a comment, so Refusal is raised for what it would cut."""
    for line in lines:
        setting, _, value = line.partition("=")
        _require_uncut(setting, value)
    return "\n".join(lines)


def _require_uncut(name: str, value: str) -> None:
    """The value is not shown: it may be a password."""
    if cut := re.search(r"\s[#;]|[\r\n]", value):
        what = f"supervisord would cut a value off at {cut.group()!r}"
        raise Refusal(what, name, "Use a home, a checkout and settings without ` #` and ` ;`")


def _quote(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')


_STARTED = re.compile(r"ratchet: started at (\d+)$")
_SHORT_LIFE = 60
"""Seconds; whatever a process that lived longer wrote is not why the next one does not answer."""


def _recent(lines: Sequence[str]) -> Sequence[str]:
    """The lines of a log since its last process started, and of those before it that ended soon. Pure."""
    starts = [(int(match[1]), at) for at, line in enumerate(lines) if (match := _STARTED.search(line))]
    first = starts[-1][1] if starts else 0
    for (before, at), (after, _) in reversed(list(pairwise(starts))):
        if after - before > _SHORT_LIFE:
            break
        first = at
    return lines[first:]
