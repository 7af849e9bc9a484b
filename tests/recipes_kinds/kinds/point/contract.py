"""Points of the unit square. Needs only NumPy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import numpy as np

from ratchet.contract import as_array, input_digest, require_range
from ratchet.errors import Refusal
from ratchet.tensors import Spec, Tensor, single, whole


@dataclass(frozen=True)
class PointContract:
    """A point: two numbers from 0 to 1, float32."""

    kind: ClassVar[str] = "point"
    column: ClassVar[str] = "point"
    datatype: ClassVar[str] = "FP32"
    json_key: ClassVar[str] = "points"
    shape: ClassVar[tuple[int, ...]] = (2,)

    def answers(self) -> None:
        """A recipe says."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def describe(self) -> str:
        return "a point: two numbers from 0 to 1"

    @property
    def same(self) -> str:
        return "points with the same coordinates are one input"

    def encode(self, value: Any, which: str) -> bytes:
        try:
            numbers = [[float(part) for part in str(value).split()]]
        except ValueError as error:
            raise Refusal(f"{str(value)[:40]!r} is not a point", which, "Give two numbers") from error
        return self.pack(self.read(numbers, which))

    def note(self, value: Any) -> str:
        return ""

    def beside(self, data: bytes) -> str:
        return ""

    def digest(self, data: bytes, at: datetime | None) -> str:
        return input_digest(np.frombuffer(data, np.float32))

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        array = as_array(values, which, "[N, 2] numbers")
        if array.ndim != 2 or array.shape[1] != 2:
            raise Refusal(f"the shape is {list(array.shape)}, not [N, 2]", which, "Send points")
        require_range(array, 0, 1, which)
        return array.astype(np.float32)

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        if len(data) != count * 8:
            raise Refusal(f"{len(data)} bytes were sent for {count} points", which, "Send eight bytes per point")
        return self.read(np.frombuffer(data, np.float32).reshape(count, 2), which)

    @property
    def tensors(self) -> tuple[Spec, ...]:
        return ((self.kind, self.datatype, self.shape),)

    def from_tensors(self, tensors: Sequence[Tensor], most: int) -> np.ndarray:
        return single(self, tensors, most)

    def to_tensors(self, inputs: np.ndarray) -> list[Tensor]:
        return [whole(self, inputs)]

    def values(self, inputs: np.ndarray) -> list[Any]:
        return inputs.tolist()

    def pack(self, inputs: np.ndarray) -> bytes:
        return inputs.astype(np.float32).tobytes()

    @property
    def features_version(self) -> int:
        return 1

    def learn_vocabulary(self, inputs: np.ndarray) -> tuple[str, ...]:
        return ()

    def features(self, inputs: np.ndarray, vocabulary: Sequence[str] = ()) -> np.ndarray:
        """float32 [N, 2, 1]."""
        return inputs[..., None]

    def categories(self) -> tuple[int, ...]:
        return ()

    def vary(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (inputs + rng.normal(0, 0.01, inputs.shape)).clip(0, 1).astype(np.float32)

    def synthesize(self, count: int, rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        return rng.random((count, 2), np.float32)

    def regions(self, input: np.ndarray, most: int) -> list[tuple[int, ...]]:
        return [(0, 1), (1, 2)][:most]

    def occlude(self, input: np.ndarray, region: tuple[int, ...]) -> np.ndarray:
        occluded = input.copy()
        occluded[0, slice(*region)] = 0.5
        return occluded

    def quote(self, input: np.ndarray, region: tuple[int, ...]) -> str:
        return "xy"[slice(*region)]

    def render(self, input: np.ndarray) -> str:
        return json.dumps(input[0].tolist())

    def example(self) -> np.ndarray:
        return np.full((1, 2), 0.5, np.float32)
