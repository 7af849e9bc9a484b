"""What an answer is: one of some classes, or the values that come next. Needs only NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

Short = int | tuple[float, ...]
"""An answer in short: the number of its class, or the values."""


class Answers(Protocol):
    output: ClassVar[str]
    """What the model's output is called."""
    metric: ClassVar[str]
    """The figure on held-out data, by the name that Keras gives it."""
    better: ClassVar[int]
    """1 where a higher figure is the better one, -1 where a lower one is."""

    @property
    def width(self) -> int:
        """Numbers in one answer."""
        ...

    @property
    def tolerance(self) -> float:
        """The largest difference of a number between two machines: they may add in another order."""
        ...

    def figure(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        """How well the outputs [N, width] hit the targets, by `metric`."""
        ...

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """The endpoint's outputs by name."""
        ...

    def metadata(self) -> list[dict[str, Any]]:
        """Them as the Open Inference Protocol describes tensors."""
        ...

    def told(self, outputs: np.ndarray) -> dict[str, Any]:
        """Them as plain JSON."""
        ...

    def short(self, output: np.ndarray) -> Short: ...

    def same(self, one: Short, other: Short) -> bool: ...

    def says(self, output: np.ndarray) -> str:
        """One answer in words."""
        ...

    def carried(self, output: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How much an answer [width] loses in each of others [N, width], to the same input in part; [N]."""
        ...


@dataclass(frozen=True)
class Classes:
    """Probabilities [N, classes]; the largest is the answer."""

    names: tuple[str, ...]
    output: ClassVar[str] = "probabilities"
    metric: ClassVar[str] = "accuracy"
    better: ClassVar[int] = 1

    @property
    def width(self) -> int:
        return len(self.names)

    @property
    def tolerance(self) -> float:
        return 1e-3

    def figure(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float((outputs.argmax(axis=1) == targets).mean())

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32), "class": outputs.argmax(axis=1).astype(np.int64)}

    def metadata(self) -> list[dict[str, Any]]:
        return [{"name": self.output, "datatype": "FP32", "shape": [-1, self.width]},
                {"name": "class", "datatype": "INT64", "shape": [-1]}]  # fmt: skip

    def told(self, outputs: np.ndarray) -> dict[str, Any]:
        return {"label": [self.names[i] for i in outputs.argmax(axis=1)], "probabilities": outputs.tolist()}

    def short(self, output: np.ndarray) -> Short:
        return int(output.argmax())

    def same(self, one: Short, other: Short) -> bool:
        return one == other

    def says(self, output: np.ndarray) -> str:
        return f"class {int(output.argmax())} ({output.max():.3f})"

    def carried(self, output: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Of the probability of the class that was answered."""
        return output.max() - others[:, int(output.argmax())]


@dataclass(frozen=True)
class Forecast:
    """The next `horizon` values [N, horizon], in units of the series."""

    horizon: int
    close: float
    unit: str = ""
    output: ClassVar[str] = "forecast"
    metric: ClassVar[str] = "mean_squared_error"
    better: ClassVar[int] = -1

    @property
    def width(self) -> int:
        return self.horizon

    @property
    def tolerance(self) -> float:
        return self.close / 100

    def figure(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(((outputs - targets) ** 2).mean())

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32)}

    def metadata(self) -> list[dict[str, Any]]:
        return [{"name": self.output, "datatype": "FP32", "shape": [-1, self.width]}]

    def told(self, outputs: np.ndarray) -> dict[str, Any]:
        return {self.output: outputs.tolist()}

    def short(self, output: np.ndarray) -> Short:
        return tuple(round(float(v), 4) for v in output)

    def same(self, one: Short, other: Short) -> bool:
        """Whether they differ by no more than `close`, on average over the horizon."""
        return float(np.abs(np.subtract(one, other)).mean()) <= self.close

    def says(self, output: np.ndarray) -> str:
        return f"{output[0]:.2f} first and {output.mean():.2f} {self.unit} on average"

    def carried(self, output: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How far the values move, on average over the horizon."""
        return np.abs(others - output).mean(axis=1)


def of(contract: Mapping[str, Any], classes: Sequence[str]) -> Answers:
    """The answers that go with a contract's JSON: classes where there are some, else what comes next."""
    if classes:
        return Classes(tuple(classes))
    return Forecast(int(contract["horizon"]), float(contract["close"]), str(contract["unit"]))
