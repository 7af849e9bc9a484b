"""Outlines a recipe for a table of texts."""

from pathlib import Path

from ratchet.kinds.text.contract import TextContract
from ratchet.lake.outline import Outline, read
from ratchet.layout import Layout


def outline(source: Path, target: str, layout: Layout) -> Outline:
    """The sizes are the contract's own."""
    return Outline(read(source, TextContract(), layout), {"call": "TextContract()", "family": "transformer"})
