"""The processes of one machine: what they are, how they start, whether they are healthy, how they end."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from ratchet import files
from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.fleet import databases, processes
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.host import Host, is_bento, port_is_free
from ratchet.fleet.supervisor import Program, Supervisor
from ratchet.local_http import LOCAL
from ratchet.scratch import sweep
from ratchet.settings import LOOPBACK_NAME, TELEMETRY_OFF, Settings

Health = Callable[[], bool]
LOG_SECONDS = 0.5
"""After which a run sends what it has logged to Prefect's server."""
SERVERS = ("prefect", "mlflow", "envoy", "controller", "agent")
WORKERS = ("worker-cpu", "worker-gpu")
HOST = ("agent", "worker-gpu")
"""The programs of another host."""
_MAX_STARTS = 2
"""Starts of a program that lives for a while and dies again, after which it is not waited for."""
_MAX_TICK = 30.0
"""Seconds: a tick may wait for the gateway and for golden answers."""


@dataclass(frozen=True)
class Stack:
    settings: Settings

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.settings)

    def environment(self) -> dict[str, str]:
        """The environment of every process of the stack, and of a command that uses it."""
        config, home = self.settings, self.settings.home
        own = {f"RATCHET_{name.upper()}": str(value) for name, value in config.model_dump().items() if value != ""}
        data_folders = {k: v for k, v in os.environ.items() if re.fullmatch(r"RATCHET_\w+_DIR", k)}
        no_proxy = (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "127.0.0.1").split(",")
        servers = [str(httpx.URL(url).host) for url in (config.prefect_url, config.mlflow_url)]
        # Without duplicates: an agent that restarts the stack inherits it, and must describe the same programs.
        direct = ",".join(dict.fromkeys((*no_proxy, "127.0.0.1", "localhost", *servers)))
        prefect = {
            "PREFECT_LOGGING_EXTRA_LOGGERS": "ratchet",
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": f"{config.prefect_url}/api",
            "PREFECT_UI_API_URL": f"{config.prefect_url}/api",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": str(LOG_SECONDS),
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        }
        mlflow = {
            "MLFLOW_TRACKING_URI": config.mlflow_url,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            # A minute, in which a killed server is back; by default a full disk is noticed after four.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        }
        return {
            **TELEMETRY_OFF,
            **data_folders,
            **own,
            **prefect,
            **mlflow,
            "NO_PROXY": direct,
            "no_proxy": direct,
            "BENTOML_HOME": str(home / "bentoml"),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONUNBUFFERED": "1",
            "PYTHONUTF8": "1",
            "GIT_PYTHON_REFRESH": "quiet",
        }

    def programs(self, names: Collection[str]) -> dict[str, Program]:
        """The named programs. A host that only serves has neither the servers nor Envoy installed."""
        config, home = self.settings, self.settings.home
        python = (sys.executable, "-m")
        worker = (*python, "prefect", "worker", "start", "--type", "process", "-p")
        listen = ("--host", config.servers_listen, "--port")
        artifacts = ("--serve-artifacts", "--artifacts-destination", str(home / "mlflow" / "artifacts"))
        commands: dict[str, tuple[str, ...]] = {
            "prefect": (*python, "prefect", "server", "start", *listen, str(config.prefect_port)),
            "mlflow": (*python, "mlflow", "server", *listen, str(config.mlflow_port), "--workers", "1", *artifacts),
            "worker-cpu": (*worker, "cpu", "-n", f"cpu-{config.host_name}"),
            "worker-gpu": (*worker, "gpu", "-q", config.host_name, "-n", f"gpu-{config.host_name}"),
            "controller": (*python, "releases.controller"),
            "agent": (*python, "releases.agent"),
        }
        if "envoy" in names:
            commands["envoy"] = Gateway(config).command()
        everything = self.environment()
        # A server gets only the settings that concern it, so that other settings do not restart it.
        bare = {name: value for name, value in everything.items() if not name.startswith("RATCHET_")}
        hosts = (config.mlflow_url.removeprefix("http://"), "127.0.0.1:*", "localhost:*", f"{LOOPBACK_NAME}:*")
        allowed = {
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"{config.mlflow_url},http://{LOOPBACK_NAME}:{config.mlflow_port}",
        }
        environments = {
            "prefect": {**bare, **databases.environment(config, "prefect")},
            "mlflow": {**bare, **allowed, **databases.environment(config, "mlflow")},
            "envoy": {"RATCHET_ENVOY_ADMIN_PORT": str(config.envoy_admin_port)},
        }
        return {
            name: Program(
                name,
                command,
                environments.get(name, everything),
                home,
                # A busy worker does not end on SIGTERM, so there is no point in waiting for it.
                stop_seconds=3 if name in WORKERS else 8,
                priority=1 if name == "envoy" else 500,
            )
            for name, command in commands.items()
            if name in names
        }

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
        """Whether MLflow answers, on this machine or elsewhere."""
        return _healthy(self._mlflow_health, 5)

    def _answers(self, url: str) -> bool:
        # Without a supervisor, a server that answers belongs to another home.
        return self.supervisor.pid() is not None and _healthy(url, 2)

    def controller_ticks(self) -> bool:
        return self._ticks("controller")

    def _ticks(self, name: str) -> bool:
        last = files.load(self.settings.home / f"{name}.json")
        return last is not None and time.time() - float(last["at"]) < _MAX_TICK + 4 * self.settings.tick_seconds

    def open(self, report: Callable[[str], None], servers: bool = True) -> None:
        """Starts supervisord with the files that its programs need, and ends what an earlier crash left over.

        Without `servers` this is a host whose servers run elsewhere. Raises Refusal if a port is used by something
        that does not belong to this home.
        """
        home = self.settings.home
        for name in ("mlflow/artifacts", "prefect", "tmp", "bentos", "revisions"):
            (home / name).mkdir(parents=True, exist_ok=True)
        if servers:  # before anything is ended: without its database nothing could replace it
            databases.create(self.settings)
        alive = self.supervisor.pid() is not None
        gateway = () if alive else ("envoy",)  # callers keep the old one until the next can start
        if ended := self.end_strays(excluded=gateway):
            report(f"ended {ended} processes that an earlier crash left over")
        if swept := sweep(self.settings):
            report(f"removed {swept} scratch folders that killed processes left over")
        if alive:
            return
        self._disown_orphans()
        if servers:
            self._require_free_ports(report)
            # The controller alone writes these files while it runs.
            Gateway(self.settings).reconcile()
        # Programs that were started with other settings are started again with these, by who needs them.
        own = self.programs((*SERVERS, *WORKERS) if servers else HOST).values()
        self.supervisor.disown_changed([*own, *Host(self.settings).programs()])
        self.supervisor.launch()
        # supervisord's new gateway cannot have the ports until the old one ends; it is restarted until it can.
        self.end_strays(gateway)

    def start(self, names: tuple[str, ...]) -> list[str]:
        """Makes these programs run; returns those that did not run before."""
        programs = self.programs(names)
        return [name for name in names if self.supervisor.ensure(programs[name])]

    def wait(self, checks: Mapping[str, Health], report: Callable[[set[str]], None]) -> None:
        """Returns when every check holds; `report` gets the names of those that do not yet.

        Raises Refusal naming a process that does not stay alive, or that is not healthy in time.
        """
        missing = set(checks)
        pids: dict[str, set[int]] = {name: set() for name in missing}
        logged_before = {name: self.supervisor.log_size(name) for name in missing}
        until = time.monotonic() + self.settings.start_seconds
        while missing:
            report(missing)
            missing = {name for name in missing if not checks[name]()}
            for process in self.supervisor.list():
                if process.name in missing and process.pid:
                    pids[process.name].add(process.pid)
                if process.name in missing and (process.state == "failed" or len(pids[process.name]) > _MAX_STARTS):
                    what = f"the process does not stay alive{self._logged(process.name, logged_before)}"
                    raise Refusal(what, process.name, f"See `ratchet logs {process.name}`")
            if missing and time.monotonic() > until:
                logged = sorted(missing & {*SERVERS, *WORKERS})
                log = logged[0] if logged else "controller"
                what = f"not healthy after {self.settings.start_seconds:g} s{self._logged(log, logged_before)}"
                raise Refusal(what, ", ".join(sorted(missing)), f"See `ratchet logs {log}`")
            if missing:
                time.sleep(0.3)
        report(set())

    def _logged(self, name: str, before: Mapping[str, int]) -> str:
        error = self.supervisor.last_error(name, before.get(name, 0))
        return f" ({error})" if error else ""

    def hosts(self) -> list[Stack]:
        """The other hosts on this machine that were started and not removed."""
        paths = sorted((self.settings.home / "hosts").glob("*/host.json"))
        return [Stack(self.settings.host(path.parent.name)) for path in paths]

    def is_alive(self) -> bool:
        """Whether any process of this home lives, supervised or not."""
        return self.supervisor.pid() is not None or bool(processes.marked(self.settings.marker))

    def close(self) -> int:
        """Ends supervisord and every process of this home; returns how many it did not end by itself."""
        self.supervisor.shutdown()
        ended = 0
        for _ in range(10):  # a process may start another one while it is being ended
            ended += processes.end(processes.marked(self.settings.marker))
            if not processes.marked(self.settings.marker):
                break
        return ended

    def lock(self) -> AbstractContextManager[bool]:
        """A lock for one `up` or `down` at a time; yields whether it was acquired."""
        return locked(self.settings.home / "stack.lock", wait=False)

    def end_strays(self, names: tuple[str, ...] | None = None, excluded: tuple[str, ...] = ()) -> int:
        """Ends unsupervised processes, of these programs if any are named. Bentos are left to the agent."""
        chosen = (
            process for name, process in self._strays() if (names is None or name in names) and name not in excluded
        )
        return processes.end(chosen)

    def _strays(self) -> list[tuple[str, psutil.Process]]:
        """Unsupervised processes with the names of their programs, except bentos."""
        strays = processes.unsupervised(self.settings.marker, self.supervisor.pid())
        return [(processes.environment(p, processes.PROGRAM) or "", p) for p in strays if not is_bento(p)]

    def _disown_orphans(self) -> None:
        """A bento that outlived its supervisor keeps its port, so its program starts again on another port."""
        for process in processes.marked(self.settings.marker):
            name = processes.environment(process, processes.PROGRAM)
            if name and is_bento(process):
                self.supervisor.disown(name)

    def _require_free_ports(self, report: Callable[[str], None]) -> None:
        config = self.settings
        listens = {"prefect_port": config.servers_listen, "mlflow_port": config.servers_listen}
        if any(name == "envoy" for name, _ in self._strays()):
            report("the gateway that an earlier crash left over answers until the next one starts")
        else:
            listens |= {"gateway_port": config.gateway_listen, "envoy_admin_port": "127.0.0.1"}
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


def running_replays(home: Path) -> list[Path]:
    """The homes of replays below this one whose stack runs: of a replay that runs, or of one that was killed."""
    return [each for each in (home / "replays").glob("*/home") if Stack(Settings(home=each)).is_alive()]
