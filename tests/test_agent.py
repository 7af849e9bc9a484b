"""A host's agent that dies before or after any of its actions: a real supervisor and a real bento."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.fleet import processes
from ratchet.fleet.host import Host
from ratchet.fleet.package_cache import PackageCache
from ratchet.fleet.stack import Stack
from ratchet.recipe import ReleasePlan
from ratchet.settings import Settings
from ratchet.types import Endpoint, Package, from_json
from releases.api import StateCache
from releases.ledger import Ledger
from releases.state import Drained, Event, Healthy, Promoted, Requested
from tests.bentos import until
from tests.conftest import ROOT, Built, free_ports
from tests.dying import CODE

ONCE = ReleasePlan().with_strategy("all_at_once")


@dataclass
class Scene:
    config: Settings
    packages: dict[str, Package]
    verified: str = "12"
    """The versions that must have answered their golden set."""

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.config.ledger)

    @property
    def host(self) -> Host:
        return Host(self.config)

    def enter(self, *events: Event) -> None:
        for event in events:
            StateCache(self.ledger).append("small-fashion", event, "tester")

    def request(self, version: str) -> Requested:
        return Requested(self.packages[version], "rollback", "a test", True, ("a",), ONCE, 60, 30, time.time())

    def endpoints(self) -> list[Endpoint]:
        status = self.ledger.statuses("host").get("a")
        return [from_json(Endpoint, body) for body in status.body["endpoints"]] if status else []

    def serves(self, since: float, *versions: str) -> bool:
        """The host reported after that time that exactly these run, and answered their golden set."""
        status = self.ledger.statuses("host").get("a")
        if status is None or status.at < since:
            return False
        endpoints = self.endpoints()
        wanted = {p.revision for p in self.packages.values() if p.version in self.verified}
        revisions = sorted(
            a.revision
            for a in endpoints
            if a.ready and a.state == "running" and (a.verified or a.revision not in wanted)
        )
        return revisions == sorted(self.packages[v].revision for v in versions) and len(endpoints) == len(versions)

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        own = {f"RATCHET_{n.upper()}": str(v) for n, v in self.config.model_dump().items() if v != ""}
        env = {**os.environ, **own, "RATCHET_MLFLOW_PORT": "1"}
        return subprocess.Popen([sys.executable, "-m", *arguments], env=env, cwd=ROOT,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def die(self, name: str, when: str, number: int) -> None:
        """An agent that comes to that action, and dies there."""
        process = self.run("tests.dying", "releases.agent", name, when, str(number))
        try:
            assert process.wait(30) == CODE
        finally:
            process.kill()

    def live_until(self, *versions: str) -> None:
        """An agent that nobody kills, until the host serves exactly these."""
        process, began = self.run("releases.agent"), time.time()
        try:
            until(lambda: self.serves(began + 3, *versions), 60)  # after some ticks
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def scene(tmp_path: Path, built: Built) -> Iterator[Scene]:
    """A host whose cache holds two packages of one real bento; version 1 is champion."""
    (port,) = free_ports(1)
    config = Settings(home=tmp_path / "home", host_name="a", bento_ports=f"{port}-{port + 20}")
    scene = Scene(config, {})
    for version in "12":
        package = Package(
            "small-fashion", version, f"key{version}", f"small-fashion:v{version}-k", sha256(built.bento), ""
        )
        packed = PackageCache(config).folder(package).with_suffix(".bento")
        packed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(built.bento, packed)
        scene.packages[version] = package
    stack = Stack(config)
    stack.open(print, servers=False)
    scene.enter(scene.request("1"), Healthy(1, {"a": 1.0}), Promoted(1, "1"))
    try:
        yield scene
    finally:
        stack.close()
        assert processes.marked(config.marker) == []


def test_an_agent_killed_at_any_action_leaves_nothing_half_started(scene: Scene) -> None:
    """Start, verify, point: each time the next agent goes on where that one stood."""
    for name in ("_start", "_verify", "_perform", "publish"):
        for when in ("before", "after"):
            scene.die(name, when, 1)
    scene.live_until("1")
    assert (scene.config.home / "bentos" / "small-fashion" / "current").resolve() == PackageCache(scene.config).folder(
        scene.packages["1"]
    )
    masters = [p for p in scene_programs(scene) if p.startswith("bento-")]
    assert masters == ["bento-small-fashion-v1-k"]


def test_an_agent_killed_while_it_stops_a_bento_stops_it_all_the_same(scene: Scene) -> None:
    scene.live_until("1")
    scene.enter(scene.request("2"))
    scene.live_until("1", "2")
    scene.enter(Healthy(2, {"a": 1.0}), Promoted(2, "2"))
    scene.live_until("1", "2")  # version 1 finishes what it has until the ledger says that it is drained
    scene.ledger.publish(
        "gateway:small-fashion",
        {"addresses": {"v1-k": [a.host_port for a in scene.endpoints() if a.revision == "v1-k"]}},
        1.0,
    )
    scene.enter(Drained("v1-k"))
    scene.verified = "2"
    scene.live_until("1", "2")  # and the gateway does not know it any more
    scene.ledger.publish("gateway:small-fashion", {"addresses": {}}, 2.0)
    for when in ("before", "after"):
        scene.die("_perform", when, 1)
    scene.live_until("2")
    assert [a.revision for a in Host(scene.config).endpoints()] == ["v2-k"]


def scene_programs(scene: Scene) -> list[str]:
    return [p.name for p in Stack(scene.config).supervisor.list()]


def test_each_gpu_has_a_process_of_its_own_that_is_started_again(scene: Scene) -> None:
    scene.config = scene.config.model_copy(update={"gpus": "0,1"})
    process, began = scene.run("releases.agent"), time.time()

    def serves(since: float) -> bool:
        status = scene.ledger.statuses("host").get("a")
        serving = {(e.revision, e.gpu) for e in scene.endpoints() if e.ready and e.verified}
        return bool(status and status.at > since) and serving == {("v1-k", "0"), ("v1-k", "1")}

    try:
        until(lambda: serves(began), 60)
        environments = {
            p.pid: p.environ()
            for p in processes.marked(scene.config.marker)
            if "RATCHET_PRIVATE_REVISION" in p.environ()
        }
        assert {e["CUDA_VISIBLE_DEVICES"] for e in environments.values()} == {"0", "1"}
        assert len({a.port for a in scene.endpoints()}) == 2
        first = next(a.port for a in scene.endpoints() if a.gpu == "0")
        for pid in [pid for pid, e in environments.items() if e["RATCHET_PRIVATE_GPU"] == "1"]:
            os.kill(pid, signal.SIGKILL)
        killed = time.time()
        until(lambda: not serves(killed), 10)
        until(lambda: serves(killed), 60)
        assert [a.port for a in scene.endpoints() if a.gpu == "0"] == [first]
    finally:
        process.kill()
        process.wait()
    Host(scene.config).stop("small-fashion", "v1-k")
    assert Host(scene.config).endpoints() == []
    assert not [p for p in processes.marked(scene.config.marker) if "RATCHET_PRIVATE_REVISION" in p.environ()]


def test_a_master_whose_worker_died_takes_no_request_that_it_cannot_answer(scene: Scene) -> None:
    """It would hold them for as long as it takes to begin another."""
    process = scene.run("releases.agent")
    try:
        until(lambda: scene.serves(0, "1"), 60)
        (master,) = (p for p in scene.host.supervisor.list() if p.name.startswith("bento"))
        (worker,) = psutil.Process(master.pid).children()
        worker.kill()
        until(lambda: not psutil.pid_exists(master.pid))
        ended = time.time()
        until(lambda: scene.serves(ended, "1"), 60)
    finally:
        process.kill()
        process.wait()


def test_what_does_not_fit_into_the_memory_is_refused_before_it_is_started(scene: Scene) -> None:
    one, two = (dataclasses.replace(scene.packages[v], memory_mb=1000) for v in "12")
    host = Host(scene.config.model_copy(update={"memory_mb": 1500}))
    host.start(one, never)
    with pytest.raises(
        Refusal, match="needs 1000 MB, which do not fit into 1500 MB beside bento-small-fashion-v1-k 1000"
    ):
        host.start(two, never)
    assert [a.revision for a in host.endpoints()] == ["v1-k"]
    assert host.must_wait_for_room(two, lambda: {("small-fashion", "v1-k")}), "it fits as soon as that one has gone"
    assert not host.must_wait_for_room(two, lambda: {("small-fashion", "v0-k")})
    host.start(one, never)  # what is there fits
    Host(scene.config.model_copy(update={"memory_mb": 2000})).start(two, never)


def never(package: Package, path: Path) -> None:
    raise AssertionError("the package is in the cache")
