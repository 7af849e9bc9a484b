"""What ingest reads as a series: rows with a column for the value and one for its time."""

from collections.abc import Iterator
from pathlib import Path

from ratchet.kinds.series.contract import SeriesContract
from ratchet.lake import tabular
from ratchet.lake.formats import Record
from ratchet.lake.tabular import Columns, Report
from ratchet.layout import Layout

HINT = f"Give {tabular.FORMATS} with the columns `time` and `value`"


def read(
    contract: SeriesContract, inputs: Path, labels: Path | None, layout: Layout, report: Report
) -> Iterator[Record]:
    """The records of a file. Raises Refusal if it is of another format."""
    columns = Columns("value", "time", HINT, time="time", record=lambda name, value, cells: Record(name, value, None))
    return tabular.records(inputs, columns, layout, report)
