"""The release history: which split held when, and all events of one version's releases. Pure, from the ledger alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ratchet.types import Split, to_json, version_of
from releases import event_codec, machine
from releases.ledger import Entry
from releases.state import Event, Promoted, Requested, Routed, State, Synced


@dataclass(frozen=True)
class Share:
    """From `at` until the next one, the gateway split the traffic in this way; `who` changed it, and why."""

    at: float
    split: Split
    who: str
    kind: str
    why: str


@dataclass(frozen=True)
class Moment:
    """An entry with its event, the state after it, and the split that the gateway then had."""

    entry: Entry
    event: Event | None
    state: State
    split: Split


def replay(entries: Iterable[Entry]) -> list[Moment]:
    """Every moment of a recipe's history."""
    state, folded = State(), []
    for entry in entries:
        event = event_codec.from_body(entry.kind, entry.body, entry.at)
        state = machine.step(state, event)[0] if event else state
        folded.append((entry, event, state))
    first = next((index for index, (_, event, _) in enumerate(folded) if isinstance(event, Routed)), len(folded))
    # An earlier Ratchet did not record what the gateway confirmed: its promotions have no such entry before them.
    unrecorded = first if any(isinstance(event, Promoted) for _, event, _ in folded[:first]) else 0
    return [
        Moment(entry, event, state, machine.split(state) if index < unrecorded else state.routed)
        for index, (entry, event, state) in enumerate(folded)
    ]


def shares(entries: Iterable[Entry]) -> list[Share]:
    """Every split that the gateway confirmed, oldest first, with who changed it and why."""
    changes: list[Share] = []
    cause, wanted = ("", "", ""), Split()
    for moment in replay(entries):
        entry, state = moment.entry, moment.state
        if machine.split(state) != wanted:
            wanted = machine.split(state)
            cause = (entry.who, entry.kind, getattr(moment.event, "why", "") or state.why)
        if moment.split != (changes[-1].split if changes else Split()):
            changes.append(Share(entry.at, moment.split, *cause))
    return changes


def at(shares: Iterable[Share], moment: float) -> Share | None:
    """The split that held at a moment; None before the first one."""
    return next((share for share in reversed(list(shares)) if share.at <= moment), None)


def release(entries: Iterable[Entry], version: str) -> dict[str, Any]:
    """Every event of the releases of one version, with its time, who, checks and the split after it."""
    moments, events, concerned = replay(entries), [], False
    for moment in moments:
        entry, event = moment.entry, moment.event
        if isinstance(event, Requested):
            concerned = event.package.version == version
        if concerned and not isinstance(event, Synced):
            split = to_json(moment.split)
            events.append({**entry.body, "at": entry.at, "event": entry.kind, "who": entry.who, "split": split})
    return {"format": 1, "version": version, "state": _status(moments, version), "events": events}


def _status(moments: Sequence[Moment], version: str) -> str:
    """What became of a version so far."""
    state = moments[-1].state if moments else State()
    events = [moment.event for moment in moments]
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
