"""Defines a valid input. Ingest and endpoint enforce it with the same code; each kind of input has its own.

This file travels inside every bento, so it needs only NumPy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ratchet.answers import Answers
from ratchet.errors import Refusal

if TYPE_CHECKING:
    from ratchet.tensors import Spec, Tensor


class Contract(Protocol):
    """An input of one kind. A batch of inputs is an array whose first axis is N."""

    kind: ClassVar[str]
    column: ClassVar[str]
    """The lake's column of it, and the endpoint's name for it."""
    json_key: ClassVar[str]
    """The key of a JSON body that holds several inputs."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""

    def answers(self) -> Answers | None:
        """What a model answers, where this kind of input says so itself; None where a recipe does."""

    def to_json(self) -> dict[str, Any]: ...

    def describe(self) -> str:
        """An input in words, for people who send one."""

    @property
    def same(self) -> str:
        """A clause that says which inputs are one and the same."""

    def encode(self, value: Any, which: str) -> bytes:
        """A record's value, as its source file has it, as the bytes that the lake keeps. Raises Refusal."""

    def note(self, value: Any) -> str:
        """What `encode` takes away from a record's own content, for people; empty if it is nothing."""

    def digest(self, data: bytes, at: datetime | None) -> str:
        """SHA-256 of a record's input alone. It decides the side and finds duplicates."""

    def beside(self, data: bytes) -> str:
        """A digest of what `digest` leaves out; empty if that is nothing, or a series' value."""

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """A batch of inputs from JSON. Raises Refusal on anything that does not match the contract exactly."""

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """A batch of `count` inputs from a binary tensor. Raises Refusal like `read`."""

    @property
    def tensors(self) -> tuple[Spec, ...]:
        """The tensors of an input by the Open Inference Protocol."""

    def from_tensors(self, tensors: Sequence[Tensor], most: int) -> np.ndarray:
        """A batch of at most so many inputs from the tensors of a request. Raises Refusal like `read`."""

    def to_tensors(self, inputs: np.ndarray) -> list[Tensor]:
        """A batch of inputs as tensors of bytes."""

    def values(self, inputs: np.ndarray) -> list[Any]:
        """A batch of inputs as JSON, as `read` takes it."""

    def pack(self, inputs: np.ndarray) -> bytes:
        """A batch of inputs as a binary tensor."""

    @property
    def features_version(self) -> int:
        """Raised when the same input gives other features, so that a model is trained anew."""

    def learn_vocabulary(self, inputs: np.ndarray) -> tuple[str, ...]:
        """The vocabulary that `features` needs, from the training side; empty for a kind that needs none."""

    def features(self, inputs: np.ndarray, vocabulary: Sequence[str] = ()) -> np.ndarray:
        """A batch of inputs as the network receives it."""

    def categories(self) -> tuple[int, ...]:
        """Which columns of the features [N, F] are numbers of categories; empty for other kinds than a table."""

    def vary(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Inputs that differ a little from these, for synthetic requests."""

    def synthesize(self, count: int, rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """A batch of synthetic inputs, as similar to real ones as possible, that contain nobody's data."""

    def regions(self, input: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """At most `most` regions of an input [1, ...] that can be occluded one by one."""

    def occlude(self, input: np.ndarray, region: tuple[int, ...]) -> np.ndarray:
        """The input [1, ...] with that region hidden."""

    def quote(self, input: np.ndarray, region: tuple[int, ...]) -> str:
        """What stands in that region of an input [1, ...], for people; empty for a kind that cannot be quoted."""

    def render(self, input: np.ndarray) -> str:
        """An input [1, ...] for people to look at: a PNG as a data URI, the text, or JSON of the values."""

    def example(self) -> np.ndarray:
        """A batch of one input that satisfies the contract and is nobody's."""


def given_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not as by default, by name: what it was before a field was added stays so."""
    return {each.name: given for each in fields(value) if (given := getattr(value, each.name)) != _default(each)}


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def input_digest(array: np.ndarray) -> str:
    """SHA-256 of a decoded array alone: type, shape and bytes."""
    head = f"{array.dtype.str}:{'x'.join(map(str, array.shape))}:".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def record_digest(input_digest: str, label: str) -> str:
    """SHA-256 of input and label. It identifies a record, and the fingerprint of a snapshot is made of it."""
    return hashlib.sha256(f"{input_digest}:{label}".encode()).hexdigest()


def require_numbers(values: Any, which: str, expected: str) -> None:
    """Raises Refusal if nested lists hold anything but numbers.

    NumPy would make every element as long as the longest text.
    """
    types = set(map(type, values))
    if types == {list}:
        for part in values:
            require_numbers(part, which, expected)
    elif not types <= {int, float}:
        raise Refusal("not every element is a number", which, f"Send {expected}")


def nan_for_null(values: list[Any]) -> list[Any]:
    """Nested lists with NaN for each null, which stands for a value that is missing."""
    return [nan_for_null(v) if isinstance(v, list) else math.nan if v is None else v for v in values]


def require_range(array: np.ndarray, low: float, high: float, which: str) -> None:
    """Raises Refusal naming the first value of a batch [N, ...] that is outside `low`..`high` or not finite."""
    if array.min() >= low and array.max() <= high:  # false for NaN, too
        return
    outside = ~((array >= low) & (array <= high))
    row, *position = map(int, np.unravel_index(outside.argmax(), array.shape))
    what = f"the value {array[row, *position]} in row {row} at position {', '.join(map(str, position))} is outside"
    raise Refusal(f"{what} {low}..{high}", which, "Send values in that range; rows and positions count from 0")


def as_array(values: Any, which: str, expected: str) -> np.ndarray:
    """Nested lists as an array. Raises Refusal if they are ragged, empty, or hold anything but numbers."""
    try:
        if isinstance(values, list):
            require_numbers(values, which, expected)
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Refusal("the array is ragged or holds something else than numbers", which, f"Send {expected}") from error
    if array.size == 0:
        raise Refusal("the array is empty", which, f"Send {expected}")
    return array
