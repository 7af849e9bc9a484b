"""The release API, a library for flows and people: a request is a ledger entry that the controller follows."""

import getpass
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ratchet.errors import Refusal
from ratchet.recipe import ReleasePlan
from ratchet.settings import settings
from ratchet.types import Endpoint, Package, from_json
from releases import event_codec, machine
from releases.ledger import Conflict, Ledger, Status
from releases.metrics_reader import MetricsReader
from releases.state import Event, Failed, Kind, Order, Requested, State, Steered

log = logging.getLogger(__name__)
HOST_TIMEOUT = 10.0
"""Seconds after its last report in which a host counts as alive: supervisord restarts its agent in less."""
_CHOICE = "Decide: `ratchet release promote {0}` or `ratchet release abort {0}`"


def open_ledger() -> Ledger:
    return Ledger(settings().ledger)


@dataclass
class StateCache:
    """The state of each recipe, updated from the new entries of the ledger."""

    ledger: Ledger = field(default_factory=open_ledger)
    _states: dict[str, tuple[State, int]] = field(default_factory=dict)

    def state(self, recipe: str) -> tuple[State, int]:
        """The state and the last `seq`."""
        state, seq = self._states.get(recipe, (State(), 0))
        for entry in self.ledger.read(recipe, seq):
            event = event_codec.from_body(entry.kind, entry.body, entry.at)
            state, seq = machine.step(state, event)[0] if event else state, entry.seq
        self._states[recipe] = state, seq
        return state, seq

    def append(self, recipe: str, event: Event, who: str) -> State:
        """Appends an event and returns the state after it, however many others write at the same time.

        An event that would change nothing is not appended. Raises Refusal for a request that cannot be accepted.
        """
        while True:
            state, seq = self.state(recipe)
            if isinstance(event, Requested | Steered) and (refusal := machine.refusal(state, event)):
                raise refusal
            if machine.step(state, event)[0] == state:
                return state
            kind, body = event_codec.to_body(event)
            _require_readable(kind, body, recipe, who)
            try:
                self.ledger.append(recipe, seq + 1, kind, who, body, event.at)
            except Conflict:
                continue
            return self.state(recipe)[0]


def _require_readable(kind: str, body: Mapping[str, Any], *texts: str) -> None:
    """Raises Refusal for what cannot be read back: an entry stays forever, and every fold reads it."""
    try:
        "".join(texts).encode()
        event_codec.from_body(kind, json.loads(json.dumps(body)), 0.0)
    except ValueError as error:
        what = f"the entry could not be read back ({type(error).__name__})"
        raise Refusal(what, kind, "Give plain text") from error


def one_line(text: str, limit: int = 500) -> str:
    """A reason or a name for the record as one printable line. Raises Refusal if it is empty or too long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not line:
        raise Refusal("the reason is empty", "--why", "Give a reason")
    if len(line) > limit:
        raise Refusal(f"the reason has {len(line)} characters, more than {limit}", "--why", "Shorten it")
    return line


def state_of(recipe: str, ledger: Ledger | None = None) -> State:
    return StateCache(ledger or open_ledger()).state(recipe)[0]


def newest_version(recipe: str) -> int:
    """The highest number of a version that was ever noted, or was to be released; 0 if there was none."""
    ledger = open_ledger()
    requested = (entry.body["package"]["version"] for entry in ledger.read(recipe) if entry.kind == "requested")
    noted = ledger.statuses("versions").get(recipe)
    return max(*map(int, requested), noted.body["newest"] if noted else 0, 0)


def note_version(recipe: str, version: str) -> None:
    """Notes that a version was registered, so that its number is never given again."""
    newest = max(newest_version(recipe), int(version))
    open_ledger().publish(f"versions:{recipe}", {"newest": newest}, time.time())


def draining(states: StateCache) -> frozenset[tuple[str, str]]:
    """Recipe and revision of each package that drains and will be stopped soon."""
    recipes = states.ledger.recipes()
    return frozenset((recipe, p.revision) for recipe in recipes for p in states.state(recipe)[0].draining)


def living_hosts(ledger: Ledger | None = None, now: float | None = None) -> tuple[str, ...]:
    """The hosts that reported lately."""
    since = (now or time.time()) - HOST_TIMEOUT
    statuses = (ledger or open_ledger()).statuses("host")
    return tuple(sorted(name for name, status in statuses.items() if status.at > since))


def recent_requests(recipe: str, ledger: Ledger) -> set[str]:
    """The ids of the requests that a recipe's bentos answered lately; one that does not respond is left out."""
    status = ledger.statuses("gateway").get(recipe)
    ids: set[str] = set()
    for host, port in (end for ends in (status.body["addresses"] if status else {}).values() for end in ends):
        reader = MetricsReader((host, port))
        try:
            ids |= reader.recent_requests()
        except Refusal as refusal:
            log.warning("%s", refusal)
        finally:
            reader.close()
    return ids


