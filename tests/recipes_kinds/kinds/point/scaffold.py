"""Outlines a recipe for a table of points."""

from pathlib import Path

from ratchet.kinds.point.contract import PointContract

from ratchet.lake.outline import Outline, read


def outline(source: Path, target: str = "") -> Outline:
    return Outline(read(source, PointContract()), {"call": "PointContract()", "family": "rnn"})
