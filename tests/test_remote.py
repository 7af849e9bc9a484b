"""Hosts on other machines: two network namespaces, a ledger and the servers' databases in Postgres."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.fleet import processes
from ratchet.settings import Settings
from tests.conftest import free_ports, host_alone
from tests.stack import NAME, Running, load, running, until

SECRET = "open-sesame"
NEEDED = [tool for tool in ("postgres", "initdb", "ip", "runuser") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        bool(NEEDED) or os.getuid() != 0, reason=f"needs root and {', '.join(NEEDED) or 'nothing more'}"
    ),
]


@contextlib.contextmanager
def postgres(address: str) -> Iterator[str]:
    """A server of its own with one database, `ratchet`; yields the ledger's URL."""
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory() as name:
        yield from _postgres(Path(name), address)


def _postgres(folder: Path, address: str) -> Iterator[str]:
    shutil.chown(folder, "postgres")
    data, port = folder / "data", free_ports(1)[0]
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    as_it = ("runuser", "-u", "postgres", "--")
    initdb = (*as_it, "initdb", "-D", str(data), "-U", "ratchet", "-A", "scram-sha-256", "--pwfile", str(secret), "-N")
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
    with (data / "pg_hba.conf").open("a") as allowed:
        allowed.write("host all all 10.0.0.0/8 scram-sha-256\n")
    serve = (*as_it, "postgres", "-D", str(data), "-p", str(port), "-h", address, "-k", str(folder), "-c", "fsync=off")
    with (folder / "log").open("w") as log, subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder) as server:
        try:
            url = f"postgresql+psycopg://ratchet:{SECRET}@{address}:{port}"
            until(lambda: reached(f"{url}/postgres"))
            run_sql(f"{url}/postgres", "CREATE DATABASE ratchet")
            yield f"{url}/ratchet"
        finally:
            server.terminate()


def reached(url: str) -> bool:
    try:
        return run_sql(url, "SELECT 1") == 1
    except sa.exc.OperationalError:
        return False


def run_sql(url: str, statement: str) -> object:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        done = connection.execute(sa.text(statement))
        result = done.scalar() if done.returns_rows else None
    engine.dispose()
    return result


