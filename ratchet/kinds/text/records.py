"""How the lake keeps texts, what is measured of them, and what a batch of them must be."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation, between, mean, values
from ratchet.kinds.text.contract import TextContract, tokens
from ratchet.lake.split import by_digest as sides
from ratchet.lake.split import side_by_digest as side_of
from ratchet.suite import Suite

__all__ = ["TYPE", "cell", "examples", "expectations", "side_of", "sides", "statistics"]
TYPE = pa.string()


def cell(data: bytes) -> str:
    """The text."""
    return data.decode()


def examples(contract: TextContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Texts [N] and labels [N]."""
    texts = rows["text"].to_pylist()
    return contract.read(texts) if texts else contract.example()[:0], rows["label"].to_numpy()


def statistics(contract: TextContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns that a suite checks, a value for each of these records."""
    texts = [record["text"] for record in records]
    return {
        "characters": [len(text) for text in texts],
        "words": [len(tokens(text)) for text in texts],
        "unprintable": [sum(not (c.isprintable() or c.isspace()) for c in text) / len(text) for text in texts],
    }


def expectations(contract: TextContract, suite: Suite) -> tuple[Expectation, ...]:
    """Length, words, and few characters that cannot be printed."""
    return (
        between("characters", 1, contract.max_characters),
        values("words", "at least one word", min_value=1),
        mean("unprintable", 0.01, "at most 1% of the characters are unprintable"),
    )
