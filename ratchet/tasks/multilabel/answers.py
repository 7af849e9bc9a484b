"""Any number of some labels. Needs only NumPy."""

import json
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ratchet.answers import Compact
from ratchet.errors import Refusal

_THRESHOLD = 0.5
_CORRECT = "Correct the label"


@dataclass(frozen=True)
class MultiLabel:
    """Probabilities [N, labels], each for itself; those from 0.5 on are predicted. Targets [N, labels] are 0 or 1."""

    labels: tuple[str, ...]
    separator: str = "|"
    """What stands between the labels of a record, as its source has them."""
    none: str = "none"
    """What stands there if a record has no label; if empty, a label that is missing."""
    close: float = 0.1
    """Two answers agree if they differ in at most this share of the labels."""
    task: ClassVar[str] = "multilabel"
    output: ClassVar[str] = "probabilities"
    metric: ClassVar[str] = "binary_accuracy"
    largest_loss: ClassVar[float | None] = 1.0
    sign: ClassVar[int] = 1
    tolerance: ClassVar[float] = 1e-3
    classes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if isinstance(self.labels, list):  # from JSON
            object.__setattr__(self, "labels", tuple(self.labels))

    @property
    def width(self) -> int:
        return len(self.labels)

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, **asdict(self), "labels": list(self.labels)}

    def read_label(self, label: str | None) -> str:
        """Names of labels in any order, or the word for none; the result has the recipe's order."""
        if label is None and not self.none:
            return ""
        if label is None:
            what = f"is missing; a record without labels says {self.none!r}, or what MultiLabel(none=...) says"
            raise Refusal(what, "", _CORRECT)
        known, names = _known(self.labels), split(label, self.separator, self.none)
        if "" in names:
            raise Refusal(f"has an empty name; {self.separator!r} stands between names", label, _CORRECT)
        if unknown := names - known.keys():
            folded = {name.casefold() for name in known}
            near = all(name.casefold() in folded for name in unknown)
            hint = ": it differs from one in case alone" if near else ""
            raise Refusal(f"has a name that is none of the {self.width} labels{hint}", label, _CORRECT)
        return self.separator.join(name for spelled, name in known.items() if spelled in names) or self.none

    def score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(1 - self.losses(targets, outputs).mean())

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The share of the labels that are wrong, which is the Hamming loss."""
        return np.asarray((present(outputs) != (targets > 0)).mean(axis=1))

    def certainty(self, outputs: np.ndarray) -> np.ndarray:
        """How far the probabilities are from the threshold, on average."""
        return np.asarray(np.abs(outputs - _THRESHOLD).mean(axis=1))

    def strata(self, targets: np.ndarray) -> list[np.ndarray]:
        """Records with each of the labels; one with several is in several."""
        return [targets[:, number] > 0 for number in range(self.width)]

    def tensors(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {self.output: outputs.astype(np.float32), "present": present(outputs)}

    def metadata(self) -> list[dict[str, Any]]:
        return [
            {"name": self.output, "datatype": "FP32", "shape": [-1, self.width]},
            {"name": "present", "datatype": "BOOL", "shape": [-1, self.width]},
        ]

    def parameters(self) -> dict[str, Any]:
        return {"labels": list(self.labels)}

    def predictions(self, outputs: np.ndarray) -> dict[str, Any]:
        return {"labels": [self.names(output) for output in outputs], "probabilities": outputs.tolist()}

    def outputs(self, predictions: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(predictions[self.output], np.float32)

    def prediction(self, output: np.ndarray) -> dict[str, Any]:
        probabilities = dict(zip(self.labels, map(float, output), strict=True))
        return {"labels": self.names(output), "probabilities": probabilities}

    def compact(self, output: np.ndarray) -> Compact:
        return tuple(present(output).astype(float).tolist())

    def agree(self, one: Compact, other: Compact) -> bool:
        """Whether they differ in at most `close` of the labels."""
        return float(np.abs(np.subtract(one, other)).mean()) <= self.close

    def differ(self, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray((present(outputs) != present(others)).any(axis=1))

    def describe(self, output: np.ndarray) -> str:
        likely = [f"{name!r} ({output[self.labels.index(name)]:.1%})" for name in self.names(output)]
        return ", ".join(likely) or "no label"

    def describe_target(self, target: Any) -> str:
        return ", ".join(map(repr, self.names(target))) or "no label"

    def attribution(self, output: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        """The loss of probability of the most probable label."""
        return output.max() - occluded[:, int(output.argmax())]

    def names(self, output: np.ndarray) -> list[str]:
        """The labels of an output or a target [width]."""
        return [name for name, there in zip(self.labels, present(output), strict=True) if there]


def present(outputs: np.ndarray) -> np.ndarray:
    """Which labels [N, width] are predicted."""
    return np.asarray(outputs >= _THRESHOLD)


@lru_cache(maxsize=16)
def _known(labels: tuple[str, ...]) -> dict[str, str]:
    """The labels by their names in Unicode's composed form."""
    return {unicodedata.normalize("NFC", name): name for name in labels}


def split(label: str, separator: str, none: str) -> set[str]:
    """The names in a label: of a list in JSON, or with separators between them."""
    if label.startswith("["):
        with suppress(ValueError, RecursionError):
            return {str(name).strip() for name in json.loads(label)} - {none}
    return set() if label.strip() == none else {name.strip() for name in label.split(separator)}
