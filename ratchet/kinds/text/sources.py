"""What ingest reads as texts: CSV or Parquet with a column for the text and one for its label."""

from collections.abc import Iterator
from pathlib import Path

from ratchet.kinds.text.contract import TextContract
from ratchet.lake.formats import Columns, Record, labelled, tabular

HINT = "Give CSV or Parquet with the columns `text` and `label`"


def read(contract: TextContract, inputs: Path, labels: Path | None) -> Iterator[Record]:
    """The records of a file. Raises Refusal if it is of another format."""
    return tabular(inputs, Columns("text", "label", labelled, HINT))
