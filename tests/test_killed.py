"""A controller that dies before or after any of its actions: real ledger, real Envoy, callers all the while."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from ratchet.fleet.gateway import Gateway
from ratchet.recipe import ReleasePlan, Step
from ratchet.settings import Settings
from ratchet.types import Endpoint, Package, Split, to_json
from releases import history
from releases.api import StateCache
from releases.ledger import Ledger
from releases.state import Failed, Requested, State
from tests.bentos import Bento, enveloped, until
from tests.conftest import ROOT, free_ports
from tests.dying import CODE

BAKED = ReleasePlan(steps=(), bake_seconds=600.0)
TICK = "0.1"


FIRST = ("first-before", "first-after")
"""Recipes without a champion."""


def package(version: str, recipe: str = "r") -> Package:
    return Package(recipe, version, f"key{version}", f"{recipe}:v{version}-k", f"digest{version}", "p")


@dataclass
class Scene:
    """A gateway with two revisions behind it, both on one host that reports them; and a controller, now and then."""

    config: Settings
    gateway: Gateway
    addresses: dict[str, tuple[str, int]]
    recipe: str = "r"

    @property
    def state(self) -> State:
        return StateCache(self.ledger).state(self.recipe)[0]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.config.ledger)

    def publish(self) -> None:
        """What the host's agent would."""
        endpoints = [Endpoint(recipe, revision, "a", *place, "running", True, 1.0, True)
                for recipe in ("r", *FIRST) for revision, place in self.addresses.items()]  # fmt: skip
        attempts = {recipe: StateCache(self.ledger).state(recipe)[0].attempt for recipe in ("r", *FIRST)}
        self.ledger.publish("host:a", {"attempts": attempts, "endpoints": [to_json(e) for e in endpoints]}, time.time())

    def release(self, version: str, plan: ReleasePlan) -> None:
        self.publish()
        request = Requested(package(version, self.recipe), "release", "a test", True, ("a",), plan, 60, 30, time.time())
        StateCache(self.ledger).append(self.recipe, request, "tester")

    def other(self) -> tuple[Package, str]:
        """The champion, and the version that is not."""
        champion = self.state.champion
        assert champion
        return champion, "2" if champion.version == "1" else "1"

    def fail(self) -> None:
        failed = Failed(self.state.attempt, "its answers got worse", (), time.time())
        StateCache(self.ledger).append(self.recipe, failed, "tester")

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        names = ("home", "gateway_port", "envoy_admin_port", "ledger_url")
        own = {f"RATCHET_{n.upper()}": str(getattr(self.config, n)) for n in names if getattr(self.config, n)}
        env = {**os.environ, **own, "RATCHET_TICK_SECONDS": TICK, "RATCHET_MLFLOW_PORT": "1"}
        return subprocess.Popen([sys.executable, "-m", *arguments], env=env, cwd=ROOT,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def settled(self) -> bool:
        """At rest as the ledger says."""
        state, now = self.state, self.gateway.get_routes()
        if state.champion is None:
            return False
        _, addresses = self.gateway.declared()
        revision = state.champion.revision
        at_rest = state.phase in ("idle", "halted") and not state.draining
        return at_rest and now.splits.get("r") == Split({revision: 100}) and set(addresses["r"]) == {revision}

    def live_to_the_end(self) -> None:
        """A controller that nobody kills."""
        process = self.run("releases.controller")
        try:
            until(self.settled, 40)
        finally:
            process.kill()
            process.wait()

    def die(self, name: str, when: str, number: int) -> bool:
        """Whether a controller came to that action, and died there."""
        process = self.run("tests.dying", "releases.controller", name, when, str(number))
        end = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < end:
            if self.state.phase == "idle" and self.settled() and number > 3:
                break
            time.sleep(0.1)
        process.kill()
        return process.wait() == CODE


@contextlib.contextmanager
def callers(url: str) -> Iterator[Counter[str]]:
    seen: Counter[str] = Counter()
    over = threading.Event()

    def call() -> None:
        with httpx.Client(timeout=10) as client:
            while not over.wait(0.01):
                answer = client.post(url, json={})
                seen[answer.text if answer.status_code == 200 else f"{answer.status_code}"] += 1

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    ports = free_ports(2)
    config = Settings(home=tmp_path_factory.mktemp("home"), gateway_port=ports[0], envoy_admin_port=ports[1])
    with Bento("v1-k").served() as one, Bento("v2-k").served() as two, enveloped(config) as gateway:
        scene = Scene(config, gateway, {"v1-k": one, "v2-k": two})
        over = threading.Event()

        def agent() -> None:
            while not over.wait(0.2):
                scene.publish()

        scene.release("1", ReleasePlan().with_strategy("all_at_once"))
        thread = threading.Thread(target=agent)
        thread.start()
        try:
            scene.live_to_the_end()
            yield scene
        finally:
            over.set()
            thread.join()


ACTIONS = [("apply", n) for n in (1, 2, 3)] + [("append", n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("name", "number"), ACTIONS)
def test_a_release_whose_controller_is_killed_at_any_action_ends_with_one_champion(
    scene: Scene, name: str, number: int, when: str
) -> None:
    _, new = scene.other()
    scene.release(new, ReleasePlan().with_strategy("all_at_once"))
    with callers(f"{scene.config.gateway_url}/r/predict") as seen:
        assert scene.die(name, when, number), "it never came to that action"
        scene.live_to_the_end()
    assert set(seen) <= {"v1-k", "v2-k"}, seen
    assert scene.state.champion == package(new)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("name", "number"), [("apply", 1), ("apply", 2), ("append", 1), ("append", 2)])
def test_a_release_that_fails_in_its_bake_time_is_taken_back_whoever_is_killed(
    scene: Scene, name: str, number: int, when: str
) -> None:
    old, new = scene.other()
    scene.release(new, BAKED)
    baking = scene.run("releases.controller")
    until(
        lambda: (
            scene.gateway.get_routes().splits["r"]
            == Split({f"v{new}-k": 100}, old.revision, BAKED.bake_mirror, old.revision)
        ),
        30,
    )
    baking.kill()
    baking.wait()
    scene.fail()
    with callers(f"{scene.config.gateway_url}/r/predict") as seen:
        assert scene.die(name, when, number), "it never came to that action"
        scene.live_to_the_end()
    assert set(seen) <= {"v1-k", "v2-k"}, seen
    assert scene.state.champion == old


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_first_release_that_fails_leaves_nothing_on_the_gateway_whoever_is_killed(scene: Scene, when: str) -> None:
    first = dataclasses.replace(scene, recipe=f"first-{when}")
    first.release("1", ReleasePlan().with_strategy("all_at_once"))
    assert first.die("apply", "after", 1), "it never declared the revision"
    first.fail()
    assert first.die("apply", when, 1), "it never closed"
    process = first.run("releases.controller")
    try:
        until(lambda: first.recipe not in scene.gateway.declared()[1] and not first.state.draining)
    finally:
        process.kill()
        process.wait()
    assert first.state.champion is None
    assert first.recipe not in scene.gateway.get_routes().splits
    assert scene.settled(), "the other recipe is as it was"


def test_a_plan_that_the_gateway_refuses_ends_its_own_release_at_once_and_no_others(scene: Scene) -> None:
    """A recipe cannot ask for 101 %, but a ledger of before may hold it."""
    champion, new = scene.other()
    scene.release(new, ReleasePlan(steps=(Step(101),)))
    attempt = scene.state.attempt
    scene.live_to_the_end()
    assert (scene.state.champion, scene.state.attempt) == (champion, attempt)
    (failed,) = [entry.body for entry in scene.ledger.read("r") if entry.kind == "failed"
                 and entry.body["attempt"] == attempt]  # fmt: skip
    assert failed["why"].startswith("the gateway refuses them (")
    confirmed = [share.split.weights for share in history.shares(scene.ledger.read("r"))]
    assert all(0 < weight <= 100 for weights in confirmed for weight in weights.values()), "the history has no 101 %"
    other = dataclasses.replace(scene, recipe="first-before")
    other.release("1", ReleasePlan().with_strategy("all_at_once"))
    process = scene.run("releases.controller")
    try:
        until(lambda: "first-before" in scene.gateway.get_routes().splits, 30)
    finally:
        process.kill()
        process.wait()
