"""Events as the ledger keeps them, and back. Reads what format 1 wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratchet.words import from_json, to_json
from releases.state import (
    Baked,
    Drained,
    Event,
    Failed,
    Halted,
    Healthy,
    Passed,
    Promoted,
    Recorded,
    Requested,
    State,
    Steered,
)

KINDS: dict[str, type[Event]] = {
    k.__name__.lower(): k
    for k in (Requested, Healthy, Passed, Failed, Halted, Promoted, Baked, Drained, Recorded, Steered)
}


def to_body(event: Event) -> tuple[str, dict[str, Any]]:
    """The ledger's kind and body of an event; `at` is a column of its own."""
    body = to_json(event)
    del body["at"]
    return type(event).__name__.lower(), body


def from_body(kind: str, body: Mapping[str, Any], at: float, format: int, state: State) -> Event | None:
    """The event back; None for a kind that does not concern the machine. `state` is the one before it."""
    if kind not in KINDS:
        return None
    told = _first_format(kind, body, state) if format == 1 else body
    return None if told is None else from_json(KINDS[kind], {**told, "at": at})


def _first_format(kind: str, body: Mapping[str, Any], state: State) -> Mapping[str, Any] | None:
    """Format 1 released all at once on one host, and its events named a version in place of an attempt."""
    if kind == "requested":
        return {**body, "hosts": ["?"], "plan": {"steps": [], "bake_seconds": 0.0}}
    if kind == "recorded":
        return body
    version = body["version"]
    if kind == "drained":
        return next(({"arm": p.arm} for p in state.draining if p.version == version), None)
    if state.challenger is None or state.challenger.version != version:
        return None
    attempt = {"attempt": state.attempt}
    return {"healthy": {**attempt, "hosts": {}}, "failed": {**attempt, "why": body.get("why", "")},
            "promoted": {**attempt, "version": version}}.get(kind)  # fmt: skip
