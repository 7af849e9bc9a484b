"""How flows and people ask: an entry in the ledger that the controller follows, and a look at its state."""

from __future__ import annotations

import getpass
import os
import time

from ratchet.errors import Refusal
from ratchet.settings import settings
from ratchet.words import Package, Served, to_json
from releases import machine
from releases.ledger import Ledger, Lost
from releases.machine import Event, Failed, Healthy, Requested, State


def ledger() -> Ledger:
    return Ledger(settings().ledger)


def state_of(recipe: str, book: Ledger | None = None) -> tuple[State, int]:
    """The state and the last `seq`."""
    entries = (book or ledger()).read(recipe)
    events = (machine.from_body(e.kind, e.body, e.at) for e in entries)
    return machine.fold(e for e in events if e), entries[-1].seq if entries else 0


def append(recipe: str, event: Event, who: str, book: Ledger | None = None) -> State:
    """Enters an event and returns the state after it, however many others write at the same time.

    Raises Refusal for a request that cannot be taken.
    """
    book = book or ledger()
    while True:
        state, seq = state_of(recipe, book)
        if isinstance(event, Requested) and (no := machine.refusal(state, event)):
            raise no
        kind, body = machine.to_body(event)
        try:
            book.append(recipe, seq + 1, kind, who, body, event.at)
        except Lost:
            continue
        return machine.step(state, event)[0]


def release(package: Package, who: str, why: str, by_hand: bool = False) -> State:
    """Asks that `package` become champion. Raises Refusal when that cannot be now."""
    return append(package.recipe, _requested(package, "release", why, by_hand), who)


def rollback(recipe: str, who: str, why: str) -> Package:
    """Asks that the newest former champion that was never rolled back from come back.

    Needs the controller, the ledger and the gateway alone. Raises Refusal when there is none.
    """
    state, _ = state_of(recipe)
    if state.champion is None:
        raise Refusal("nothing was released yet", recipe, "Release something first: `ratchet loop`")
    target = machine.rollback_target(state)
    if target is None:
        raise Refusal(
            f"there is no former champion to go back to from version {state.champion.version}",
            recipe,
            "See `ratchet history`; release a new version instead",
        )
    append(recipe, _requested(target, "rollback", why, True), who)
    return target


def report(served: Served, who: str) -> None:
    """A host serves the package and it answered its golden set."""
    append(served.package.recipe, Healthy(served.package.version, to_json(served), time.time()), who)


def report_failure(package: Package, why: str, who: str) -> None:
    append(package.recipe, Failed(package.version, why, time.time()), who)


def person() -> str:
    """Who asks, for the record."""
    try:
        return os.environ.get("RATCHET_WHO") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _requested(package: Package, kind: machine.Kind, why: str, by_hand: bool) -> Requested:
    return Requested(package, kind, why, by_hand, settings().warm_seconds, settings().turn_seconds, time.time())
