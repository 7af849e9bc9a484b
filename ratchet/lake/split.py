"""Which side a record stands on. Pure: the image's digest decides, so a record never changes sides."""

from __future__ import annotations

from typing import Literal

Side = Literal["train", "validation", "test"]


def side(input_digest: str) -> Side:
    """90/5/5 by the first 64 bits of the digest; a corrected label does not move an image."""
    place = int(input_digest[:16], 16) / 2**64
    return "train" if place < 0.90 else "validation" if place < 0.95 else "test"
