"""Outlines a recipe for a table of points."""

from pathlib import Path

from ratchet.kinds.point.contract import PointContract

from ratchet.lake.outline import Outline, accepted, class_fields, read


def outline(source: Path) -> Outline:
    rows = read(source, PointContract())
    return Outline(rows, {"call": "PointContract()", "family": "rnn", **class_fields(accepted(rows, source), source)})
