"""Assigns records to sides. Pure: the input's digest or its block of time decides, and no record changes sides."""

from typing import Literal, get_args

import pyarrow as pa

from ratchet.series import SeriesContract

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
_CYCLE: dict[int, Side] = {5: "validation", 11: "test"}
"""Of every twelve blocks of a series; the others are for training."""


def side(input_digest: str) -> Side:
    """90 % train, 5 % validation, 5 % test, by the first 64 bits; a corrected label does not move a record."""
    position = int(input_digest[:16], 16) / 2**64
    return "train" if position < 0.90 else "validation" if position < 0.95 else "test"


def by_time(contract: SeriesContract, rows: pa.Table) -> dict[Side, pa.Table]:
    """Of twelve blocks of `contract.block` steps ten are for training, one for validation, one for test.

    Blocks are counted from `contract.offset` after 1970. Windows are cut within each side, so no value is on two sides.
    """
    seconds = rows["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000
    blocks = (seconds - contract.offset) // (contract.block * contract.step) % 12
    sides = [_CYCLE.get(int(block), "train") for block in blocks]
    return {name: rows.filter(pa.array([side == name for side in sides], pa.bool_())) for name in SIDES}
