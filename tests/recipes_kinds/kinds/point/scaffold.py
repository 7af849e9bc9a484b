"""Drafts a recipe for a table of points."""

from pathlib import Path

from ratchet.kinds.point.contract import PointContract

from ratchet.lake.drafts import Draft, accepted, class_fields, read


def draft(source: Path) -> Draft:
    rows = read(source, PointContract())
    return Draft(rows, {"call": "PointContract()", "family": "rnn", **class_fields(accepted(rows, source), source)})
