"""Outlines a recipe for a table of texts."""

from pathlib import Path

from ratchet.kinds.text.contract import TextContract
from ratchet.lake.outline import Given, Outline, read


def outline(source: Path, given: Given) -> Outline:
    """The sizes are the contract's own."""
    contract = TextContract()
    return Outline(read(source, contract, given.layout), contract, {"call": "TextContract()", "family": "transformer"})
