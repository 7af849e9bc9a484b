"""How flows and people ask: an entry in the ledger that the controller follows, and a look at its state."""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ratchet.errors import Refusal
from ratchet.recipe import Releasing
from ratchet.settings import settings
from ratchet.words import Package
from releases import entries, machine, observe
from releases.ledger import FORMAT, Ledger, Lost, Said
from releases.state import Event, Failed, Kind, Order, Requested, State, Steered

LIVING = 10.0
"""Seconds after its last word in which a host counts as alive: supervisord starts its agent again in less."""


def ledger() -> Ledger:
    return Ledger(settings().ledger)


@dataclass
class Followed:
    """The state of each recipe, kept up to date by what is new in the ledger."""

    book: Ledger = field(default_factory=ledger)
    _known: dict[str, tuple[State, int]] = field(default_factory=dict)

    def state(self, recipe: str) -> tuple[State, int]:
        """The state and the last `seq`."""
        state, seq = self._known.get(recipe, (State(), 0))
        for entry in self.book.read(recipe, seq):
            event = entries.from_body(entry.kind, entry.body, entry.at, entry.format, state)
            state, seq = machine.step(state, event)[0] if event else state, entry.seq
        self._known[recipe] = state, seq
        return state, seq

    def append(self, recipe: str, event: Event, who: str) -> State:
        """Enters an event and returns the state after it, however many others write at the same time.

        What would change nothing is not entered. Raises Refusal for a request that cannot be taken.
        """
        while True:
            state, seq = self.state(recipe)
            if isinstance(event, Requested | Steered) and (no := machine.refusal(state, event)):
                raise no
            if machine.step(state, event)[0] == state:
                return state
            kind, body = entries.to_body(event)
            _readable(kind, body, recipe, who)
            try:
                self.book.append(recipe, seq + 1, kind, who, body, event.at)
            except Lost:
                continue
            return self.state(recipe)[0]


def _readable(kind: str, body: Mapping[str, Any], *words: str) -> None:
    """Raises Refusal for what nobody could read back: an entry stays for ever, and every fold passes it."""
    try:
        "".join(words).encode()
        entries.from_body(kind, json.loads(json.dumps(body)), 0.0, FORMAT, State())
    except ValueError as error:
        raise Refusal(f"the entry could not be read back ({type(error).__name__})", kind, "Give plain text") from error


def line(text: str, limit: int = 500) -> str:
    """A reason or a name for the record, as one printable line. Raises Refusal when it is empty, long or no text."""
    found = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not found:
        raise Refusal("there is nothing in it", "the reason", "Say why")
    if len(found) > limit:
        raise Refusal(f"it has {len(found)} letters, over {limit}", "the reason", "Say it shorter")
    return found


def state_of(recipe: str, book: Ledger | None = None) -> State:
    return Followed(book or ledger()).state(recipe)[0]


def leaving(followed: Followed) -> frozenset[tuple[str, str]]:
    """Recipe and arm of each that drains: it is stopped soon."""
    return frozenset((r, p.arm) for r in followed.book.recipes() for p in followed.state(r)[0].draining)


def hosts(book: Ledger | None = None, now: float | None = None) -> tuple[str, ...]:
    """Those heard of lately."""
    since = (now or time.time()) - LIVING
    return tuple(sorted(name for name, said in (book or ledger()).heard("host").items() if said.at > since))


def release(package: Package, plan: Releasing, who: str, why: str, by_hand: bool = False) -> State:
    """Asks that `package` become champion. Raises Refusal when that cannot be now."""
    return Followed().append(package.recipe, requested(package, "release", why, by_hand, plan), who)


def rollback(recipe: str, who: str, why: str) -> Package:
    """Asks that the newest former champion that was never rolled back from come back.

    While a release is under way the champion has not changed: the release is ended. Needs the
    controller, the ledger and the gateway alone. Raises Refusal when there is nothing to go back to.
    """
    book = Followed()
    state, _ = book.state(recipe)
    if state.champion is None:
        raise Refusal("nothing was released yet", recipe, "Release something first: `ratchet loop`")
    if state.phase == "halted":
        raise Refusal(f"the release is halted: {state.why}", recipe, _DECIDE.format(recipe))
    if state.challenger and state.kind == "release":
        book.append(recipe, Failed(state.attempt, f"rolled back by {who}: {why}", (), time.time()), who)
        return state.champion
    target = machine.rollback_target(state)
    if target is None:
        raise Refusal(
            f"there is no former champion to go back to from version {state.champion.version}",
            recipe,
            "See `ratchet history`; release a new version instead",
        )
    book.append(recipe, requested(target, "rollback", why, True, Releasing()), who)
    return target


