"""A series: one number an hour (or another step). The lake holds single values, the model takes windows of them.

Needs only NumPy.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np

from ratchet.contract import as_array
from ratchet.errors import Refusal


@dataclass(frozen=True)
class SeriesContract:
    """The last `window` values of a series, float32 in `low`..`high`; its next `horizon` values are forecast."""

    low: float
    high: float
    unit: str = ""
    window: int = 168
    horizon: int = 24
    step: int = 3600
    """Seconds from one value to the next."""
    offset: int = 0
    """Seconds after a whole step (counted from 1970 in UTC) at which values stand."""
    close: float = 1.0
    """Two forecasts that differ by no more than this on average are the same, in units of the series."""
    block: int = 336
    """Steps of a block of time. Whole blocks stand on one side, for good."""
    kind: ClassVar[str] = "series"
    column: ClassVar[str] = "value"
    datatype: ClassVar[str] = "FP32"
    many: ClassVar[str] = "series"
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        if min(self.window, self.horizon, self.step) < 1 or not self.low < self.high or self.close <= 0:
            raise ValueError("window, horizon and step are at least 1, low is below high, and close above 0")
        if self.window % self.horizon:
            raise ValueError(f"the window of {self.window} is no whole number of horizons of {self.horizon}")
        if self.block < self.window + self.horizon:
            raise ValueError(f"a block of {self.block} steps holds no window of {self.window} and what came next")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.window,)

    @property
    def season(self) -> int:
        """Steps of a day; 1 where a step is longer, or no day stands in the window."""
        day = max(1, 86400 // self.step)
        return day if day <= self.window else 1

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def describe(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"the last {self.window} values of a series, one every {self.step} s, {self.low}..{self.high}{unit}"

    def hold(self, value: Any, which: str) -> bytes:
        """One value, a number or a text that is one, as a float64."""
        try:
            if "_" in str(value):
                raise ValueError
            number = float(value)
        except (TypeError, ValueError) as error:
            raise Refusal(f"the value is no number ({str(value)[:40]!r})", which, "Mend the row") from error
        if not self.low <= number <= self.high or not math.isfinite(number):
            raise Refusal(f"the value {number} is outside {self.low}..{self.high}", which, "Mend the row")
        return np.float64(number).tobytes()

    def digest(self, data: bytes, at: datetime | None) -> str:
        """Of the moment alone: another value for it is a correction. Raises Refusal where it is off the grid."""
        if at is None:
            raise Refusal("the value has no time", "the record", "Give a `time` for every `value`")
        seconds = at.astimezone(UTC).timestamp()
        if (seconds - self.offset) % self.step:
            raise Refusal(
                f"its time is not {self.offset} s after a multiple of {self.step} s",
                at.isoformat(),
                "Give one value a step",
            )
        return hashlib.sha256(f"time:{int(seconds)}".encode()).hexdigest()

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """Windows [N, window] of finite numbers."""
        want = f"[N, {self.window}] numbers"
        array = as_array(values, which, want)
        if array.dtype == bool or not (
            np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
        ):
            raise Refusal(f"the values are no numbers ({array.dtype})", which, f"Send {want}")
        return self._fits(array, which)

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        if len(data) != count * self.window * 4:
            raise Refusal(f"there are {len(data)} bytes for {count} windows", which, "Send four bytes a value")
        return self._fits(np.frombuffer(data, self.dtype).reshape(count, self.window), which)

    def pack(self, inputs: np.ndarray) -> bytes:
        return inputs.astype(self.dtype).tobytes()

    def learn(self, inputs: np.ndarray) -> tuple[str, ...]:
        return ()

    def features(self, inputs: np.ndarray, words: Sequence[str] = ()) -> np.ndarray:
        """float32 [N, window, 1], as they are."""
        return inputs.astype(np.float32)[..., None]

    def vary(self, inputs: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """With noise of a twentieth of each window's own deviation."""
        noise = chance.standard_normal(inputs.shape) * inputs.std(axis=1, keepdims=True) / 20
        return (inputs + noise).clip(self.low, self.high).astype(self.dtype)

    def made(self, count: int, chance: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """A day's wave around a level that wanders."""
        span, hours = self.high - self.low, np.arange(self.window) * self.step / 3600
        level = self.low + span * chance.uniform(0.35, 0.65, size=(count, 1))
        wander = np.cumsum(chance.standard_normal((count, self.window)), axis=1) * span / 400
        wave = np.sin(2 * np.pi * (hours + chance.uniform(0, 24, size=(count, 1))) / 24) * span / 20
        return (level + wander + wave).clip(self.low, self.high).astype(self.dtype)

    def parts(self, one: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Runs of steps: the first, and the one behind the last."""
        size = -(-self.window // most)
        return [(at, min(at + size, self.window)) for at in range(0, self.window, size)]

    def without(self, one: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        """The run becomes a straight line between what stands on either side; what stands on one, at an end."""
        (start, stop), hidden = at, one.copy()
        before, after = one[0, max(start - 1, 0)], one[0, min(stop, self.window - 1)]
        first, last = (after if not start else before), (before if stop == self.window else after)
        hidden[0, start:stop] = np.linspace(first, last, stop - start + 2)[1:-1]
        return hidden

    def show(self, one: np.ndarray) -> str:
        return json.dumps(one[0].tolist())

    def example(self) -> np.ndarray:
        return np.full((1, self.window), (self.low + self.high) / 2, self.dtype)

    def _fits(self, array: np.ndarray, which: str) -> np.ndarray:
        if array.ndim != 2 or array.shape[1] != self.window or not len(array):
            raise Refusal(f"the shape is {list(array.shape)}, not [N, {self.window}]", which, "Send exactly that shape")
        if not (np.isfinite(array).all() and array.min() >= self.low and array.max() <= self.high):
            raise Refusal(
                f"values reach outside {self.low}..{self.high}, or are no numbers", which, "Send values in that range"
            )
        return array.astype(self.dtype, copy=False)
