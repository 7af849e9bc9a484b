"""The one writer of traffic: a supervised process that ticks `step` and `plan` over ledger and gateway.

Imports neither Prefect nor MLflow: a bad arm is taken back also when both are down.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time

from ratchet.errors import Refusal
from ratchet.files import keep, locked
from ratchet.fleet.gateway import Gateway, InForce, cluster
from ratchet.fleet.host import Host
from ratchet.fleet.stack import SERVERS, Stack
from ratchet.settings import Settings, settings
from ratchet.words import Arm
from releases import act, machine, reconcile, requests
from releases.ledger import Ledger

log = logging.getLogger("controller")
LEASE = "controller"
LEASE_SECONDS = 60.0
"""Longer than the longest tick. A killed controller renews its own: the holder is the home."""
_RETRY = 5.0
"""Seconds before MLflow is asked again after it did not answer."""
_SWEEP = 5.0
"""Seconds between two looks for servers that nobody supervises: each walks every process of the machine."""


class Controller:
    def __init__(self, config: Settings, book: Ledger) -> None:
        self.config, self.book = config, book
        self.host, self.gateway, self.stack = Host(config), Gateway(config), Stack(config)
        self.holder = f"{socket.gethostname()}:{config.home}"
        self._silent_until: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._swept = 0.0

    def tick(self, now: float) -> int:
        """Looks once at everything and does what is missing; returns the number of things changed."""
        if not self.book.lease(LEASE, self.holder, LEASE_SECONDS, now):
            return 0
        self.host.supervisor.rotate()
        if now - self._swept > _SWEEP and self.host.supervisor.pid() is not None:
            # A server whose master was killed holds the port of the one that is started in its place.
            self.stack.end_strays(SERVERS)
            self._swept = now
        arms, in_force = self.host.arms(), self.gateway.get_routes()
        changed = 0
        for recipe in self.book.recipes():
            try:
                changed += self._recipe(recipe, [a for a in arms if a.recipe == recipe], in_force, now)
            except Refusal as refusal:
                self._once(recipe, str(refusal))
            except Exception:
                # One recipe's fault must not keep the others from being looked after.
                log.exception("%s: this tick failed", recipe)
        keep(self.config.home / "controller.json", {"at": now, "holder": self.holder})
        return changed

    def _recipe(self, recipe: str, arms: list[Arm], in_force: InForce, now: float) -> int:
        actual = _actual(recipe, arms, in_force, self.gateway)
        state, _ = requests.state_of(recipe, self.book)
        if event := machine.observe(state, arms, actual.routed, now):
            state = self._enter(recipe, event)
        changed = 0
        for operation in reconcile.plan(machine.wants(state), actual, now):
            if isinstance(operation, reconcile.Write) and now < self._silent_until.get(recipe, 0.0):
                continue
            try:
                after = act.perform(operation, recipe, self.host, self.gateway, now)
            except Refusal as refusal:
                self._once(recipe, str(refusal))
                if isinstance(operation, reconcile.Write):
                    self._silent_until[recipe] = time.time() + _RETRY
                continue
            if not isinstance(operation, reconcile.Point) and not isinstance(after, machine.Failed):
                changed += 1
                self._once(recipe, _line(operation))
            if after:
                self._enter(recipe, after)
        return changed

    def _enter(self, recipe: str, event: machine.Event) -> machine.State:
        before, _ = requests.state_of(recipe, self.book)
        if machine.step(before, event)[0] == before:  # out of place: no entry for what changes nothing
            if isinstance(event, machine.Failed):
                self._once(recipe, f"version {event.version} does not run: {event.why}")
            return before
        kind, _ = machine.to_body(event)
        log.info("%s: %s %s", recipe, kind, getattr(event, "version", ""))
        return requests.append(recipe, event, "controller", self.book)

    def _once(self, recipe: str, line: str) -> None:
        if line != self._told.get(recipe):
            log.info("%s: %s", recipe, line)
        self._told[recipe] = line


def _actual(recipe: str, arms: list[Arm], in_force: InForce, gateway: Gateway) -> reconcile.Actual:
    _, backends = gateway.declared()
    known = backends.get(recipe, ())
    weights = in_force.routes[recipe].weights if recipe in in_force.routes else ()
    return reconcile.Actual(
        arms=tuple(arms), alive=in_force.alive,
        routed={v: w for v, w in weights if w}, places={b.version: tuple(sorted(b.endpoints)) for b in known},
        active={b.version: in_force.active.get(cluster(recipe, b.version), 0) for b in known},
    )  # fmt: skip


def _line(operation: reconcile.Operation) -> str:
    match operation:
        case reconcile.Start(package):
            return f"starts version {package.version}"
        case reconcile.Verify(package, port):
            return f"asks version {package.version} its golden set at port {port}"
        case reconcile.Turn(version, places):
            return f"turns the gateway to version {version} at {[p for _, p in places[version]]}"
        case reconcile.Close():
            return "takes the recipe off the gateway"
        case reconcile.Stop(version):
            return f"stops version {version}"
        case reconcile.EndOrphan(arm):
            return f"ends processes of version {arm.version} that nobody supervised"
        case reconcile.Write(champion, previous, _):
            return f"writes @champion={champion}, @previous={previous}"
    return ""


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = settings()
    book = Ledger(config.ledger)
    controller = Controller(config, book)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with locked(config.home / "controller.lock"):  # one of a home, however it was started
        log.info("the controller watches %s", config.home)
        while not stop.is_set():
            try:
                controller.tick(time.time())
            except Refusal as refusal:  # supervisord is on its way down, the ledger is busy
                log.info("%s", refusal)
            except Exception:
                # The next tick starts from the ledger anyway; dying would only cost time.
                log.exception("a tick failed")
            stop.wait(config.tick_seconds)
        book.release(LEASE, controller.holder)


if __name__ == "__main__":
    main()
