"""A real stack in a home of its own, driven as a person drives it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from ratchet.files import locked, sha256
from ratchet.fleet import processes
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.supervisor import Supervisor
from ratchet.settings import Settings
from ratchet.types import Endpoint, Package, from_json, to_json, version_of
from releases import api
from releases.api import StateCache
from releases.ledger import Ledger
from releases.state import State
from tests.conftest import HERE, ROOT, free_ports

if TYPE_CHECKING:
    import pytest

NAME = "small-fashion"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Running:
    home: Path
    env: dict[str, str]
    ports: list[int]

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def prefect(self) -> str:
        return f"http://{self._servers}:{self.ports[0]}"

    @property
    def mlflow(self) -> str:
        return f"http://{self._servers}:{self.ports[1]}"

    @property
    def _servers(self) -> str:
        return self.env.get("RATCHET_SERVERS_LISTEN", "127.0.0.1")

    def ratchet(self, *arguments: str, ok: bool | None = True) -> str:
        """What the command printed, both streams; asserts its exit status, where it matters."""
        done = subprocess.run([BIN / "ratchet", *arguments], capture_output=True, text=True, env=self.env, cwd=ROOT)
        output = done.stdout + done.stderr
        assert ok is None or (done.returncode == 0) == ok, output
        assert "Traceback" not in output
        return output

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [BIN / "ratchet", "status", "--json"], capture_output=True, text=True, env=self.env, check=True
        )
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    # A command takes a second or two of a core, and what polls would take all of it: these look themselves.

    @property
    def config(self) -> Settings:
        values = {name: self.env.get(f"RATCHET_{name.upper()}") for name in Settings.model_fields}
        return Settings(**{name: value for name, value in values.items() if value})  # type: ignore[arg-type]

    @functools.cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.config.ledger)

    @functools.cached_property
    def _states(self) -> StateCache:
        return StateCache(self.ledger)

    def state(self) -> State:
        return self._states.state(NAME)[0]

    def stage(self) -> str:
        """The phase, or the step that is on trial."""
        state = self.state()
        return str(state.trial) if state.phase == "trial" else state.phase

    def champion(self) -> str | None:
        champion = self.state().champion
        return champion.version if champion else None

    def endpoints(self) -> list[tuple[str, str, bool]]:
        """Host and version of each bento that runs, and whether the gateway finds it healthy."""
        healthy, ledger = Gateway(self.config).get_routes().healthy, self.ledger
        endpoints = [
            from_json(Endpoint, body)
            for name in api.living_hosts(ledger)
            for body in ledger.statuses("host")[name].body["endpoints"]
        ]
        return sorted(
            (e.host, version_of(e.revision), e.host_port in healthy.get((NAME, e.revision), ())) for e in endpoints
        )

    def running(self) -> list[str]:
        """The version of each bento that runs, on whichever host."""
        return sorted(version for _, version, _ in self.endpoints())

    def serving(self) -> list[str]:
        """The version of each that the gateway finds healthy."""
        return sorted(version for _, version, healthy in self.endpoints() if healthy)

    def repacked(self, edit: Callable[[Path], None], of: str = "1") -> Package:
        """The real bento of a version with `edit` done to its files, kept and registered in MLflow as a new version."""
        known = next(e.body["package"] for e in self.ledger.read(NAME)
                     if e.kind == "requested" and e.body["package"]["version"] == of)  # fmt: skip
        api = f"{self.mlflow}/api/2.0/mlflow"
        old = httpx.get(f"{api}/model-versions/get", params={"name": NAME, "version": of}).json()["model_version"]
        new = {"name": NAME, "source": old["source"], "run_id": old["run_id"],
               "model_id": old["source"].removeprefix("models:/"),
               "tags": [tag for tag in old["tags"] if tag["key"] == "ratchet.experiment"]}  # fmt: skip
        created = httpx.post(f"{api}/model-versions/create", json=new).json()
        assert "model_version" in created, created
        version = created["model_version"]["version"]
        path = f"{known['artifact'].rpartition('/')[0]}/{NAME}-v{version}.bento"
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "bento"
            packed = next((self.home / "bentos" / NAME).glob(f"v{of}-*.bento"))
            shutil.unpack_archive(packed, folder, format="xztar")
            meta = folder / "src" / "model" / "meta.json"
            meta.write_text(json.dumps({**json.loads(meta.read_text()), "version": version}))
            edit(folder)
            changed = folder.with_suffix(".bento")
            with tarfile.open(changed, "w:xz", preset=0) as archive:
                archive.add(folder, arcname=".")
            url = f"{self.mlflow}/api/2.0/mlflow-artifacts/artifacts/{path}"
            assert httpx.put(url, content=changed.read_bytes()).status_code == 200
            return Package(NAME, version, f"key of {version}", f"{NAME}:v{version}-made", sha256(changed), path)

    def bless(self, package: Package) -> None:
        """Tags its version as the flow tags one that may serve."""
        for key, value in (("evaluation", "blessed"), ("package", json.dumps(to_json(package)))):
            sent = {"name": NAME, "version": package.version, "key": f"ratchet.{key}", "value": value}
            url = f"{self.mlflow}/api/2.0/mlflow/model-versions/set-tag"
            assert httpx.post(url, json=sent).status_code == 200

    def tags(self, version: str) -> dict[str, str]:
        """A version's tags in MLflow."""
        url = f"{self.mlflow}/api/2.0/mlflow/model-versions/get"
        registered = httpx.get(url, params={"name": NAME, "version": version}).json()["model_version"]
        return {t["key"]: t["value"] for t in registered.get("tags", [])}

    def release(self, package: Package, ok: bool = True, **plan: Any) -> str:
        """Releases a package by hand, by the recipe's plan with these changes; what was printed until its end."""
        code = """
import dataclasses, json, sys
from commands._stack import stack
stack()
from ratchet.errors import Refusal
from ratchet.recipe import ReleasePlan, load
from ratchet.types import Package, from_json
from releases import api
package, plan = from_json(Package, sys.argv[1]), json.loads(sys.argv[2])
whole = from_json(ReleasePlan, {**dataclasses.asdict(load(package.recipe).release_plan), **plan})
try:
    api.release(package, whole, "tester", "a test", by_hand=True)
    api.watch(package, lambda line: print(line, flush=True))
except Refusal as refusal:
    sys.exit(str(refusal))
"""
        command = [sys.executable, "-c", code, json.dumps(dataclasses.asdict(package)), json.dumps(plan)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.env, cwd=ROOT)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, output
        return output

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(Settings(home=self.home))

    def marked(self) -> list[psutil.Process]:
        return processes.marked(Settings(home=self.home).marker)

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(next(p.pid for p in self.supervisor.list() if p.name == name))

    def alias(self, name: str) -> str | None:
        answer = httpx.get(
            f"{self.mlflow}/api/2.0/mlflow/registered-models/alias", params={"name": NAME, "alias": name}
        )
        return answer.json()["model_version"]["version"] if answer.status_code == 200 else None

    def call_prefect(self, method: str, route: str, sent: Any = None) -> Any:
        """What Prefect's page sends when a person presses a button; again while its database is busy, as clients do."""
        for _ in range(5):
            answer = httpx.request(method, f"{self.prefect}/api/{route}", json=sent, timeout=20)
            if answer.status_code != 503:
                break
            time.sleep(2)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> Any:
        return self.call_prefect("GET", f"deployments/name/{name}")

    def set_schedule(self, deployment: str, active: bool) -> None:
        """Turns the schedules of a deployment on or off, as a person does in the Prefect UI."""
        known = self.deployment(deployment)
        for schedule in known["schedules"]:
            if schedule["active"] != active:
                route = f"deployments/{known['id']}/schedules/{schedule['id']}"
                self.call_prefect("PATCH", route, {"active": active})

    def predict(self) -> httpx.Response:
        return httpx.post(f"{self.gateway}/{NAME}/predict", json={"images": [[[0] * 28] * 28]}, timeout=20)


