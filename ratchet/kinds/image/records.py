"""How the lake keeps images, what is measured of them, and what a batch of them must be."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation, between, values
from ratchet.kinds.image import logged
from ratchet.kinds.image.contract import ImageContract
from ratchet.lake.split import by_digest as sides
from ratchet.lake.split import side_by_digest as side_of
from ratchet.suite import Suite

__all__ = [
    "NEEDS_NEIGHBOURS",
    "TYPE",
    "cell",
    "examples",
    "expectations",
    "is_in_order",
    "served",
    "side_of",
    "sides",
    "statistics",
]
TYPE = pa.binary()
NEEDS_NEIGHBOURS = False


def cell(data: bytes) -> bytes:
    """The pixels, as they are."""
    return data


def is_in_order(contract: ImageContract) -> bool:
    return False


def examples(contract: ImageContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, None]:
    """Images [N, height, width] and labels [N]."""
    cells = rows["image"].to_pylist()
    images = contract.unpack(b"".join(cells), len(cells)) if cells else contract.example()[:0]
    return images, rows["label"].to_numpy(), None


def served(contract: ImageContract, input: np.ndarray, name: str, at: datetime) -> Any:
    """The pixels."""
    return input[0]


def statistics(contract: ImageContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns that a suite checks, a value for each of these records."""
    if not records:
        return {name: [] for name in ("height", "width", "minimum", "maximum", "mean", "deviation")}
    row = math.prod(contract.shape[1:]) * np.dtype(contract.dtype).itemsize
    whole = b"".join(record["image"] for record in records)
    pixels = np.frombuffer(whole, contract.dtype).reshape(len(records), -1)
    sizes = {"height": [len(r["image"]) // row for r in records], "width": [contract.width] * len(records)}
    return {**sizes, **logged.statistics(contract, pixels)}


def expectations(contract: ImageContract, suite: Suite) -> tuple[Expectation, ...]:
    """Size and range of the pixels; no constant image."""
    return (
        between("height", contract.height, contract.height),
        between("width", contract.width, contract.width),
        between("minimum", contract.low, contract.high),
        between("maximum", contract.low, contract.high),
        values("deviation", "no blank or constant image", min_value=0, strict_min=True),
    )
