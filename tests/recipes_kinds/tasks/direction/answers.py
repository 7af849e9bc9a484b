"""A direction. Needs only NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ratchet.answers import Compact
from ratchet.errors import Refusal


@dataclass(frozen=True)
class Direction:
    """Outputs and targets are vectors [N, 2]; an answer is the angle from the first axis, in degrees."""

    close: float = 10.0
    task: ClassVar[str] = "direction"
    output: ClassVar[str] = "direction"
    metric: ClassVar[str] = "cosine_similarity"
    largest_loss: ClassVar[float | None] = 2.0
    sign: ClassVar[int] = 1
    width: ClassVar[int] = 2
    tolerance: ClassVar[float] = 1e-3
    classes: ClassVar[tuple[str, ...]] = ()

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "close": self.close}

    def read_label(self, label: str | None) -> float:
        try:
            return float(str(label).removesuffix("°")) % 360
        except ValueError as error:
            raise Refusal("is no angle", str(label), "Write it as 37°") from error

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(1 - self.losses(targets, outputs).mean())

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """1 minus the cosine between them."""
        lengths = np.linalg.norm(outputs, axis=1) * np.linalg.norm(targets, axis=1)
        return 1 - (outputs * targets).sum(axis=1) / np.maximum(lengths, 1e-9)

    def certainty(self, outputs: np.ndarray) -> np.ndarray:
        """The length of the vector."""
        return np.asarray(np.linalg.norm(outputs, axis=1))

    def strata(self, targets: np.ndarray) -> list[np.ndarray]:
        return [np.ones(len(targets), bool)]

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32)}

    def metadata(self) -> list[dict[str, Any]]:
        return [{"name": self.output, "datatype": "FP32", "shape": [-1, 2]}]

    def parameters(self) -> dict[str, Any]:
        return {"unit": "degrees"}

    def predictions(self, outputs: np.ndarray) -> dict[str, Any]:
        return {self.output: outputs.tolist(), "degrees": [self._degrees(output) for output in outputs]}

    def outputs(self, predictions: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(predictions[self.output], np.float32)

    def prediction(self, output: np.ndarray) -> dict[str, Any]:
        return {"degrees": self._degrees(output)}

    def compact(self, output: np.ndarray) -> Compact:
        return (round(self._degrees(output), 3),)

    def agree(self, one: Compact, other: Compact) -> bool:
        (apart,) = np.abs(np.subtract(one, other)) % 360
        return bool(min(apart, 360 - apart) <= self.close)

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray((outputs != others).any(axis=1))

    def describe(self, output: np.ndarray) -> str:
        return f"{self._degrees(output):.0f}°"

    def describe_target(self, target: Any) -> str:
        return self.describe(target)

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        return np.abs(occluded - output).mean(axis=1)

    def _degrees(self, output: np.ndarray) -> float:
        return float(np.degrees(np.arctan2(output[1], output[0])) % 360)
