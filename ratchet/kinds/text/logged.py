"""What the prediction log keeps of texts. What is measured is the same in the lake. Needs only NumPy."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ratchet.kinds.text.contract import TextContract


def statistics(contract: TextContract, inputs: np.ndarray | Sequence[str]) -> dict[str, list[Any]]:
    """The length in characters and words of each of the texts [N], and its share of unprintable characters."""
    return {
        "characters": [len(text) for text in inputs],
        "words": [len(contract.tokens(text)) for text in inputs],
        "unprintable": [sum(map(_is_unprintable, text)) / len(text) for text in inputs],
    }


@lru_cache(maxsize=1 << 16)
def _is_unprintable(character: str) -> bool:
    """Control characters, and the mark of what could not be decoded. Joiners and soft hyphens are part of words."""
    if character.isspace():
        return False
    return character == "\ufffd" or unicodedata.category(character) in ("Cc", "Co", "Cs")


def redacted(contract: TextContract, inputs: np.ndarray, what: Sequence[str]) -> np.ndarray:
    """The texts [N] with a black square for whatever one of the regular expressions matches."""
    pattern = re.compile("|".join(f"(?:{each})" for each in what))
    return np.array([pattern.sub("█", text) for text in inputs], object)
