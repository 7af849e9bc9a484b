"""A series: one number per hour, or per another step. The lake holds single values, and the model reads windows.

A value that is missing is NaN in a window. Needs only NumPy.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np

from ratchet.contract import as_array, nan_for_null, require_range
from ratchet.errors import Refusal
from ratchet.kinds.series import grid
from ratchet.tasks.forecast.answers import Forecast
from ratchet.tensors import Spec, Tensor, single, whole


@dataclass(frozen=True)
class SeriesContract:
    """The last `window` values of a series, float32 in `low`..`high`; the next `horizon` values are forecast."""

    low: float
    high: float
    unit: str = ""
    window: int = 168
    horizon: int = 24
    step: int | str = 3600
    """Seconds from one value to the next, or `business day` (Monday to Friday) or `month`."""
    offset: int = 0
    """Seconds after a whole step, counted from 1970 in UTC, at which values stand; or after which a day begins."""
    close: float = 1.0
    """Two forecasts agree if they differ by at most this on average, in units of the series."""
    block: int = 336
    """Steps of a block of time. Whole blocks belong to one side, permanently."""
    fill: int = 0
    """Missing values in a row, at most, that a window may have; of all its values, half at most.

    A model reads a straight line there, and which values are missing. With 0 it reads the values alone.
    """
    kind: ClassVar[str] = "series"
    column: ClassVar[str] = "value"
    datatype: ClassVar[str] = "FP32"
    json_key: ClassVar[str] = "series"
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        if type(self.step) is not int and self.step not in grid.CALENDAR:
            calendar = " or ".join(map(repr, grid.CALENDAR))
            raise ValueError(f"a step is a whole number of seconds, {calendar}, not {self.step!r}")
        least = min(self.window, self.horizon, *([self.step] if isinstance(self.step, int) else []))
        if least < 1 or not self.low < self.high or self.close <= 0:
            raise ValueError("window, horizon and step must be at least 1, low below high, and close above 0")
        if not 0 <= 2 * self.fill <= self.window:
            raise ValueError(f"{self.fill} missing values in a row are more than half of a window of {self.window}")
        if self.window % self.horizon:
            raise ValueError(f"the window of {self.window} is not a multiple of the horizon of {self.horizon}")
        if self.block < self.window + self.horizon:
            raise ValueError(f"a block of {self.block} steps cannot hold a window of {self.window} and its horizon")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.window,)

    @property
    def season(self) -> int:
        """Steps of a day, of a week of business days, or of a year of months; 1 if the window is shorter."""
        steps = max(1, grid.DAY // self.step) if isinstance(self.step, int) else grid.SEASONS[self.step]
        return steps if steps <= self.window else 1

    def places(self, seconds: np.ndarray) -> np.ndarray:
        """The numbers [N] of times on the grid, from seconds [N] after 1970."""
        return grid.places(self.step, self.offset, seconds)

    def answers(self) -> Forecast:
        """The next values."""
        return Forecast(self.horizon, self.close, self.unit)

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        return {"kind": self.kind, **{name: fields[name] for name in fields if name != "fill" or self.fill}}

    def describe(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        every = grid.describe(self.step)
        return f"the last {self.window} values of a series, one every {every}, {self.low}..{self.high}{unit}"

    @property
    def same(self) -> str:
        return "values of the same time are one record"

    def encode(self, value: Any, which: str) -> bytes:
        """One value, a number or a text that is one, as a float64."""
        text = str("" if value is None else value).strip()
        if not text:
            raise Refusal("the value is missing", which, "Nothing, if it is not known; see `fill`")
        try:
            if "_" in text:
                raise ValueError
            number = float(value)
        except (TypeError, ValueError) as error:
            comma = ", with a decimal comma: give `--decimal ,`" if re.fullmatch(r"[-+]?[\d.]*\d,\d+", text) else ""
            raise Refusal(f"the value is not a number ({text[:40]!r}{comma})", which, "Correct the row") from error
        if not self.low <= number <= self.high or not math.isfinite(number):
            raise Refusal(f"the value {number} is outside {self.low}..{self.high}", which, "Correct the row")
        return np.float64(number).tobytes()

    def note(self, value: Any) -> str:
        return ""

    def beside(self, data: bytes) -> str:
        return ""

    def digest(self, data: bytes, at: datetime | None) -> str:
        """Of the time alone: another value for it is a correction. Raises Refusal if the time is not on the grid."""
        if at is None:
            raise Refusal("the value has no time", "the record", "Give a `time` for every `value`")
        seconds = at.astimezone(UTC).timestamp()
        (place,) = self.places(np.array([seconds]))
        if place % 1 and isinstance(self.step, str):
            raise Refusal(f"its time is on no {self.step}", at.isoformat(), f"Give one value per {self.step}")
        if place % 1:
            what = f"its time is not {self.offset} s after a multiple of {self.step} s"
            raise Refusal(what, at.isoformat(), "Give one value per step")
        time = int(seconds) if isinstance(self.step, int) else f"{self.step} {int(place)}"
        return hashlib.sha256(f"time:{time}".encode()).hexdigest()

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """Windows [N, window] of finite numbers, and null for a value that is missing."""
        expected = f"[N, {self.window}] numbers"
        if self.fill and isinstance(values, list):
            values = nan_for_null(values)
        array = as_array(values, which, expected)
        if array.dtype == bool or not np.issubdtype(array.dtype, np.number):
            raise Refusal(f"the values are not numbers ({array.dtype})", which, f"Send {expected}")
        return self._checked(array, which)

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        if len(data) != count * self.window * 4:
            what = f"{len(data)} bytes were sent for {count} windows"
            raise Refusal(what, which, "Send four bytes per value")
        return self._checked(np.frombuffer(data, self.dtype).reshape(count, self.window), which)

    @property
    def tensors(self) -> tuple[Spec, ...]:
        return ((self.kind, self.datatype, self.shape),)

    def from_tensors(self, tensors: Sequence[Tensor], most: int) -> np.ndarray:
        return single(self, tensors, most)

    def to_tensors(self, inputs: np.ndarray) -> list[Tensor]:
        return [whole(self, inputs)]

    def values(self, inputs: np.ndarray) -> list[Any]:
        """Windows as `read` takes them."""
        return [[None if math.isnan(value) else value for value in window] for window in inputs.tolist()]

    def pack(self, inputs: np.ndarray) -> bytes:
        return inputs.astype(self.dtype).tobytes()

    @property
    def features_version(self) -> int:
        return 2 if self.fill else 1

    def learn_vocabulary(self, inputs: np.ndarray) -> tuple[str, ...]:
        return ()

    def features(self, inputs: np.ndarray, vocabulary: Sequence[str] = ()) -> np.ndarray:
        """float32 [N, window, 1], not scaled; if values may be missing [N, window, 2], with 1 beside each that is.

        The benchmark of a recipe that now allows gaps is also read by the contract of an older champion.
        """
        values = self.filled(inputs)
        return np.stack([values, np.isnan(inputs).astype(np.float32)] if self.fill else [values], axis=-1)

    def categories(self) -> tuple[int, ...]:
        return ()

    def vary(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """With noise of a twentieth of each window's standard deviation."""
        noise = rng.standard_normal(inputs.shape) * np.nanstd(inputs, axis=1, keepdims=True) / 20
        return (inputs + noise).clip(self.low, self.high).astype(self.dtype)

    def synthesize(self, count: int, rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """A daily wave, or one of another season, around a level that drifts; with gaps, if values may be missing."""
        span = self.high - self.low
        hours = np.arange(self.window) * (self.step / 3600 if isinstance(self.step, int) else 24 / self.season)
        level = self.low + span * rng.uniform(0.35, 0.65, size=(count, 1))
        drift = np.cumsum(rng.standard_normal((count, self.window)), axis=1) * span / 400
        wave = np.sin(2 * np.pi * (hours + rng.uniform(0, 24, size=(count, 1))) / 24) * span / 20
        windows = (level + drift + wave).clip(self.low, self.high).astype(self.dtype)
        for row in range(0, count if self.fill else 0, 2):
            start = int(rng.integers(self.window - self.fill + 1))
            windows[row, start : start + self.fill] = np.nan
        return windows

    def regions(self, input: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Runs of steps, as start and stop."""
        size = -(-self.window // most)
        return [(start, min(start + size, self.window)) for start in range(0, self.window, size)]

    def occlude(self, input: np.ndarray, region: tuple[int, ...]) -> np.ndarray:
        """The run becomes a straight line between its neighbours; at an end, it repeats its one neighbour."""
        (start, stop), occluded = region, input.copy()
        (filled,) = self.filled(input)
        before, after = filled[max(start - 1, 0)], filled[min(stop, self.window - 1)]
        first = before if start else after
        last = after if stop < self.window else before
        occluded[0, start:stop] = np.linspace(first, last, stop - start + 2)[1:-1]
        return occluded

    def quote(self, input: np.ndarray, region: tuple[int, ...]) -> str:
        return ""

    def render(self, input: np.ndarray) -> str:
        return json.dumps(self.filled(input)[0].tolist())

    def example(self) -> np.ndarray:
        return np.full((1, self.window), (self.low + self.high) / 2, self.dtype)

    def _checked(self, array: np.ndarray, which: str) -> np.ndarray:
        if array.ndim != 2 or array.shape[1] != self.window or not len(array):
            raise Refusal(f"the shape is {list(array.shape)}, not [N, {self.window}]", which, "Send exactly that shape")
        missing = np.isnan(array) if self.fill else np.zeros(0, bool)
        for row in np.flatnonzero(missing.any(axis=1)) if missing.any() else ():
            self.check_gaps(missing[row], f"row {row}", which)
        require_range(np.where(missing, self.low, array) if self.fill else array, self.low, self.high, which)
        return array.astype(self.dtype, copy=False)

    def check_gaps(self, missing: np.ndarray, row: str, which: str) -> None:
        """Raises Refusal if a window may not lack these of its values [window]."""
        if (longest := longest_run(missing)) > self.fill:
            what = f"{longest} values in a row are missing in {row}, more than {self.fill}"
            raise Refusal(what, which, "Send windows with shorter gaps")
        if 2 * missing.sum() > self.window:
            what = f"{missing.sum()} of {self.window} values are missing in {row}, more than half"
            raise Refusal(what, which, "Send windows with fewer gaps")

    def filled(self, windows: np.ndarray) -> np.ndarray:
        """Windows float32 [N, window] with a straight line where values are missing; at an end, the nearest one again.

        A window knows nothing of what came next, so that serving fills it as training did.
        """
        missing = np.isnan(windows)
        result = windows.astype(np.float32)
        for row in np.flatnonzero(missing.any(axis=1)):
            known = np.flatnonzero(~missing[row])
            result[row] = np.interp(np.arange(self.window), known, windows[row, known])
        return result


def longest_run(mask: np.ndarray) -> int:
    """The length of the longest run of true values in a mask [N]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
