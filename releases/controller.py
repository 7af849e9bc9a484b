"""The one writer of traffic: a supervised process that ticks the machine and the plan over ledger and gateway.

Imports neither Prefect nor MLflow's package: a bad arm is taken back also when both are down.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from bentos import golden
from ratchet.errors import Refusal
from ratchet.files import keep, locked
from ratchet.fleet.gateway import Gateway, InForce
from ratchet.fleet.shelf import Shelf
from ratchet.fleet.stack import SERVERS, Stack
from ratchet.recipe import Step
from ratchet.settings import Settings, settings
from ratchet.words import Arm, Check, Package, from_json, to_json
from releases import act, entries, machine, reconcile, requests, ticking
from releases.labels import Labelled
from releases.ledger import Ledger, Said
from releases.observe import away, observe
from releases.observer import Observer, sides
from releases.registrar import Registrar
from releases.state import Event, Fleet, Passed, State

log = logging.getLogger("controller")
LEASE = "controller"
LEASE_SECONDS = 60.0
"""Longer than the longest tick. A killed controller renews its own: the holder is the home."""
_SWEEP = 5.0
"""Seconds between two looks for servers that nobody supervises: each walks every process of the machine."""
_BAKE_PAUSE = 1.0
"""Seconds between two of its own requests in a bake time without traffic."""


@dataclass
class Controller:
    config: Settings
    book: Ledger
    _observers: dict[str, tuple[tuple[int, str, int], Observer]] = field(default_factory=dict)
    _labelled: dict[str, tuple[int, Labelled]] = field(default_factory=dict)
    _away: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    _swept: float = 0.0
    _sweep: Future[int] | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def __post_init__(self) -> None:
        self.gateway, self.stack, self.shelf = Gateway(self.config), Stack(self.config), Shelf(self.config)
        self.followed, self.told = requests.Followed(self.book), ticking.Once(log)
        self.registrar = Registrar(self.book, self.told)
        self.holder = f"{socket.gethostname()}:{self.config.home}"
        self.began = time.time()

    def tick(self, now: float) -> int:
        """Looks once at everything and does what is missing; returns the number of things changed."""
        if not self.book.lease(LEASE, self.holder, LEASE_SECONDS, now):
            return 0
        if now - self._swept > _SWEEP and self.stack.supervisor.pid() is not None:
            # A server whose master was killed holds the port of the one that is started in its place. On a thread:
            # one that does not end in its time must not hold up a decision.
            if self._sweep is None or self._sweep.done():
                self._sweep = self._pool.submit(self.stack.end_strays, SERVERS)
            self._swept = now
        hosts, in_force = self.book.heard("host"), self.gateway.get_routes()
        changed = 0
        for recipe in self.book.recipes():
            try:
                changed += self._recipe(recipe, hosts, in_force, now)
            except Refusal as refusal:
                self.told(recipe, str(refusal))
            except Exception:
                # One recipe's fault must not keep the others from being looked after.
                log.exception("%s: this tick failed", recipe)
        keep(self.config.home / "controller.json", {"at": now, "holder": self.holder})
        return changed

    def _recipe(self, recipe: str, hosts: Mapping[str, Said], in_force: InForce, now: float) -> int:
        state, _ = self.followed.state(recipe)
        _, everything = self.gateway.declared()
        # Who was silent because everything was down is given the time to speak.
        heard_since = 0.0 if now < self.began + requests.LIVING else now - requests.LIVING
        fleet = look(recipe, state, hosts, in_force, everything.get(recipe, {}), heard_since)
        fleet = replace(fleet, away=self._seconds_away(recipe, state, fleet, now))
        try:
            checks, sicker = self._evidence(recipe, state, fleet, in_force)
        except Exception as error:  # what is not known is never a pass; and what died must still be seen
            log.exception("%s: the evidence could not be weighed", recipe)
            checks, sicker = (Check("evidence", None, None, "error", repr(error)),), None
        changed = 0
        if event := observe(state, fleet, checks, sicker, now):
            state = self._enter(recipe, event)
            changed += 1
        if operation := reconcile.traffic_plan(machine.wants(state), fleet):
            self.told(recipe, act.perform(operation, recipe, self.gateway))
            changed += 1
            _, everything = self.gateway.declared()
        said = {"places": everything.get(recipe, {}), "checks": [to_json(c) for c in checks]}
        self.book.say(f"gateway:{recipe}", said, now)
        self.registrar.tick(recipe, state, now)
        return changed

    def _seconds_away(self, recipe: str, state: State, fleet: Fleet, now: float) -> float:
        """How long in all of this attempt the new version's requests went to the other arm."""
        attempt, seconds, last = self._away.get(recipe, (state.attempt, 0.0, now))
        if attempt != state.attempt:
            seconds = 0.0
        elif away(state, fleet):
            seconds += now - last
        self._away[recipe] = state.attempt, seconds, now
        return seconds

    def _enter(self, recipe: str, event: Event) -> State:
        kind, _ = entries.to_body(event)
        step = f"step {event.step + 1}" if isinstance(event, Passed) else ""
        log.info("%s: %s %s", recipe, kind, step or getattr(event, "why", "") or getattr(event, "version", ""))
        return self.followed.append(recipe, event, "controller")

    def _evidence(
        self, recipe: str, state: State, fleet: Fleet, in_force: InForce
    ) -> tuple[tuple[Check, ...], bool | None]:
        """What the present step has gathered, by an observer of its own; nothing where none is under way."""
        stand = (state.attempt, state.phase, state.step)
        known, observer = self._observers.get(recipe, (None, None))
        if observer and known != stand:
            observer.stop()
        old, new = (state.champion, state.challenger) if state.phase == "trial" else (state.warm, state.champion)
        if state.phase not in ("trial", "baking") or old is None or new is None:
            self._observers.pop(recipe, None)
            return (), None
        if observer is None or known != stand:
            observer = self._observer(recipe, state, new, observer)
            self._observers[recipe] = stand, observer
        observer.places = (_answering(fleet, old.arm), _answering(fleet, new.arm))
        if fleet.split != machine.split(state):  # what was counted so far is not of this step
            return (), None
        return observer.checks(sides(in_force.counts, recipe, (old.arm, new.arm)))

    def _labelled_of(self, recipe: str, attempt: int) -> Labelled:
        """One for the whole of a release: labels come late."""
        if self._labelled.get(recipe, (0, None))[0] != attempt:
            self._labelled[recipe] = attempt, Labelled()
        return self._labelled[recipe][1]

    def _observer(self, recipe: str, state: State, new: Package, before: Observer | None) -> Observer:
        trial = state.phase == "trial"
        return Observer(
            recipe, state.plan, lambda: golden.read(self.shelf.unpack(new, act.fetch) / "src" / "model"),
            only_probes=trial and state.trial == Step(), pause=0.0 if trial else _BAKE_PAUSE,
            # Under more load than the champion's the same bento is slower.
            even=trial and state.trial.weight <= 50, number=state.step if trial else len(state.plan.steps),
            mirrored=bool(machine.split(state).mirror), pairs=before.pairs if before and trial else (0, 0),
            labels=lambda since: self.book.labels(recipe, since), labelled=self._labelled_of(recipe, state.attempt),
        )  # fmt: skip


