"""What an answer is: one of some classes, or a forecast. Needs only NumPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

Compact = int | tuple[float, ...]
"""An answer that is cheap to keep and compare: the number of its class, or the values of a forecast."""


class Answers(Protocol):
    output: ClassVar[str]
    """The name of the model's output."""
    metric: ClassVar[str]
    """The headline metric, by Keras's name."""
    sign: ClassVar[int]
    """1 if a higher metric is better, -1 if a lower one is."""

    @property
    def width(self) -> int:
        """The number of values in one output."""

    @property
    def tolerance(self) -> float:
        """The largest difference of a value between two machines, which may add in another order."""

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        """The metric of outputs [N, width]."""

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The loss [N] of each output [N, width], by which two models are compared record by record."""

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """The endpoint's output tensors by name."""

    def metadata(self) -> list[dict[str, Any]]:
        """The output tensors as the Open Inference Protocol describes them."""

    def to_json(self, outputs: np.ndarray) -> dict[str, Any]: ...

    def compact(self, output: np.ndarray) -> Compact: ...

    def agree(self, one: Compact, other: Compact) -> bool: ...

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which [N] of the outputs [N, width] are another answer than those of another model, however close."""

    def describe(self, output: np.ndarray) -> str:
        """One output in words."""

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """The weight [N] of each occluded region, from the output [width] and the outputs without it [N, width]."""


@dataclass(frozen=True)
class Classes:
    """Probabilities [N, classes]; the class with the largest one is predicted."""

    names: tuple[str, ...]
    output: ClassVar[str] = "probabilities"
    metric: ClassVar[str] = "accuracy"
    sign: ClassVar[int] = 1

    @property
    def width(self) -> int:
        return len(self.names)

    @property
    def tolerance(self) -> float:
        return 1e-3

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float((outputs.argmax(axis=1) == targets).mean())

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """1 for a wrong class, 0 for the right one."""
        return (outputs.argmax(axis=1) != targets).astype(float)

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32), "class": outputs.argmax(axis=1).astype(np.int64)}

    def metadata(self) -> list[dict[str, Any]]:
        return [
            {"name": self.output, "datatype": "FP32", "shape": [-1, self.width]},
            {"name": "class", "datatype": "INT64", "shape": [-1]},
        ]

    def to_json(self, outputs: np.ndarray) -> dict[str, Any]:
        return {"label": [self.names[i] for i in outputs.argmax(axis=1)], "probabilities": outputs.tolist()}

    def compact(self, output: np.ndarray) -> Compact:
        return int(output.argmax())

    def agree(self, one: Compact, other: Compact) -> bool:
        return one == other

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray(outputs.argmax(axis=1) != others.argmax(axis=1))

    def describe(self, output: np.ndarray) -> str:
        return f"class {int(output.argmax())} ({output.max():.3f})"

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """The loss of probability of the predicted class."""
        return output.max() - occluded[:, int(output.argmax())]


@dataclass(frozen=True)
class Forecast:
    """The next `horizon` values [N, horizon], in units of the series."""

    horizon: int
    close: float
    unit: str = ""
    output: ClassVar[str] = "forecast"
    metric: ClassVar[str] = "mean_squared_error"
    sign: ClassVar[int] = -1

    @property
    def width(self) -> int:
        return self.horizon

    @property
    def tolerance(self) -> float:
        return self.close / 100

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(self.losses(targets, outputs).mean())

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The mean squared error over the horizon."""
        return ((outputs - targets) ** 2).mean(axis=1)

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32)}

    def metadata(self) -> list[dict[str, Any]]:
        return [{"name": self.output, "datatype": "FP32", "shape": [-1, self.width]}]

    def to_json(self, outputs: np.ndarray) -> dict[str, Any]:
        return {self.output: outputs.tolist()}

    def compact(self, output: np.ndarray) -> Compact:
        return tuple(round(float(value), 4) for value in output)

    def agree(self, one: Compact, other: Compact) -> bool:
        """Whether they differ by at most `close`, on average over the horizon."""
        return float(np.abs(np.subtract(one, other)).mean()) <= self.close

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray((outputs != others).any(axis=1))

    def describe(self, output: np.ndarray) -> str:
        return f"{output[0]:.2f} first and {output.mean():.2f} {self.unit} on average"

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """The mean absolute change over the horizon."""
        return np.abs(occluded - output).mean(axis=1)


def of(contract: Mapping[str, Any], classes: Sequence[str]) -> Answers:
    """The answers that go with a contract's JSON: classes if there are any, else a forecast."""
    if classes:
        return Classes(tuple(classes))
    return Forecast(int(contract["horizon"]), float(contract["close"]), str(contract["unit"]))
