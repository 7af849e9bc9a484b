"""Outlines a recipe for a table of points."""

from pathlib import Path

from ratchet.kinds.point.contract import PointContract

from ratchet.lake.outline import Given, Outline, read


def outline(source: Path, given: Given) -> Outline:
    contract = PointContract()
    return Outline(read(source, contract, given.layout), contract, {"call": "PointContract()", "family": "rnn"})
