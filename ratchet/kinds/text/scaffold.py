"""Outlines a recipe for a table of texts."""

from pathlib import Path

from ratchet.kinds.text.contract import TextContract
from ratchet.lake.outline import Outline, accepted, class_fields, read


def outline(source: Path) -> Outline:
    """The sizes are the contract's own."""
    rows = read(source, TextContract())
    fields = {"call": "TextContract()", "family": "transformer", **class_fields(accepted(rows, source), source)}
    return Outline(rows, fields)
