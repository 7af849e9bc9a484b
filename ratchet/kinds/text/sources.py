"""What ingest reads as texts: rows with a column for the text and one for its label."""

from collections.abc import Iterator
from pathlib import Path

from ratchet.kinds.text.contract import TextContract
from ratchet.lake import tabular
from ratchet.lake.formats import Record
from ratchet.lake.tabular import Columns, Report
from ratchet.layout import Layout

HINT = f"Give {tabular.FORMATS} with the columns `text` and `label`"


def read(contract: TextContract, inputs: Path, labels: Path | None, layout: Layout, report: Report) -> Iterator[Record]:
    """The records of a file. Raises Refusal if it is of another format."""
    return tabular.records(inputs, Columns("text", "label", HINT), layout, report)
