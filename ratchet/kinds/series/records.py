"""How the lake keeps the values of a series, what is measured of them, and what a batch of them must be."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation, between, values
from ratchet.kinds.series import grid
from ratchet.kinds.series.contract import SeriesContract
from ratchet.kinds.series.windows import windows
from ratchet.lake.split import SIDES, Side
from ratchet.suite import Suite

TYPE = pa.float64()
NEEDS_NEIGHBOURS = True
_CYCLE: dict[int, Side] = {5: "validation", 11: "test"}
"""Of every twelve blocks; the others are for training."""


def cell(data: bytes) -> float:
    """The value."""
    return float(np.frombuffer(data, np.float64)[0])


def sides(contract: SeriesContract, rows: pa.Table) -> Mapping[Side, pa.Table]:
    """Of twelve blocks of `contract.block` steps ten are for training, one for validation, one for test.

    Blocks are counted from `contract.offset` after 1970. Windows are cut within each side, so no value is on two sides.
    """
    seconds = rows["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000
    blocks = contract.places(seconds) // contract.block % 12
    names = [_CYCLE.get(int(block), "train") for block in blocks]
    return {side: rows.filter(pa.array([name == side for name in names], pa.bool_())) for side in SIDES}


def side_of(contract: SeriesContract, row: Mapping[str, Any]) -> str:
    """A value stands in a block of time, and a window may reach into two."""
    return "by time"


def is_in_order(contract: SeriesContract) -> bool:
    return False


def examples(contract: SeriesContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, None]:
    """Windows [N, window] and what came next [N, horizon]."""
    return (*windows(contract, rows), None)


def served(contract: SeriesContract, input: np.ndarray, name: str, at: datetime) -> Any:
    """None: a window is no record, and its values come with later batches."""
    return None


def statistics(contract: SeriesContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns that a suite checks, a value for each of these records.

    `steps_after` is the number of steps since the value before it in time; it is 1 for the first of a batch.
    """
    seconds = np.array([record["captured_at"].timestamp() for record in records])
    order = np.argsort(seconds, kind="stable")
    steps = np.ones(len(records))
    steps[order[1:]] = np.diff(contract.places(seconds[order]))
    return {"value": [record["value"] for record in records], "steps_after": steps}


def expectations(contract: SeriesContract, suite: Suite) -> tuple[Expectation, ...]:
    """The range of the values, and few gaps."""
    says = f"one value every {grid.describe(contract.step)}, with at most {suite.max_gaps:.0%} exceptions"
    return (
        between("value", contract.low, contract.high),
        values("steps_after", says, "max_gaps", min_value=1, max_value=1, mostly=1 - suite.max_gaps),
    )
