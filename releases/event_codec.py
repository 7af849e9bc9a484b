"""Encodes events for the ledger, and decodes them."""

from collections.abc import Mapping
from typing import Any, get_args

from ratchet.types import from_json, to_json
from releases.state import Event

KINDS: dict[str, type[Event]] = {type_.__name__.lower(): type_ for type_ in get_args(Event)}


def to_body(event: Event) -> tuple[str, dict[str, Any]]:
    """The ledger's kind and body of an event; `at` is a column of its own."""
    body = to_json(event)
    del body["at"]
    return type(event).__name__.lower(), body


def from_body(kind: str, body: Mapping[str, Any], at: float) -> Event | None:
    """The event; None for a kind that does not concern the machine."""
    return from_json(KINDS[kind], {**body, "at": at}) if kind in KINDS else None
