"""The release history: which split held when, and all events of one version's releases. Pure, from the ledger alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ratchet.types import Split, to_json, version_of
from releases import event_codec, machine
from releases.ledger import Entry
from releases.state import Event, Promoted, Requested, State, Synced


@dataclass(frozen=True)
class Share:
    """From `at` until the next one, the traffic was to be split in this way; `who` changed it, and why."""

    at: float
    split: Split
    who: str
    kind: str
    why: str


def replay(entries: Iterable[Entry]) -> Iterable[tuple[Entry, Event | None, State]]:
    """Each entry with its event and the state after it."""
    state = State()
    for entry in entries:
        event = event_codec.from_body(entry.kind, entry.body, entry.at)
        state = machine.step(state, event)[0] if event else state
        yield entry, event, state


def shares(entries: Iterable[Entry]) -> list[Share]:
    """Every change of the split, oldest first."""
    changes: list[Share] = []
    for entry, event, state in replay(entries):
        split = machine.split(state)
        if split != (changes[-1].split if changes else Split()):
            changes.append(Share(entry.at, split, entry.who, entry.kind, getattr(event, "why", "") or state.why))
    return changes


def at(shares: Iterable[Share], moment: float) -> Share | None:
    """The split that held at a moment; None before the first one."""
    return next((share for share in reversed(list(shares)) if share.at <= moment), None)


def release(entries: Iterable[Entry], version: str) -> dict[str, Any]:
    """Every event of the releases of one version, with its time, who, checks and the split after it."""
    replayed, events, concerned = tuple(replay(entries)), [], False
    for entry, event, state in replayed:
        if isinstance(event, Requested):
            concerned = event.package.version == version
        if concerned and not isinstance(event, Synced):
            split = to_json(machine.split(state))
            events.append({**entry.body, "at": entry.at, "event": entry.kind, "who": entry.who, "split": split})
    return {"format": 1, "version": version, "state": _status(replayed, version), "events": events}


def _status(replayed: Sequence[tuple[Entry, Event | None, State]], version: str) -> str:
    """What became of a version so far."""
    state = replayed[-1][2] if replayed else State()
    events = [event for _, event, _ in replayed]
    requested = any(isinstance(event, Requested) and event.package.version == version for event in events)
    promoted = any(isinstance(event, Promoted) and event.version == version for event in events)
    if state.champion and state.champion.version == version:
        return "released"
    if state.challenger and state.challenger.version == version:
        return "on trial"
    if version in map(version_of, state.rolled_back):
        return "rolled back"
    if promoted:
        return "replaced"
    return "not released" if requested else "not on trial yet"
