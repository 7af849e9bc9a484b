"""The kinds of input, a folder each, which owns all that is particular to it. docs/extending.md says how to add one.

A user-defined kind is a folder `kinds/<name>` in one of the recipe folders. This file travels inside every bento.
"""

from collections.abc import Mapping
from typing import Any

from ratchet.contract import Contract
from ratchet.extension import Registry

_REGISTRY = Registry(__name__, tuple(__path__), "kind of input", in_bento=("contract", "endpoint", "logged"))
look_outside, names, part = _REGISTRY.look_outside, _REGISTRY.names, _REGISTRY.part
bento_files = _REGISTRY.bento_files


def of(data: Mapping[str, Any]) -> Contract:
    """The contract from its JSON. Raises Refusal if there is no such kind, or it has other fields."""
    fields = {name: value for name, value in data.items() if name != "kind"}
    contract: Contract = _REGISTRY.read(data["kind"], "CONTRACT", fields)
    return contract
