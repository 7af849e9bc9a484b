"""One of some classes. Needs only NumPy."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ratchet.answers import Compact
from ratchet.errors import Refusal


@dataclass(frozen=True)
class Classification:
    """Probabilities [N, classes]; the class with the largest one is predicted. Targets are the classes' numbers [N]."""

    classes: tuple[str, ...]
    numbered: bool = False
    """Whether a label may be a class's number, counted from 0, instead of its name."""
    task: ClassVar[str] = "classification"
    output: ClassVar[str] = "probabilities"
    metric: ClassVar[str] = "accuracy"
    largest_loss: ClassVar[float | None] = 1.0
    sign: ClassVar[int] = 1
    tolerance: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        if isinstance(self.classes, list):  # from JSON
            object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def width(self) -> int:
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "classes": list(self.classes), "numbered": self.numbered}

    def read_label(self, label: str | None) -> int:
        """The number of the class with exactly this name, or with this number where the recipe allows numbers."""
        numbers = _numbers(self)
        if label in numbers:
            return numbers[label]
        raise Refusal(f"is not one of the {self.width} classes{_hint(self, str(label))}", str(label), _CORRECT)

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float((outputs.argmax(axis=1) == targets).mean())

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """1 for a wrong class, 0 for the right one."""
        return (outputs.argmax(axis=1) != targets).astype(float)

    def certainty(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(outputs.max(axis=1))

    def strata(self, targets: np.ndarray) -> list[np.ndarray]:
        return [targets == number for number in range(self.width)]

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32), "class": outputs.argmax(axis=1).astype(np.int64)}

    def metadata(self) -> list[dict[str, Any]]:
        return [
            {"name": self.output, "datatype": "FP32", "shape": [-1, self.width]},
            {"name": "class", "datatype": "INT64", "shape": [-1]},
        ]

    def parameters(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}

    def predictions(self, outputs: np.ndarray) -> dict[str, Any]:
        return {"label": [self.classes[i] for i in outputs.argmax(axis=1)], "probabilities": outputs.tolist()}

    def outputs(self, predictions: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(predictions[self.output], np.float32)

    def prediction(self, output: np.ndarray) -> dict[str, Any]:
        """The class, and the probability of each."""
        probabilities = dict(zip(self.classes, map(float, output), strict=True))
        return {"label": self.classes[int(output.argmax())], "probabilities": probabilities}

    def compact(self, output: np.ndarray) -> Compact:
        return int(output.argmax())

    def agree(self, one: Compact, other: Compact) -> bool:
        return one == other

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray(outputs.argmax(axis=1) != others.argmax(axis=1))

    def describe(self, output: np.ndarray) -> str:
        return f"{self.classes[int(output.argmax())]!r} ({output.max():.1%})"

    def describe_target(self, target: Any) -> str:
        return repr(self.classes[int(target)])

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """The loss of probability of the predicted class."""
        return output.max() - occluded[:, int(output.argmax())]


_CORRECT = "Correct the label"


@lru_cache(maxsize=16)
def _numbers(answers: Classification) -> dict[str, int]:
    """The number of each class by its labels."""
    by_number = {str(i): i for i in range(answers.width)} if answers.numbered else {}
    return by_number | {unicodedata.normalize("NFC", name): i for i, name in enumerate(answers.classes)}


def _hint(answers: Classification, label: str) -> str:
    whole = label.removesuffix(".0")
    if whole != label and whole in _numbers(answers):  # a column of numbers with a gap is read so by many tools
        return ": it is a decimal number; write whole numbers, or names"
    near = next((name for name in answers.classes if name.strip().casefold() == label.strip().casefold()), None)
    if near is not None:
        return f": it differs from {near!r} in case or blanks alone"
    number = label.isdecimal() and int(label) < answers.width
    return ": it is a number; a recipe whose labels are numbers says `numbered=True`" if number else ""
