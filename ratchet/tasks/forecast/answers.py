"""The next values of a series. Needs only NumPy."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ratchet.answers import Compact


@dataclass(frozen=True)
class Forecast:
    """The next `horizon` values, in units of the series; outputs and targets are [N, horizon]."""

    horizon: int
    close: float
    """Two forecasts agree if they differ by at most this on average."""
    unit: str = ""
    task: ClassVar[str] = "forecast"
    output: ClassVar[str] = "forecast"
    metric: ClassVar[str] = "mean_squared_error"
    largest_loss: ClassVar[float | None] = None
    sign: ClassVar[int] = -1
    classes: ClassVar[tuple[str, ...]] = ()

    @property
    def width(self) -> int:
        return self.horizon

    @property
    def tolerance(self) -> float:
        return self.close / 100

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, **asdict(self)}

    def read_label(self, label: str | None) -> None:
        """A series has no labels: what comes next is the target."""

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(self.losses(targets, outputs).mean())

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The mean squared error over the horizon."""
        return ((outputs - targets) ** 2).mean(axis=1)

    def certainty(self, outputs: np.ndarray) -> np.ndarray:
        """How much the forecast moves."""
        return np.asarray(outputs.std(axis=1))

    def strata(self, targets: np.ndarray) -> list[np.ndarray]:
        return [np.ones(len(targets), bool)]

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32)}

    def metadata(self) -> list[dict[str, Any]]:
        return [{"name": self.output, "datatype": "FP32", "shape": [-1, self.width]}]

    def parameters(self) -> dict[str, Any]:
        return {}

    def predictions(self, outputs: np.ndarray) -> dict[str, Any]:
        return {self.output: outputs.tolist()}

    def outputs(self, predictions: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(predictions[self.output], np.float32)

    def prediction(self, output: np.ndarray) -> dict[str, Any]:
        return {self.output: output.tolist()}

    def compact(self, output: np.ndarray) -> Compact:
        return tuple(round(float(value), 4) for value in output)

    def agree(self, one: Compact, other: Compact) -> bool:
        """Whether they differ by at most `close`, on average over the horizon."""
        return float(np.abs(np.subtract(one, other)).mean()) <= self.close

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray((outputs != others).any(axis=1))

    def describe(self, output: np.ndarray) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{output.mean():.1f}{unit} on average over the next {self.horizon} values"

    def describe_target(self, target: Any) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{np.mean(target):.1f}{unit} on average"

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """The mean absolute change over the horizon."""
        return np.abs(occluded - output).mean(axis=1)
