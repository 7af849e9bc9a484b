"""What ingest reads as a series: CSV or Parquet with a column for the value and one for its time."""

from collections.abc import Iterator
from pathlib import Path

from ratchet.kinds.series.contract import SeriesContract
from ratchet.lake.formats import Columns, Record, tabular, timed

HINT = "Give CSV or Parquet with the columns `time` and `value`"


def read(contract: SeriesContract, inputs: Path, labels: Path | None) -> Iterator[Record]:
    """The records of a file. Raises Refusal if it is of another format."""
    return tabular(inputs, Columns("value", "time", lambda name, value, cells: timed(name, value, cells["time"]), HINT))
