"""CSV or Parquet with a column for the point and one for its label."""

from collections.abc import Iterator
from pathlib import Path

from ratchet.kinds.point.contract import PointContract

from ratchet.lake.formats import Columns, Record, labelled, tabular

HINT = "Give CSV or Parquet with the columns `point` and `label`"


def read(contract: PointContract, inputs: Path, labels: Path | None) -> Iterator[Record]:
    return tabular(inputs, Columns("point", "label", labelled, HINT))
