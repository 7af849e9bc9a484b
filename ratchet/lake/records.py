"""Finds one record by its digest: among the admitted records, or in the benchmark."""

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.kinds import parts
from ratchet.lake import table
from ratchet.lake.ingest import benchmark, lake
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks

_BENCHMARK = "benchmark"


@dataclass(frozen=True)
class Record:
    record: str
    side: str
    """`train`, `validation`, `test` or `benchmark`; `by time` for a series."""
    batch: str
    label: str
    """The name of its class; empty for a value of a series."""
    at: str
    rendered: str
    """Its input for people: a PNG as a data URI, a text, or the value."""


def find(recipe: Recipe, prefix: str) -> Record:
    """The record whose digest begins so. Raises Refusal if there is none, or more than one."""
    if not re.fullmatch(r"[0-9a-f]{4,64}", prefix):
        raise Refusal("a record is named by at least four characters of its digest", prefix, "See the model card")
    rows = [*_admitted(recipe, prefix), *_rows(benchmark(recipe), prefix)]
    digests = {row["record"] for row in rows}
    if len(digests) != 1:
        what = f"{len(digests)} records begin with it" if digests else "no record begins with it"
        raise Refusal(what, prefix, "Give more of its digest" if digests else f"See `ratchet card {recipe.name}`")
    row = rows[0]
    where = (
        _BENCHMARK if row["batch"] == _BENCHMARK else parts.records(recipe.contract.kind).side_of(recipe.contract, row)
    )
    label = tasks.labels(recipe.answers.task).describe(recipe.answers, row["label"])
    return Record(row["record"], where, row["batch"], label, str(row["captured_at"]), _rendered(recipe, row))


def _admitted(recipe: Recipe, prefix: str) -> list[dict[str, Any]]:
    """Among the admitted records, whose inputs are read only for the one that is meant."""
    path = lake(recipe.name) / "records"
    digests = _rows(table.read(path, ["record"]), prefix)
    return [
        row for digest in digests[:2] for row in _rows(table.read(path, where=("record", digest["record"])), prefix)
    ]


def _rows(records: pa.Table | None, prefix: str) -> list[dict[str, Any]]:
    if records is None:
        return []
    matching = [digest.startswith(prefix) for digest in records["record"].to_pylist()]
    rows: list[dict[str, Any]] = records.filter(pa.array(matching, pa.bool_())).to_pylist()
    return rows


def _rendered(recipe: Recipe, row: dict[str, Any]) -> str:
    cell = row[recipe.contract.column]
    return recipe.contract.render(recipe.contract.unpack(cell, 1)) if isinstance(cell, bytes) else str(cell)
