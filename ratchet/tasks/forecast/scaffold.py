"""A forecast is outlined by its kind of input, which continues a series."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.lake.outline import Fields


def fit(labels: Sequence[str | None]) -> float:
    return 0.0


def fields(rows: pa.Table, source: Path) -> Fields:
    raise Refusal("a forecast has no labels", source, "Give a series: `ratchet new --kind series`")