@dataclass
class Outside:
    """A proxy that answers nobody and remembers who wanted to leave this machine."""

    url: str
    requests: list[str]


@contextlib.contextmanager
def outside() -> Iterator[Outside]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Outside(f"http://127.0.0.1:{server.getsockname()[1]}", [])

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        proxy.requests.append(connection.recv(300).decode("latin-1").split("\r\n")[0])

        threading.Thread(target=listen, daemon=True).start()
        yield proxy


_MIGRATE = """
import sys
from mlflow.store.db import utils
utils._initialize_tables(utils.create_sqlalchemy_engine("sqlite:///" + sys.argv[1]))
"""


def migrated(home: Path) -> None:
    """Puts Prefect's and MLflow's empty databases into a new home, as their own migrations leave them.

    Those take half a minute of a core for each stack: they are run once for each lock file.
    """
    lock = (ROOT / "uv.lock").read_bytes()
    cache = Path(tempfile.gettempdir()) / f"ratchet-databases-{os.getuid()}-{hashlib.sha256(lock).hexdigest()[:12]}"
    with locked(cache / ".lock"):
        if not (cache / "done").exists():
            env = {**os.environ, "PREFECT_HOME": str(cache / "prefect")}
            env.pop("PREFECT_API_URL", None)
            upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
            subprocess.run(upgrade, env=env, check=True, capture_output=True)
            (cache / "mlflow").mkdir(exist_ok=True)
            subprocess.run([sys.executable, "-c", _MIGRATE, str(cache / "mlflow" / "mlflow.db")], check=True,
                           capture_output=True)  # fmt: skip
            (cache / "done").touch()
    for name in ("prefect/prefect.db", "mlflow/mlflow.db"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cache / name, home / name)


