"""The one writer of traffic: a supervised process that ticks machine and plan over the ledger and the gateway.

It imports neither Prefect nor MLflow's package, so a bad revision is rolled back even if both are down.
"""

import logging
import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from bentos import golden
from models import registry
from ratchet.errors import Refusal
from ratchet.files import locked, save
from ratchet.fleet.gateway import Addresses, Gateway, InForce, Rejected
from ratchet.fleet.package_cache import MODEL, PackageCache
from ratchet.fleet.stack import SERVERS, Stack
from ratchet.recipe import Step
from ratchet.settings import Settings, settings
from ratchet.types import Check, Endpoint, HostPort, Package, Split, from_json, to_json
from releases import api, event_codec, machine, reconcile, ticker
from releases.alias_sync import AliasSync
from releases.evidence_collector import EvidenceCollector, counts_of
from releases.labels import Labelled
from releases.ledger import Ledger, Status
from releases.state import Event, Failed, Fleet, Passed, Routed, State
from releases.transitions import next_event, on_fallback

log = logging.getLogger("controller")
LEASE = "controller"
LEASE_SECONDS = 60.0
"""Longer than the longest tick. A controller that was killed renews its own lease: the holder is the home."""
_SWEEP_SECONDS = 5.0
"""Time between two searches for unsupervised servers, each of which walks every process of the machine."""
_BAKE_PAUSE = 1.0
"""Seconds between two own requests in a bake time without traffic."""


@dataclass
class Controller:
    config: Settings
    ledger: Ledger
    _collectors: dict[str, tuple[tuple[int, str, int], EvidenceCollector]] = field(default_factory=dict)
    _labelled: dict[str, tuple[int, Labelled]] = field(default_factory=dict)
    _fallback: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    """Attempt, seconds on fallback, and time of the last tick, by recipe."""
    _swept_at: float = 0.0
    _sweep: Future[int] | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def __post_init__(self) -> None:
        self.gateway, self.stack = Gateway(self.config), Stack(self.config)
        self.packages = PackageCache(self.config)
        self.states, self.log_once = api.StateCache(self.ledger), ticker.LogOnce(log)
        self.alias_sync = AliasSync(self.ledger, self.log_once)
        self.holder = f"{socket.gethostname()}:{self.config.home}"
        self.started_at = time.time()

    def tick(self, now: float) -> int:
        """Compares everything once and does what is missing; returns the number of changes."""
        if not self.ledger.lease(LEASE, self.holder, LEASE_SECONDS, now):
            return 0
        self._sweep_servers(now)
        hosts, in_force = self.ledger.statuses("host"), self.gateway.get_routes()
        changes = 0
        for recipe in self.ledger.recipes():
            try:
                changes += self._tick_recipe(recipe, hosts, in_force, now)
            except Refusal as refusal:
                self.log_once(recipe, str(refusal))
            except Exception:
                # The fault of one recipe must not keep the controller from the others.
                log.exception("%s: this tick failed", recipe)
        save(self.config.home / "controller.json", {"at": now, "holder": self.holder})
        return changes

    def _sweep_servers(self, now: float) -> None:
        """A server whose master was killed holds the port of its successor. Ending it must not delay a decision."""
        if not ticker.is_recent(self._swept_at, now, _SWEEP_SECONDS) and self.stack.supervisor.pid() is not None:
            if self._sweep is None or self._sweep.done():
                self._sweep = self._pool.submit(self.stack.end_strays, SERVERS)
            self._swept_at = now

    def _tick_recipe(self, recipe: str, hosts: Mapping[str, Status], in_force: InForce, now: float) -> int:
        state, _ = self.states.state(recipe)
        _, everything = self.gateway.declared()
        # After a complete outage, hosts get the time to report.
        since = 0.0 if ticker.is_recent(self.started_at, now, api.HOST_TIMEOUT) else now - api.HOST_TIMEOUT
        fleet = fleet_of(recipe, state, hosts, in_force, everything.get(recipe, {}), since)
        fleet = replace(fleet, fallback_seconds=self._seconds_on_fallback(recipe, state, fleet, now))
        try:
            checks, worse = self._evidence(recipe, state, fleet, in_force)
        except Exception as error:  # the unknown is never a pass, and a dead process must still be noticed
            log.exception("%s: the evidence could not be evaluated", recipe)
            checks, worse = (Check("evidence", None, None, "error", repr(error)),), None
        changes = 0
        if fleet.alive and fleet.split != state.routed:  # the history tells what the gateway has confirmed
            state = self._append(recipe, Routed(fleet.split, now))
        if event := next_event(state, fleet, checks, worse, now):
            state = self._append(recipe, event)
            changes += 1
        if operation := reconcile.traffic_plan(machine.actions(state), fleet):
            try:
                self.log_once(recipe, apply(operation, recipe, self.gateway))
            except Rejected as rejected:
                if state.phase == "idle":
                    raise
                state = self._append(recipe, Failed(state.attempt, rejected.what, checks, now))
            changes += 1
            _, everything = self.gateway.declared()
        status = {"addresses": everything.get(recipe, {}), "checks": [to_json(check) for check in checks]}
        self.ledger.publish(f"gateway:{recipe}", status, now)
        self.alias_sync.tick(recipe, state, now)
        return changes

    def _seconds_on_fallback(self, recipe: str, state: State, fleet: Fleet, now: float) -> float:
        """Time of this attempt in which the other revision answered the new version's requests."""
        attempt, seconds, last = self._fallback.get(recipe, (state.attempt, 0.0, now))
        if attempt != state.attempt:
            seconds = 0.0
        elif on_fallback(state, fleet):
            seconds += max(now - last, 0.0)  # the clock may have been set back
        self._fallback[recipe] = state.attempt, seconds, now
        return seconds

    def _append(self, recipe: str, event: Event) -> State:
        kind, _ = event_codec.to_body(event)
        match event:
            case Passed():
                detail = f"step {event.step + 1}"
            case Routed():
                detail = str(event.split)
            case _:
                detail = getattr(event, "why", "") or getattr(event, "version", "")
        log.info("%s: %s %s", recipe, kind, detail)
        return self.states.append(recipe, event, "controller")

    def _evidence(
        self, recipe: str, state: State, fleet: Fleet, in_force: InForce
    ) -> tuple[tuple[Check, ...], bool | None]:
        """What the present step has collected, by a collector of its own; nothing if no step is in progress."""
        position = (state.attempt, state.phase, state.step)
        collected_at, collector = self._collectors.get(recipe, (None, None))
        if collector and collected_at != position:
            collector.stop()
        old, new = (state.champion, state.challenger) if state.phase == "trial" else (state.warm, state.champion)
        if state.phase not in ("trial", "baking") or old is None or new is None:
            self._collectors.pop(recipe, None)
            return (), None
        if collector is None or collected_at != position:
            collector = self._new_collector(recipe, state, new, collector)
            self._collectors[recipe] = position, collector
        collector.addresses = (_answering(fleet, old.revision), _answering(fleet, new.revision))
        if fleet.split != machine.split(state):  # what was counted so far does not belong to this step
            return (), None
        return collector.checks(counts_of(in_force.counts, recipe, (old.revision, new.revision)))

    def _labelled_of(self, recipe: str, attempt: int) -> Labelled:
        """One for a whole release, since labels come late."""
        if self._labelled.get(recipe, (0, None))[0] != attempt:
            self._labelled[recipe] = attempt, Labelled()
        return self._labelled[recipe][1]

    def _new_collector(
        self, recipe: str, state: State, new: Package, previous: EvidenceCollector | None
    ) -> EvidenceCollector:
        on_trial = state.phase == "trial"
        return EvidenceCollector(
            recipe,
            state.plan,
            lambda: golden.read(self.packages.unpack(new, registry.fetch_package) / MODEL),
            own_requests_only=on_trial and state.trial == Step(),
            pause=0.0 if on_trial else _BAKE_PAUSE,
            # Under more load than the baseline's the same bento is slower.
            equal_load=on_trial and state.trial.weight <= 50,
            number=state.step if on_trial else len(state.plan.steps),
            few_callers=bool(previous and on_trial and previous.had_few_callers()),
            mirrored=bool(machine.split(state).mirror),
            pairs=previous.pairs if previous and on_trial else (0, 0),
            labels=lambda since: self.ledger.labels_since(recipe, since),
            labelled=self._labelled_of(recipe, state.attempt),
        )


