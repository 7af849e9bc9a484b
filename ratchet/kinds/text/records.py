"""How the lake keeps texts, what is measured of them, and what a batch of them must be."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation, between, mean, values
from ratchet.kinds.text import logged
from ratchet.kinds.text.contract import TextContract
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
TYPE = pa.string()
NEEDS_NEIGHBOURS = False


def cell(data: bytes) -> str:
    """The text."""
    return data.decode()


def is_in_order(contract: TextContract) -> bool:
    return False


def examples(contract: TextContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, None]:
    """Texts [N] and labels [N]."""
    texts = rows["text"].to_pylist()
    return contract.read(texts) if texts else contract.example()[:0], rows["label"].to_numpy(), None


def served(contract: TextContract, input: np.ndarray, name: str, at: datetime) -> Any:
    """The text."""
    return str(input[0])


def statistics(contract: TextContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns that a suite checks, a value for each of these records."""
    return logged.statistics(contract, [record["text"] for record in records])


def expectations(contract: TextContract, suite: Suite) -> tuple[Expectation, ...]:
    """Length, words, and few characters that cannot be printed."""
    return (
        between("characters", 1, contract.max_characters),
        values("words", "at least one word", min_value=1),
        mean("unprintable", 0.01, "at most 1% of the characters are unprintable"),
    )
