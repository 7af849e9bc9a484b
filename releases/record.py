"""What served when, and the record of one release: told from the ledger's entries alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ratchet.words import Split, to_json, version_of
from releases import entries as ledger_entries
from releases import machine
from releases.ledger import Entry
from releases.state import Event, Promoted, Requested, State


@dataclass(frozen=True)
class Share:
    """From `at` until the next one, the traffic was to be split so; `who` moved it, and why."""

    at: float
    split: Split
    who: str
    kind: str
    why: str


def told(entries: Iterable[Entry]) -> Iterable[tuple[Entry, Event | None, State]]:
    """Each entry with its event and the state after it."""
    state = State()
    for entry in entries:
        event = ledger_entries.from_body(entry.kind, entry.body, entry.at, entry.format, state)
        state = machine.step(state, event)[0] if event else state
        yield entry, event, state


def shares(entries: Iterable[Entry]) -> list[Share]:
    """Every change of the split, oldest first."""
    found: list[Share] = []
    for entry, event, state in told(entries):
        split = machine.split(state)
        if split != (found[-1].split if found else Split()):
            found.append(Share(entry.at, split, entry.who, entry.kind, getattr(event, "why", "") or state.why))
    return found


def at(shares: Iterable[Share], moment: float) -> Share | None:
    """The split that held at a moment; None before the first."""
    return next((s for s in reversed(list(shares)) if s.at <= moment), None)


def release(entries: Iterable[Entry], version: str) -> dict[str, Any]:
    """Every event of the releases of one version, with its time, who, figures and the split after it."""
    seen, events, mine = tuple(told(entries)), [], False
    for entry, event, state in seen:
        if isinstance(event, Requested):
            mine = event.package.version == version
        if mine and entry.kind != "recorded":
            split = to_json(machine.split(state))
            who = {"at": entry.at, "event": entry.kind, "who": entry.who}
            events.append({**entry.body, **who, "split": split})
    return {"format": 1, "version": version, "state": _became(seen, version), "events": events}


def _became(seen: Sequence[tuple[Entry, Event | None, State]], version: str) -> str:
    """What became of a version so far, in words."""
    state = seen[-1][2] if seen else State()
    asked = any(isinstance(event, Requested) and event.package.version == version for _, event, _ in seen)
    served = any(isinstance(event, Promoted) and event.version == version for _, event, _ in seen)
    if state.champion and state.champion.version == version:
        return "released"
    if state.challenger and state.challenger.version == version:
        return "on trial"
    if version in map(version_of, state.rolled_back):
        return "rolled back"
    return "replaced" if served else "not released" if asked else "not on trial yet"
