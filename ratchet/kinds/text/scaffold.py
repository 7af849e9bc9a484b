"""Outlines a recipe for a table of texts."""

from pathlib import Path

from ratchet.kinds.text.contract import TextContract
from ratchet.lake.outline import Outline, read


def outline(source: Path, target: str = "") -> Outline:
    """The sizes are the contract's own."""
    return Outline(read(source, TextContract()), {"call": "TextContract()", "family": "transformer"})