def endpoints(status: Status, recipe: str, revision: str) -> list[Endpoint]:
    """The endpoints of a revision that a host reported, without orphans."""
    reported = (from_json(Endpoint, endpoint) for endpoint in status.body["endpoints"])
    return [e for e in reported if (e.recipe, e.revision) == (recipe, revision) and e.state != "orphan"]


def serves(status: Status, recipe: str, revision: str) -> bool:
    """Whether a host reported that the revision is ready there and answered its golden set."""
    own = endpoints(status, recipe, revision)
    return bool(own) and all(endpoint.ready and endpoint.verified for endpoint in own)


def request(
    package: Package, kind: Kind, why: str, by_hand: bool, plan: ReleasePlan, ledger: Ledger | None = None
) -> Requested:
    """The event of a request, with the hosts that are alive now."""
    config = settings()
    hosts, now = living_hosts(ledger), time.time()
    return Requested(package, kind, why, by_hand, hosts, plan, config.warm_seconds, config.shift_seconds, now)


def release(package: Package, plan: ReleasePlan, who: str, why: str, by_hand: bool = False) -> State:
    """Requests that `package` become champion. Raises Refusal if that is not possible now."""
    return StateCache().append(package.recipe, request(package, "release", why, by_hand, plan), who)


def require_champion(recipe: str, compared: Package | None) -> None:
    """Raises Refusal if a candidate was compared with another champion than the present one."""
    if (now := state_of(recipe).champion) != compared:
        what = f"version {now.version if now else 'none'} became champion in the meantime"
        raise Refusal(what, recipe, "Run the loop again, which compares the candidate with it")


def rollback(recipe: str, who: str, why: str) -> Package:
    """Requests that the newest former champion that was never rolled back become champion again.

    While a release is on trial the champion has not changed, so the release is aborted. It needs the ledger, the
    controller, the gateway and the hosts' agents; Prefect and MLflow may be down. Raises Refusal if there is no
    former champion.
    """
    states = StateCache()
    state, _ = states.state(recipe)
    if state.champion is None:
        raise Refusal("nothing has been released yet", recipe, "Release something first: `ratchet loop`")
    if state.phase == "halted":
        raise Refusal(f"the release is halted: {state.why}", recipe, _CHOICE.format(recipe))
    if state.challenger and state.kind == "release":
        states.append(recipe, Failed(state.attempt, f"rolled back by {who}: {why}", (), time.time()), who)
        return state.champion
    target = machine.rollback_target(state)
    if target is None:
        what = f"there is no former champion to roll back to from version {state.champion.version}"
        raise Refusal(what, recipe, "See `ratchet history`; release a new version instead")
    states.append(recipe, request(target, "rollback", why, True, ReleasePlan()), who)
    return target


def steer(recipe: str, order: Order, who: str, why: str) -> State:
    """Appends a person's order. Raises Refusal if it does not apply now."""
    return StateCache().append(recipe, Steered(order, why, time.time()), who)


def abort(recipe: str, who: str, why: str) -> State:
    """Ends a release that is in progress, bakes or is halted. Raises Refusal if there is none."""
    state = state_of(recipe)
    if state.phase == "idle":
        raise Refusal("no release is in progress", recipe, "See `ratchet status`")
    if state.phase == "shifting" and state.kind == "rollback":
        raise Refusal("the gateway is shifting back already", recipe, "See `ratchet status`")
    return StateCache().append(recipe, Failed(state.attempt, f"aborted by {who}: {why}", (), time.time()), who)


