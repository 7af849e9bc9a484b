"""Points in the lake."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from ratchet.kinds.point import logged
from ratchet.kinds.point.contract import PointContract
from ratchet.kinds.point.logged import NAMES

from ratchet.expectation import Expectation, between
from ratchet.lake.split import by_digest as sides
from ratchet.lake.split import side_by_digest as side_of
from ratchet.suite import Suite

__all__ = ["TYPE", "cell", "examples", "expectations", "served", "side_of", "sides", "statistics"]
TYPE = pa.binary()
NEEDS_NEIGHBOURS = False


def cell(data: bytes) -> bytes:
    return data


def is_in_order(contract: PointContract) -> bool:
    return False


def examples(contract: PointContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, None]:
    points = np.frombuffer(b"".join(rows["point"].to_pylist()), np.float32).reshape(-1, 2)
    return points, rows["label"].to_numpy(), None


def served(contract: PointContract, input: np.ndarray, name: str, at: datetime) -> Any:
    return input[0]


def statistics(contract: PointContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    whole = b"".join(record["point"] for record in records)
    return logged.statistics(contract, np.frombuffer(whole, np.float32).reshape(-1, 2))


def expectations(contract: PointContract, suite: Suite) -> tuple[Expectation, ...]:
    return tuple(between(name, 0, 1) for name in NAMES)