_KEPT = ("ledger.db*", "deployed.json", "lake", "data", "mlflow", "prefect", "stages", "bentos", "gx")
"""What of a home may be copied: nothing that names a port or a process."""


def with_champion(home: Path, factory: pytest.TempPathFactory) -> Path:
    """Creates a home whose champion is version 1: a copy of one that all tests of a run share."""
    base = factory.getbasetemp()
    original = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "champion"
    part = original.with_suffix(".part")
    with locked(original.with_suffix(".lock")):
        if not original.exists():
            shutil.rmtree(part, ignore_errors=True)  # another test file may have failed to make it
            with running(part) as stack:
                assert "is champion" in stack.ratchet("loop", NAME)
            part.rename(original)
    home.mkdir(parents=True)
    for path in (path for name in _KEPT for path in original.glob(name)):
        if path.is_dir():
            shutil.copytree(path, home / path.name, symlinks=True)
        else:
            shutil.copyfile(path, home / path.name)
    return home


@contextlib.contextmanager
def running(home: Path, cold: bool = False, reconcile: bool = False, **more: str) -> Iterator[Running]:
    """A stack that is up; afterwards it is down, and nothing of it runs.

    A home that exists is used as it is. A `cold` stack starts with nothing at all. Without `reconcile`, the schedules
    of `reconcile` and `collect` are off, since each of their runs takes some seconds of a core. Controller and agents
    tick half as often as they do by default, for the same reason.
    """
    ports = free_ports(4)
    # Below those that the kernel gives to outgoing connections: one of them may have taken it by the time of a bind.
    first = 20000 + (os.getpid() * 97 + ports[0]) % 12000
    names = ("PREFECT_PORT", "MLFLOW_PORT", "GATEWAY_PORT", "ENVOY_ADMIN_PORT")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RATCHET_", "PREFECT_", "MLFLOW_", "PYTEST"))}
    env |= {f"RATCHET_{n}": str(p) for n, p in zip(names, ports, strict=True)}
    env |= {"RATCHET_HOME": str(home), "RATCHET_RECIPES": str(HERE / "recipes"), "RATCHET_WHO": "tester",
            "RATCHET_TICK_SECONDS": "1", "RATCHET_BENTO_PORTS": f"{first}-{first + 50}",
            "PATH": f"{BIN}:{os.environ['PATH']}", **more}  # fmt: skip
    stack = Running(home, env, ports)
    if not cold and not home.exists():
        migrated(home)
    try:
        stack.ratchet("up")
        for name in ("reconcile", "collect"):
            stack.set_schedule(f"{name}/{name}", reconcile)
        yield stack
    finally:
        assert "nothing is running" in stack.ratchet("down")
        assert stack.marked() == []
        assert not [p for host in (home / "hosts").glob("*") for p in processes.marked(Settings(home=host).marker)]


def until(there: Callable[[], object], seconds: float = 30, every: float = 0.2) -> float:
    """Waits for something to hold; returns how long it took."""
    started = time.monotonic()
    while not there():
        assert time.monotonic() - started < seconds, "it did not happen"
        time.sleep(every)
    return time.monotonic() - started


def responds(url: str) -> bool:
    try:
        httpx.get(url, timeout=1)
    except httpx.HTTPError:
        return False
    return True


def flow_processes(stack: Running) -> list[psutil.Process]:
    """Those that execute flow runs."""
    return [process for process in stack.marked() if "prefect.engine" in cmdline(process)]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)


@dataclass
class Load:
    """Requests one after the other while a block runs; what came back, by status, and from which version."""

    codes: Counter[int]
    versions: Counter[str]
    outage: float = 0.0
    """The longest time in seconds without a good answer to anybody."""
    last: float = field(default_factory=time.monotonic)

    def answered(self) -> None:
        now = time.monotonic()
        self.outage, self.last = max(self.outage, now - self.last), now

    @property
    def failed(self) -> int:
        return sum(n for code, n in self.codes.items() if code != 200)


@contextlib.contextmanager
def load(url: str, callers: int = 2, pause: float = 0.05) -> Iterator[Load]:
    """Each caller waits for its answer and then `pause` seconds: what is trained meanwhile needs a core, too."""
    seen = Load(Counter(), Counter())
    done = threading.Event()

    def call() -> None:
        with httpx.Client(timeout=20) as client:
            while not done.is_set():
                try:
                    answer = client.post(f"{url}/{NAME}/predict", json={"images": [[[0] * 28] * 28]})
                    seen.codes[answer.status_code] += 1
                    seen.versions[answer.headers.get("x-model-version", "?")] += 1
                    if answer.status_code == 200:
                        seen.answered()
                except httpx.HTTPError:
                    seen.codes[0] += 1
                time.sleep(pause)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join()
