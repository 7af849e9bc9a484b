"""What an input is, held at ingest and at the endpoint by the same lines. One module for each kind of input.

Travels inside every bento, so it needs only NumPy.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

import numpy as np

from ratchet.errors import Refusal


class Contract(Protocol):
    """An input of one kind. A batch of them is an array whose first axis is N."""

    kind: ClassVar[str]
    column: ClassVar[str]
    """Where the lake keeps it, and what the endpoint calls it."""
    datatype: ClassVar[str]
    """As the Open Inference Protocol calls it."""
    many: ClassVar[str]
    """The key of a JSON body that holds several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        ...

    def to_json(self) -> dict[str, Any]: ...

    def describe(self) -> str:
        """An input in words, for people who send some."""
        ...

    def hold(self, value: Any, which: str) -> bytes:
        """A record's value, as a source file gave it, as the bytes that stand for it. Raises Refusal."""
        ...

    def digest(self, data: bytes, at: datetime | None) -> str:
        """SHA-256 of the record's input alone. Decides split and duplicates."""
        ...

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """A batch of inputs that came as JSON. Raises Refusal on anything that is not exactly that."""
        ...

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """A batch of `count` inputs that came as a binary tensor. Raises Refusal like `read`."""
        ...

    def pack(self, inputs: np.ndarray) -> bytes:
        """A batch as a binary tensor."""
        ...

    def learn(self, inputs: np.ndarray) -> tuple[str, ...]:
        """The words that `features` needs to know, from the training side; none where it needs none."""
        ...

    def features(self, inputs: np.ndarray, words: Sequence[str] = ()) -> np.ndarray:
        """A batch as the network takes it."""
        ...

    def vary(self, inputs: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Others of the same kind, a little different from these: to ask where callers are few."""
        ...

    def made(self, count: int, chance: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """A batch of made-up inputs that are nobody's, as like real ones as can be."""
        ...

    def parts(self, one: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Where at most so many parts of an input [1, ...] are; none where it has but one."""
        ...

    def without(self, one: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        """The input [1, ...] with that part hidden."""
        ...

    def show(self, one: np.ndarray) -> str:
        """An input [1, ...] for people to look at: a PNG as a data URI, the text, or JSON of the values."""
        ...

    def example(self) -> np.ndarray:
        """A batch of one that holds to the contract and is nobody's."""
        ...


_KINDS = {
    "image": ("images", "ImageContract"),
    "text": ("texts", "TextContract"),
    "series": ("series", "SeriesContract"),
}
KINDS = tuple(_KINDS)


def module(kind: str) -> str:
    """The module below `ratchet` that holds a kind's contract."""
    return _KINDS[kind][0]


def of(told: Mapping[str, Any]) -> Contract:
    """The contract from its JSON; what has no kind is from before there were others than images."""
    name, kind = _KINDS[told.get("kind", "image")]
    fields = {k: v for k, v in told.items() if k != "kind"}
    found: Contract = getattr(importlib.import_module(f"ratchet.{name}"), kind)(**fields)
    return found


def input_digest(array: np.ndarray) -> str:
    """SHA-256 of a decoded array alone: type, shape and bytes."""
    head = f"{array.dtype.str}:{'x'.join(map(str, array.shape))}:".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def record_digest(input_digest: str, label: str) -> str:
    """SHA-256 of input and label. Decides identity and the snapshot's fingerprint."""
    return hashlib.sha256(f"{input_digest}:{label}".encode()).hexdigest()


def numbers_alone(values: Any, which: str, want: str) -> None:
    """Raises Refusal where nested lists hold anything else: NumPy would make all as long as the longest text."""
    kinds = set(map(type, values))
    if kinds == {list}:
        for part in values:
            numbers_alone(part, which, want)
    elif not kinds <= {int, float}:
        raise Refusal("there is something in it that is no number", which, f"Send {want}")


def as_array(values: Any, which: str, want: str) -> np.ndarray:
    """Nested lists as an array. Raises Refusal where they are ragged, hold nothing, or hold no numbers."""
    try:
        if isinstance(values, list):
            numbers_alone(values, which, want)
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Refusal("the array is ragged or holds no numbers", which, f"Send {want}") from error
    if array.size == 0:
        raise Refusal("there is nothing in it", which, f"Send {want}")
    return array
