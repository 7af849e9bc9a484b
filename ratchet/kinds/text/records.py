"""How the lake keeps texts, what is measured of them, and what a batch of them must be."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation, between, mean, values
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


def statistics(contract: TextContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns that a suite checks, a value for each of these records."""
    texts = [record["text"] for record in records]
    return {
        "characters": [len(text) for text in texts],
        "words": [len(contract.tokens(text)) for text in texts],
        "unprintable": [sum(map(_is_unprintable, text)) / len(text) for text in texts],
    }


@lru_cache(maxsize=1 << 16)
def _is_unprintable(character: str) -> bool:
    """Control characters, and the mark of what could not be decoded. Joiners and soft hyphens are part of words."""
    if character.isspace():
        return False
    return character == "\ufffd" or unicodedata.category(character) in ("Cc", "Co", "Cs")


def expectations(contract: TextContract, suite: Suite) -> tuple[Expectation, ...]:
    """Length, words, and few characters that cannot be printed."""
    return (
        between("characters", 1, contract.max_characters),
        values("words", "at least one word", min_value=1),
        mean("unprintable", 0.01, "at most 1% of the characters are unprintable"),
    )