def _answering(fleet: Fleet, arm: str) -> tuple[tuple[str, int], ...]:
    """Where it is to be asked: what a host that died a moment ago said last is older than the gateway's checks."""
    return tuple(
        sorted(a.place for a in fleet.arms if a.arm == arm and a.ready and a.place in fleet.healthy.get(arm, ()))
    )


def look(
    recipe: str, state: State, hosts: Mapping[str, Said], in_force: InForce,
    places: Mapping[str, tuple[tuple[str, int], ...]], heard_since: float,
) -> Fleet:  # fmt: skip
    """One recipe's part of what the hosts said and the gateway has in force. Pure."""
    living = {name: said.body for name, said in hosts.items() if said.at > heard_since}
    arms = [from_json(Arm, a) for body in living.values() for a in body["arms"] if a["recipe"] == recipe]
    current = [name for name, body in living.items() if body["attempts"].get(recipe) == state.attempt]
    known = [arm for (name, arm) in in_force.healthy if name == recipe]
    return Fleet(
        tuple(arms), frozenset(living), frozenset(current), in_force.alive,
        in_force.splits.get(recipe, Fleet().split), places,
        {arm: in_force.healthy[recipe, arm] for arm in known}, {arm: in_force.active[recipe, arm] for arm in known},
    )  # fmt: skip


def main() -> None:
    config = settings()
    controller = Controller(config, Ledger(config.ledger))
    with locked(config.home / "controller.lock"):  # one of a home, however it was started
        log.info("the controller watches %s", config.home)
        controller.gateway.reconcile()  # what was meant, if another was killed while it wrote
        ticking.run(controller.tick, config.tick_seconds, log)
        controller.book.release(LEASE, controller.holder)


if __name__ == "__main__":
    ticking.logs()
    main()
