"""What an answer is; each task has its own. This file travels inside every bento, so it needs only NumPy."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

Compact = int | tuple[float, ...]
"""An answer that is cheap to keep and compare: the number of its class, or its values."""


class Answers(Protocol):
    """The answers of one model: outputs are an array [N, width], targets an array whose first axis is N."""

    task: ClassVar[str]
    output: ClassVar[str]
    """The name of the model's output."""

    @property
    def metric(self) -> str:
        """The headline metric, by Keras's name."""

    @property
    def sign(self) -> int:
        """1 if a higher metric is better, -1 if a lower one is."""

    @property
    def largest_loss(self) -> float | None:
        """The largest loss of a record; None if there is no limit."""

    @property
    def width(self) -> int:
        """The number of values in one output."""

    @property
    def tolerance(self) -> float:
        """The largest difference of a value between two machines, which may add in another order."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its answers; empty where they are not few."""

    def to_json(self) -> dict[str, Any]:
        """The definition, with the name of the task."""

    def read_label(self, label: str | None) -> Any:
        """A label as its source has it, in the form that the lake keeps. Raises Refusal if it is none."""

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        """The metric."""

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The loss [N] of each output, by which two models are compared record by record."""

    def certainty(self, outputs: np.ndarray) -> np.ndarray:
        """A number [N] for each output by which outputs of like loss lie together, such as the confidence."""

    def strata(self, targets: np.ndarray) -> list[np.ndarray]:
        """Masks [N] of records with like targets, which a sample should hold evenly."""

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """The endpoint's output tensors by name."""

    def metadata(self) -> list[dict[str, Any]]:
        """The output tensors as the Open Inference Protocol describes them."""

    def parameters(self) -> dict[str, Any]:
        """What the metadata of the Open Inference Protocol say beside that."""

    def predictions(self, outputs: np.ndarray) -> dict[str, Any]:
        """The outputs as JSON, a list for each name."""

    def outputs(self, predictions: Mapping[str, Any]) -> np.ndarray:
        """The outputs from that JSON."""

    def prediction(self, output: np.ndarray) -> dict[str, Any]:
        """One output [width] as JSON."""

    def compact(self, output: np.ndarray) -> Compact: ...

    def agree(self, one: Compact, other: Compact) -> bool: ...

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which [N] of the outputs are another answer than those of another model, however close."""

    def describe(self, output: np.ndarray) -> str:
        """One output [width] in words."""

    def describe_target(self, target: Any) -> str:
        """One target in words."""

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """The weight [N] of each occluded region, from the output [width] and the outputs without it [N, width]."""


def predicted(answers: Answers, outputs: np.ndarray) -> list[str]:
    """The names [N] of the classes that the outputs [N, width] predict; empty for a task without classes."""
    return [answers.classes[int(number)] for number in outputs.argmax(axis=1)] if answers.classes else []