def steer(recipe: str, order: Order, who: str, why: str) -> State:
    """Raises Refusal when there is nothing to steer so."""
    return Followed().append(recipe, Steered(order, why, time.time()), who)


def abort(recipe: str, who: str, why: str) -> State:
    """Ends the release that is under way, bakes or is halted; raises Refusal when none is."""
    state = state_of(recipe)
    if state.phase == "idle":
        raise Refusal("no release is under way", recipe, "See `ratchet status`")
    if state.phase == "turning" and state.kind == "rollback":
        raise Refusal("the gateway is turning back already", recipe, "See `ratchet status`")
    return Followed().append(recipe, Failed(state.attempt, f"aborted by {who}: {why}", (), time.time()), who)


def serves(host: Said, recipe: str, arm: str) -> bool:
    """Whether a host said that the arm answers there, its golden set included."""
    mine = [a for a in host.body["arms"] if (a["recipe"], a["arm"], a["state"] != "orphan") == (recipe, arm, True)]
    return bool(mine) and all(a["ready"] and a["proven"] for a in mine)


def astray() -> list[str]:
    """What is not as the ledger says, a line each: a host without a champion, or one that was not heard of lately."""
    book, told = ledger(), []
    heard, living = book.heard("host"), hosts(book)
    told += [
        f"host {name} was not heard of for {time.time() - heard[name].at:.0f} s" for name in heard if name not in living
    ]
    for recipe in book.recipes():
        champion = state_of(recipe, book).champion
        for host in living if champion else ():
            if champion and not serves(heard[host], recipe, champion.arm):
                told.append(f"host {host} does not serve the champion of {recipe} yet")
    return told


def report_failure(package: Package, attempt: int, why: str, who: str) -> None:
    """A host could not be warmed. Once every host was shown healthy, what they say counts, and not a flow."""
    state = state_of(package.recipe)
    if (state.challenger, state.attempt, state.phase) == (package, attempt, "warming"):
        Followed().append(package.recipe, Failed(attempt, why, (), time.time()), who)


def watch(package: Package, tell: Callable[[str], None]) -> State:
    """Returns when the package is champion; tells each phase and step on the way.

    Raises Refusal when it failed, or when the controller does not decide in time.
    """
    book, told = Followed(), ""
    while True:
        state, _ = book.state(package.recipe)
        if state.champion == package and state.challenger is None:
            return state
        if state.challenger != package:
            raise Refusal(f"it is not champion: {state.why}", package.tag, goes_on(state))
        if state.phase == "halted":
            raise Refusal(f"the release is halted: {state.why}", package.tag, _DECIDE.format(package.recipe))
        if (now := _phase(state)) != told:
            told = now
            tell(f"version {package.version}: {now}")
        if time.time() > state.deadline + 60 and not state.paused:
            raise Refusal("the controller does not decide", package.tag, "See `ratchet logs controller`")
        time.sleep(0.3)


def goes_on(state: State) -> str:
    """What callers have, whatever was refused."""
    return "The champion goes on serving" if state.champion else "Nothing serves yet"


_DECIDE = "Decide: `ratchet release promote {0}` or `ratchet release abort {0}`"


def _phase(state: State) -> str:
    where = f"on trial at {observe.named(state.trial)}" if state.phase == "trial" else state.phase
    return f"{where}, paused" if state.paused else where


def person() -> str:
    """Who asks, for the record."""
    try:
        return line(os.environ.get("RATCHET_WHO", "").strip() or getpass.getuser(), 100)
    except (KeyError, OSError):
        return "unknown"


def requested(
    package: Package, kind: Kind, why: str, by_hand: bool, plan: Releasing, book: Ledger | None = None
) -> Requested:
    """The event, with the hosts that are alive now."""
    config = settings()
    times = (config.warm_seconds, config.turn_seconds, time.time())
    return Requested(package, kind, why, by_hand, hosts(book), plan, *times)
