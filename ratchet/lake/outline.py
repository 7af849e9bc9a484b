"""What the outlines of every kind share: reading the data as ingest would."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.lake import sources
from ratchet.layout import DETECTED, Layout
from ratchet.scratch import scratch_folder

Fields = Mapping[str, str]
"""Values for the template of a recipe, by field."""
_MIN_RECORDS = 60


@dataclass(frozen=True)
class Given:
    """What a person says of the data; the rest is found."""

    layout: Layout = DETECTED
    target: str = ""
    """Of a table: the column with the label."""
    horizon: int = 0
    """Of a series: how many values are forecast."""
    window: int = 0
    """Of a series: from how many values."""


NOTHING = Given()


@dataclass(frozen=True)
class Outline:
    rows: pa.Table
    """What ingest would read; a row with a `reason` would go to quarantine."""
    contract: Contract
    fields: Fields
    remarks: tuple[str, ...] = ()
    """What a person should know of it, in sentences."""


def read(source: Path, contract: Contract, layout: Layout) -> pa.Table:
    """The rows of a source. Raises Refusal if it cannot be read."""
    with scratch_folder() as folder:
        return sources.read(source, contract, sources.limits(), folder, layout=layout)


def accepted(rows: pa.Table, source: Path) -> pa.Table:
    """The rows without a reason against them. Raises Refusal if these are too few for a recipe."""
    good = rows.filter(pc.is_null(rows["reason"]))
    if good.num_rows < _MIN_RECORDS:
        reasons = rows["reason"].drop_null()
        first = f" ({reasons[0].as_py()})" if len(reasons) else ""
        what = f"only {good.num_rows} of its records can be read{first}"
        raise Refusal(what, source, f"Give at least {_MIN_RECORDS}")
    return good


def quoted(text: str) -> str:
    """A text as it stands in the recipe."""
    return json.dumps(text, ensure_ascii=False)