@contextlib.contextmanager
def namespaces(*names: str) -> Iterator[dict[str, str]]:
    """A network namespace for each name, on one bridge with this one; yields the addresses, "" is this one's."""
    net, tag = f"10.{200 + os.getpid() % 50}.{os.getpid() % 250}", f"r{os.getpid() % 100000}"

    def ip(*arguments: str, check: bool = True) -> None:
        subprocess.run(("ip", *arguments), check=check, capture_output=True)

    addresses = {name: f"{net}.{i + 1}" for i, name in enumerate(("", *names))}
    try:
        ip("link", "add", f"{tag}b", "type", "bridge")
        ip("addr", "add", f"{addresses['']}/24", "dev", f"{tag}b")
        ip("link", "set", f"{tag}b", "up")
        for i, name in enumerate(names):
            ip("netns", "add", name)
            ip("link", "add", f"{tag}v{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{tag}v{i}", "master", f"{tag}b", "up")
            ip("-n", name, "addr", "add", f"{addresses[name]}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield addresses
    finally:
        for name in names:
            ip("netns", "del", name, check=False)
        ip("link", "del", f"{tag}b", check=False)


@dataclass(frozen=True)
class Machine:
    """A host as on a machine of its own: another network, another home."""

    name: str
    env: dict[str, str]
    bin: Path
    """Of an environment that holds what a host needs, and no more."""

    def ratchet(self, *arguments: str, ok: bool = True) -> str:
        command = ("ip", "netns", "exec", self.name, str(self.bin / "ratchet"), *arguments)
        done = subprocess.run(command, capture_output=True, text=True, env=self.env)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def cable(self, state: str) -> None:
        subprocess.run(("ip", "-n", self.name, "link", "set", "eth0", state), check=True)


@dataclass(frozen=True)
class Fleet:
    stack: Running
    machines: list[Machine]
    ledger: str

    def serving(self) -> dict[str, str]:
        """The version at each host that the gateway finds healthy."""
        return {host: version for host, version, healthy in self.stack.endpoints() if healthy}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    names = [f"gpu-{letter}-{os.getpid()}" for letter in "ab"]
    base = tmp_path_factory.mktemp("remote")
    bare = host_alone(base / "venv")
    assert not list(base.glob("venv/lib/*/site-packages/envoy"))
    with namespaces(*names) as at, postgres(at[""]) as ledger:
        own = {"RATCHET_LEDGER_URL": ledger, "RATCHET_SERVERS_LISTEN": at[""]}
        with running(base / "home", cold=True, **own) as stack:
            there = {"RATCHET_PREFECT_AT": f"http://{at['']}:{stack.ports[0]}",
                     "RATCHET_MLFLOW_AT": f"http://{at['']}:{stack.ports[1]}"}  # fmt: skip
            env = {k: v for k, v in stack.env.items() if k not in own}
            machines = [
                Machine(name, {**env, **there, "RATCHET_LEDGER_URL": ledger, "RATCHET_ADDRESS": at[name],
                               "RATCHET_HOME": str(base / name)}, bare)
                for name in names
            ]  # fmt: skip
            try:
                for machine in machines:
                    machine.ratchet("host", "start", "--name", machine.name)
                yield Fleet(stack, machines, ledger)
            finally:
                for machine in machines:
                    machine.ratchet("host", "stop", "--name", machine.name)
                    assert not processes.marked(Settings(home=base / machine.name / "hosts" / machine.name).marker)


def test_hosts_on_other_machines_serve_what_is_released(fleet: Fleet) -> None:
    hosts = {socket.gethostname().lower(), *(m.name for m in fleet.machines)}
    fleet.stack.ratchet("loop", NAME)
    until(lambda: fleet.serving() == dict.fromkeys(hosts, "1"))
    package = fleet.stack.repacked(lambda folder: None)
    with load(fleet.stack.gateway, 2, 0.1) as seen:
        fleet.stack.release(package, steps=[{"weight": 50, "mirror": 0}])
        until(lambda: fleet.serving() == dict.fromkeys(hosts, "2"), 60)
    assert seen.failed == 0, seen
    assert set(seen.versions) == {"1", "2"}


def test_a_machine_that_is_cut_off_is_left_out_and_serves_again_when_it_is_back(fleet: Fleet) -> None:
    lost = fleet.machines[1]
    with load(fleet.stack.gateway, 3) as seen:
        lost.cable("down")
        until(lambda: lost.name not in fleet.serving(), 40)
        failed = seen.failed
        answered = seen.codes[200]
        until(lambda: seen.codes[200] > answered + 100)
        assert seen.failed == failed, "once it is left out, no request is sent there"
        lost.cable("up")
        until(lambda: lost.name in fleet.serving(), 60)
    print(f"a machine was cut off: callers saw {dict(seen.codes)}, without an answer for at most {seen.outage:.1f} s")
    assert seen.failed <= 4, "at most the requests in flight on it"


def test_the_servers_databases_are_beside_the_ledger_and_its_password_is_nowhere_to_be_read(fleet: Fleet) -> None:
    assert run_sql(f"{fleet.ledger}_mlflow", "SELECT count(*) FROM model_versions") == 2
    assert run_sql(f"{fleet.ledger}_prefect", "SELECT count(*) > 0 FROM flow_run") is True
    assert not [db for folder in (".", "mlflow", "prefect") for db in (fleet.stack.home / folder).glob("*.db")]
    for log in (fleet.stack.home / "logs").iterdir():
        assert SECRET not in log.read_text(errors="replace"), log
    for process in fleet.stack.marked():
        assert SECRET not in " ".join(process.cmdline())
    assert (fleet.stack.home / "supervisor").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("without", "message"),
    [({"RATCHET_ADDRESS": "127.0.0.1"}, "cannot reach a bento on loopback"), ({"RATCHET_LEDGER_URL": ""}, "Postgres")],
)
def test_a_host_elsewhere_without_address_or_ledger_is_refused(
    fleet: Fleet, without: dict[str, str], message: str
) -> None:
    machine = fleet.machines[0]
    changed = Machine(machine.name, {**machine.env, **without}, machine.bin)
    assert message in changed.ratchet("host", "start", "--name", "gpu-x", ok=False)
