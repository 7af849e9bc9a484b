"""Rows with a column for the point and one for its label."""

from collections.abc import Iterator
from pathlib import Path

from ratchet.kinds.point.contract import PointContract

from ratchet.lake import tabular
from ratchet.lake.formats import Record
from ratchet.lake.tabular import Columns, Report
from ratchet.layout import Layout

HINT = f"Give {tabular.FORMATS} with the columns `point` and `label`"


def read(
    contract: PointContract, inputs: Path, labels: Path | None, layout: Layout, report: Report
) -> Iterator[Record]:
    return tabular.records(inputs, Columns("point", "label", HINT), layout, report)
