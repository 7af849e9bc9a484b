"""What ingest reads as a table: rows with a column for each of the recipe's, and one for the label."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal
from ratchet.kinds.table.contract import TableContract
from ratchet.lake import tabular
from ratchet.lake.formats import Record, refused
from ratchet.lake.tabular import Report, Row
from ratchet.lake.times import Times
from ratchet.layout import Layout

HINT = f"Give {tabular.FORMATS} with a column for each of the recipe's, and the target"


def read(
    contract: TableContract, inputs: Path, labels: Path | None, layout: Layout, report: Report
) -> Iterator[Record]:
    """A record for each row. Raises Refusal if the source is of another format, or lacks a column."""
    names = [contract.target, *(column.name for column in contract.columns)]
    rows = tabular.rows(inputs, names, layout, report, HINT)
    first = list(islice(rows, tabular.FIRST))
    times = _times(contract, first, layout, report)
    for row in chain(first, rows):
        if row.problem:
            yield refused(row.name, row.payload, row.problem.what, row.problem.next)
        else:
            yield _record(contract, row, times)


def _times(contract: TableContract, first: list[Row], layout: Layout, report: Report) -> Mapping[str, Times]:
    """How the times of a column are read; the layout must say so, since a time without a zone is refused otherwise."""
    if not (layout.time or layout.zone):
        return {}
    names = [column.name for column in contract.columns if column.type == "timestamp"]
    return {name: tabular.times_of([row.cells.get(name) for row in first], name, layout, report) for name in names}


def _record(contract: TableContract, row: Row, times: Mapping[str, Times]) -> Record:
    if row.typed:
        cells: Any = {column.name: plain(row.cells.get(column.name)) for column in contract.columns}
    else:
        cells = {column.name: column.parse(row.cells.get(column.name, "")) for column in contract.columns}
    group = str(cells[contract.people]) if contract.people and cells[contract.people] else None
    record = Record(row.name, cells, tabular.text_of(row.cells.get(contract.target)), group=group)
    try:
        for name, notation in times.items():
            if row.cells.get(name) not in (None, ""):
                cells[name] = notation.read(row.cells[name], row.name)
        if contract.time and cells[contract.time]:
            at = contract.by_name(contract.time).read(cells[contract.time], row.name, show=False)
            return replace(record, captured_at=datetime.fromtimestamp(float(at), UTC))
    except Refusal as refusal:
        return replace(record, problem=refusal)
    return record


def plain(cell: Any) -> Any:
    """A typed cell as a contract reads it: a decimal as a number; a date, and a time without a zone, as its text."""
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, date) and not (isinstance(cell, datetime) and cell.tzinfo):
        return cell.isoformat()
    return cell
