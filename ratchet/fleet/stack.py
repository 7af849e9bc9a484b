"""One machine's processes: what they are, how they start, whether they are healthy, how they end."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import httpx
import psutil

from ratchet.errors import Refusal
from ratchet.files import kept, locked
from ratchet.fleet import databases, processes
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.host import Host, port_is_free
from ratchet.fleet.supervisor import Program, Supervisor
from ratchet.local_http import LOCAL
from ratchet.settings import TELEMETRY_OFF, Settings

Health = Callable[[], bool]
SERVERS = ("prefect", "mlflow", "envoy", "controller", "agent")
WORKERS = ("worker-cpu", "worker-gpu")
HOST = ("agent", "worker-gpu")
"""What a further host runs."""
_FRESH = 30.0
"""Seconds: a tick may wait for the gateway and for a golden answer."""


@dataclass(frozen=True)
class Stack:
    settings: Settings

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.settings)

    def environment(self) -> dict[str, str]:
        """What every process of the stack, and a command that talks to it, finds in its environment."""
        config, home = self.settings, self.settings.home
        own = {f"RATCHET_{name.upper()}": str(value) for name, value in config.model_dump().items() if value != ""}
        recipes = {k: v for k, v in os.environ.items() if re.fullmatch(r"RATCHET_\w+_DIR", k)}
        direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
        servers = {str(httpx.URL(url).host) for url in (config.prefect_url, config.mlflow_url)}
        proxied = ",".join(filter(None, (direct, "127.0.0.1,localhost", *sorted(servers - {"127.0.0.1"}))))
        return {
            **TELEMETRY_OFF, **recipes, **own, "NO_PROXY": proxied, "no_proxy": proxied,
            "PREFECT_LOGGING_EXTRA_LOGGERS": "ratchet",
            "PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": f"{config.prefect_url}/api",
            "PREFECT_UI_API_URL": f"{config.prefect_url}/api", "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false", "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_CLI_PROMPT": "false", "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "MLFLOW_TRACKING_URI": config.mlflow_url, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "BENTOML_HOME": str(home / "bentoml"),
            "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1", "GIT_PYTHON_REFRESH": "quiet",
        }  # fmt: skip

    def programs(self, names: Collection[str]) -> dict[str, Program]:
        """Of a host only what it runs: it has neither servers nor Envoy."""
        config, home = self.settings, self.settings.home
        python = (sys.executable, "-m")
        worker = (*python, "prefect", "worker", "start", "--type", "process", "-p")
        listen = ("--host", config.servers_listen, "--port")
        commands: dict[str, tuple[str, ...]] = {
            "prefect": (*python, "prefect", "server", "start", *listen, str(config.prefect_port)),
            "mlflow": (
                *python, "mlflow", "server", *listen, str(config.mlflow_port), "--workers", "1", "--serve-artifacts",
                "--artifacts-destination", str(home / "mlflow" / "artifacts"),
            ),
            "worker-cpu": (*worker, "cpu", "-n", f"cpu-{config.host_name}"),
            "worker-gpu": (*worker, "gpu", "-q", config.host_name, "-n", f"gpu-{config.host_name}"),
            "controller": (*python, "releases.controller"),
            "agent": (*python, "releases.agent"),
        }  # fmt: skip
        if "envoy" in names:
            commands["envoy"] = Gateway(config).command()
        # A busy worker does not end on SIGTERM, so waiting for it is in vain.
        patience = {"worker-cpu": 3, "worker-gpu": 3}
        everything = self.environment()
        # Servers know no setting but what their command names, so that another does not start them anew.
        bare = {k: v for k, v in everything.items() if not k.startswith("RATCHET_")}
        named = config.mlflow_url.removeprefix("http://")
        allowed = {"MLFLOW_SERVER_ALLOWED_HOSTS": f"{named},127.0.0.1:*,localhost:*",
                   "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": config.mlflow_url}  # fmt: skip
        told = {
            "prefect": {**bare, **databases.environment(config, "prefect")},
            "mlflow": {**bare, **allowed, **databases.environment(config, "mlflow")},
            "envoy": {"RATCHET_ENVOY_ADMIN_PORT": str(config.envoy_admin_port)},
        }
        return {
            name: Program(name, command, told.get(name, everything), home, stop_seconds=patience.get(name, 8),
                          priority=1 if name == "envoy" else 500)
            for name, command in commands.items() if name in names
        }  # fmt: skip

    def checks(self) -> Mapping[str, Health]:
        return {
            "prefect": lambda: self._answers(f"{self.settings.prefect_url}/api/health"),
            "mlflow": lambda: self._answers(self._mlflow_health),
            "envoy": lambda: self._answers(f"{self.settings.admin_url}/ready"),
            "controller": self.controller_ticks,
            "agent": lambda: self._ticks("agent"),
        }

    @property
    def _mlflow_health(self) -> str:
        return f"{self.settings.mlflow_url}/health"

    def mlflow_answers(self) -> bool:
        """Whether it does, wherever it is."""
        return _healthy(self._mlflow_health, 5)

    def _answers(self, url: str) -> bool:
        # Without a supervisor what answers there is another home's.
        return self.supervisor.pid() is not None and _healthy(url, 2)

    def controller_ticks(self) -> bool:
        return self._ticks("controller")

    def _ticks(self, name: str) -> bool:
        told = kept(self.settings.home / f"{name}.json")
        return told is not None and time.time() - float(told["at"]) < _FRESH + 4 * self.settings.tick_seconds

    def open(self, tell: Callable[[str], None], servers: bool = True) -> None:
        """A living supervisord, the files its programs need, and nothing left over of an earlier crash.

        Without `servers` it is a host that has its servers elsewhere. Raises Refusal when a port is in
        use by something that is not of this home.
        """
        home = self.settings.home
        for folder in (home / "mlflow" / "artifacts", home / "prefect", home / "tmp", home / "bentos", home / "arms"):
            folder.mkdir(parents=True, exist_ok=True)
        if servers:  # before anything is ended: without them nothing could be started in its place
            databases.make(self.settings)
        alive = self.supervisor.pid() is not None
        gateway = () if alive else ("envoy",)  # callers have it until the next can begin
        if ended := self.end_strays(but=gateway):
            tell(f"ended {ended} processes that an earlier crash left behind")
        if alive:
            return
        self._step_aside_for_orphans()
        if servers:
            self._ports_are_free(tell)
            # While it runs, the controller alone writes them.
            Gateway(self.settings).reconcile()
        # What was begun under other settings is begun anew under these, by who wants it.
        ours = self.programs((*SERVERS, *WORKERS) if servers else HOST).values()
        self.supervisor.disown_changed([*ours, *Host(self.settings).programs()])
        self.supervisor.launch()
        # The new one, which supervisord began, cannot have the ports yet: it is begun again until it can.
        self.end_strays(gateway)

    def start(self, names: tuple[str, ...]) -> list[str]:
        """Makes these programs run; returns those that did not."""
        programs = self.programs(names)
        return [name for name in names if self.supervisor.ensure(programs[name])]

    def wait(self, checks: Mapping[str, Health], tell: Callable[[set[str]], None]) -> None:
        """Returns when every check holds; `tell` is told which still do not.

        Raises Refusal naming a process that does not stay alive or is not healthy in time.
        """
        missing = set(checks)
        until = time.monotonic() + self.settings.start_seconds
        while missing:
            tell(missing)
            missing = {name for name in missing if not checks[name]()}
            for process in self.supervisor.list():
                if process.name in missing and process.state == "failed":
                    raise Refusal("the process does not stay alive", process.name, f"See `ratchet logs {process.name}`")
            if missing and time.monotonic() > until:
                logged = sorted(missing & {*SERVERS, *WORKERS})
                raise Refusal(f"not healthy after {self.settings.start_seconds:g} s", ", ".join(sorted(missing)),
                              f"See `ratchet logs {logged[0] if logged else 'controller'}`")  # fmt: skip
            if missing:
                time.sleep(0.3)
        tell(set())

    def hosts(self) -> list[Stack]:
        """The further hosts of this machine that were started and not removed."""
        kept = sorted((self.settings.home / "hosts").glob("*/host.json"))
        return [Stack(self.settings.host(path.parent.name)) for path in kept]

    def close(self) -> int:
        """Ends supervisord and every process of this home; returns how many had to be hunted down."""
        self.supervisor.shutdown()
        ended = 0
        for _ in range(10):  # one may start another while it is ended
            ended += processes.end(processes.marked(self.settings.mark))
            if not processes.marked(self.settings.mark):
                break
        return ended

    def lock(self) -> AbstractContextManager[bool]:
        """Held by one `up` or `down` at a time; yields whether it was had."""
        return locked(self.settings.home / "stack.lock", wait=False)

    def end_strays(self, of: tuple[str, ...] | None = None, but: tuple[str, ...] = ()) -> int:
        """Ends what nobody supervises (of these programs), but for bentos that answer: the agent adopts those."""
        return processes.end(p for name, p in self._strays() if (of is None or name in of) and name not in but)

    def _strays(self) -> list[tuple[str, psutil.Process]]:
        """Programs and processes that nobody supervises; no bentos."""
        found = processes.unsupervised(self.settings.mark, self.supervisor.pid())
        return [(processes.environment(p, processes.PROGRAM) or "", p) for p in found
                if processes.environment(p, "RATCHET_ARM") is None]  # fmt: skip

    def _step_aside_for_orphans(self) -> None:
        """A bento that outlived its supervisor holds its port; its program starts anew on another."""
        for process in processes.marked(self.settings.mark):
            name = processes.environment(process, processes.PROGRAM)
            if name and processes.environment(process, "RATCHET_ARM"):
                self.supervisor.disown(name)

    def _ports_are_free(self, tell: Callable[[str], None]) -> None:
        config = self.settings
        listens = {"prefect_port": config.servers_listen, "mlflow_port": config.servers_listen,
                   "gateway_port": config.gateway_listen, "envoy_admin_port": "127.0.0.1"}  # fmt: skip
        if any(name == "envoy" for name, _ in self._strays()):
            tell("the gateway that an earlier crash left behind answers until the next one begins")
            listens = {name: listens[name] for name in ("prefect_port", "mlflow_port")}
        for name, address in listens.items():
            port = getattr(config, name)
            if not port_is_free(port, address):
                why = "the port is in use" if port_is_free(0, address) else "this machine does not have the address"
                raise Refusal(why, f"{address}:{port}", f"End what listens there, or set RATCHET_{name.upper()}")


def _healthy(url: str, seconds: float) -> bool:
    try:
        return httpx.get(url, timeout=seconds, **LOCAL).status_code == 200
    except httpx.HTTPError:
        return False