def apply(operation: reconcile.TrafficOperation, recipe: str, gateway: Gateway) -> str:
    """Applies one operation of the traffic plan, which may be repeated; returns it in words."""
    match operation:
        case reconcile.SetEndpoints(addresses):
            gateway.set_endpoints(recipe, addresses)
            ports = {revision: [port for _, port in ends] for revision, ends in sorted(addresses.items())}
            return f"the gateway knows {', '.join(f'{revision} at {each}' for revision, each in ports.items())}"
        case reconcile.SetSplit(split):
            gateway.set_split(recipe, split)
            return f"the gateway splits the traffic: {split}"
        case reconcile.Finalize():
            gateway.finalize(recipe)
            return "the recipe is removed from the gateway"


def _answering(fleet: Fleet, revision: str) -> tuple[HostPort, ...]:
    """Where it answers now: the last report of a host that just died is older than the gateway's health checks."""
    healthy = fleet.healthy.get(revision, ())
    own = (endpoint for endpoint in fleet.endpoints if endpoint.revision == revision and endpoint.ready)
    return tuple(sorted(endpoint.host_port for endpoint in own if endpoint.host_port in healthy))


def fleet_of(
    recipe: str, state: State, hosts: Mapping[str, Status], in_force: InForce, addresses: Addresses, since: float
) -> Fleet:
    """One recipe's part of what the hosts reported and the gateway has in force. Pure."""
    living = {name: status.body for name, status in hosts.items() if status.at > since}
    reported = [endpoint for body in living.values() for endpoint in body["endpoints"]]
    current = [name for name, body in living.items() if body["attempts"].get(recipe) == state.attempt]
    revisions = [revision for name, revision in in_force.healthy if name == recipe]
    return Fleet(
        endpoints=tuple(from_json(Endpoint, endpoint) for endpoint in reported if endpoint["recipe"] == recipe),
        hosts=frozenset(living),
        current=frozenset(current),
        alive=in_force.alive,
        split=in_force.splits.get(recipe, Split()),
        addresses=addresses,
        healthy={revision: in_force.healthy[recipe, revision] for revision in revisions},
        active={revision: in_force.active[recipe, revision] for revision in revisions},
    )


def main() -> None:
    config = settings()
    controller = Controller(config, Ledger(config.ledger))
    with locked(config.home / "controller.lock"):  # one controller per home, however it was started
        log.info("the controller started; its home is %s", config.home)
        controller.gateway.reconcile()  # completes what a killed controller was writing
        ticker.run(controller.tick, config.tick_seconds, log)
        controller.ledger.release_lease(LEASE, controller.holder)


if __name__ == "__main__":
    ticker.configure_logging()
    main()