def publish_run(recipe: str, run: str, attempt: int) -> None:
    """Records which flow run watches an attempt."""
    open_ledger().publish(f"run:{recipe}", {"run": run, "attempt": attempt}, time.time())


def withdraw(recipe: str, run: str) -> bool:
    """Withdraws the release that a cancelled run watches, if it is not over; whether it did.

    The champion keeps all traffic. A version that is champion already stays: only a rollback takes it back.
    """
    watched = _watched(recipe, run)
    state = state_of(recipe)
    if watched is None or state.attempt != watched or state.kind != "release" or state.challenger is None:
        return False
    failed = Failed(state.attempt, "its flow run was cancelled", (), time.time(), withdrawn=True)
    StateCache().append(recipe, failed, "cancelled flow run")
    return _is_withdrawn(recipe, watched)


def withdrawal(recipe: str, run: str) -> str:
    """What became of the release that a cancelled run watched, in a sentence; empty if it watched none."""
    watched = _watched(recipe, run)
    if watched is None:
        return ""
    if _is_withdrawn(recipe, watched):
        return f"Its release was withdrawn. {what_serves(state_of(recipe))}"
    for entry in open_ledger().read(recipe):
        if entry.kind == "promoted" and entry.body["attempt"] == watched:
            undo = f"`ratchet rollback {recipe}` takes it back"
            return f"The release was not withdrawn, since version {entry.body['version']} was champion already; {undo}"
    return ""


def _watched(recipe: str, run: str) -> int | None:
    """The attempt that a run watches, or None."""
    status = open_ledger().statuses("run").get(recipe)
    return int(status.body["attempt"]) if status and status.body["run"] == run else None


def _is_withdrawn(recipe: str, attempt: int) -> bool:
    own = (entry.body for entry in open_ledger().read(recipe) if entry.kind == "failed")
    return any(body["attempt"] == attempt and body.get("withdrawn", False) for body in own)


def differences() -> list[str]:
    """What is not as the ledger says, one line each: a host without a champion, or one that does not report."""
    ledger = open_ledger()
    statuses, living = ledger.statuses("host"), living_hosts(ledger)
    lines = [
        f"host {name} has not reported for {time.time() - status.at:.0f} s"
        for name, status in statuses.items()
        if name not in living
    ]
    for recipe in ledger.recipes():
        champion = state_of(recipe, ledger).champion
        for host in living if champion else ():
            if champion and not serves(statuses[host], recipe, champion.revision):
                lines.append(f"host {host} does not serve the champion of {recipe} yet")
    return lines


def watch(package: Package, report: Callable[[str], None]) -> State:
    """Returns when the package is champion; reports each phase and step on the way.

    Raises Refusal if the release fails, or the controller does not decide in time.
    """
    states, last = StateCache(), ""
    while True:
        state, _ = states.state(package.recipe)
        if state.champion == package and state.challenger is None:
            return state
        if state.challenger != package:
            raise Refusal(f"the release failed: {state.why}", package.tag, what_serves(state))
        if state.phase == "halted":
            raise Refusal(f"the release is halted: {state.why}", package.tag, _CHOICE.format(package.recipe))
        phase = describe_phase(state)
        if phase != last:
            last = phase
            report(f"version {package.version}: {phase}")
        if time.time() > state.deadline + 60 and not state.paused:
            what = "the controller made no decision before the deadline"
            raise Refusal(what, package.tag, "See `ratchet logs controller`")
        time.sleep(0.3)


def what_serves(state: State) -> str:
    """What callers have, whatever was refused."""
    return "The champion still serves" if state.champion else "Nothing serves yet"


def describe_phase(state: State) -> str:
    phase = f"on trial at {state.trial}" if state.phase == "trial" else state.phase
    return f"{phase}, paused" if state.paused else phase


def person() -> str:
    """Who gives the command, for the record."""
    try:
        return one_line(os.environ.get("RATCHET_WHO", "").strip() or getpass.getuser(), 100)
    except (KeyError, OSError):
        return "unknown"
