"""Drafts a recipe for a table of texts."""

from pathlib import Path

from ratchet.kinds.text.contract import TextContract
from ratchet.lake.drafts import Draft, accepted, class_fields, read


def draft(source: Path) -> Draft:
    """The sizes are the contract's own."""
    rows = read(source, TextContract())
    fields = {"call": "TextContract()", "family": "transformer", **class_fields(accepted(rows, source), source)}
    return Draft(rows, fields)
