"""One number. Needs only NumPy."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ratchet.answers import Compact
from ratchet.errors import Refusal


@dataclass(frozen=True)
class Regression:
    """A number in `low`..`high`; outputs and targets are [N, 1]."""

    low: float
    high: float
    close: float
    """Two answers agree if they differ by at most this."""
    unit: str = ""
    squared: bool = False
    """Whether the loss of a record is its squared error, for the mean; if not, its absolute error, for the median."""
    task: ClassVar[str] = "regression"
    output: ClassVar[str] = "value"
    largest_loss: ClassVar[float | None] = None
    sign: ClassVar[int] = -1
    classes: ClassVar[tuple[str, ...]] = ()
    width: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.low < self.high or not self.close > 0:
            raise ValueError("low must be below high, and close above 0")

    @property
    def metric(self) -> str:
        return "mean_squared_error" if self.squared else "mean_absolute_error"

    @property
    def tolerance(self) -> float:
        return self.close / 100

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, **asdict(self)}

    def read_label(self, label: str | None) -> float:
        try:
            if "_" in str(label):
                raise ValueError
            number = float(str(label))
        except ValueError as error:
            raise Refusal("is not a number", str(label), "Correct the label") from error
        if not self.low <= number <= self.high or not math.isfinite(number):
            raise Refusal(f"is outside {self.low}..{self.high}", str(label), "Correct it, or widen the range")
        return number

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(self.losses(targets, outputs).mean())

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        errors = np.abs(outputs[:, 0].astype(float) - targets[:, 0])
        return errors**2 if self.squared else errors

    def certainty(self, outputs: np.ndarray) -> np.ndarray:
        """The answer itself: large numbers have other errors than small ones."""
        return np.asarray(outputs[:, 0])

    def strata(self, targets: np.ndarray) -> list[np.ndarray]:
        return [np.ones(len(targets), bool)]

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32)}

    def metadata(self) -> list[dict[str, Any]]:
        return [{"name": self.output, "datatype": "FP32", "shape": [-1, 1]}]

    def parameters(self) -> dict[str, Any]:
        return {"unit": self.unit} if self.unit else {}

    def predictions(self, outputs: np.ndarray) -> dict[str, Any]:
        return {self.output: outputs[:, 0].tolist()}

    def outputs(self, predictions: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(predictions[self.output], np.float32)[:, None]

    def prediction(self, output: np.ndarray) -> dict[str, Any]:
        return {self.output: float(output[0])}

    def compact(self, output: np.ndarray) -> Compact:
        return (round(float(output[0]), 4),)

    def agree(self, one: Compact, other: Compact) -> bool:
        """Whether they differ by at most `close`."""
        return float(np.abs(np.subtract(one, other)).max()) <= self.close

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray((outputs != others).any(axis=1))

    def describe(self, output: np.ndarray) -> str:
        return self._in_units(output[0])

    def describe_target(self, target: Any) -> str:
        return self._in_units(target[0])

    def _in_units(self, value: float) -> str:
        digits = max(0, 1 - math.floor(math.log10(self.close)))
        return f"{value:,.{digits}f} {self.unit}" if self.unit else f"{value:,.{digits}f}"

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """How much lower the answer is without it."""
        return output[0] - occluded[:, 0]
