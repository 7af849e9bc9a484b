"""Numbers as labels."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.expectation import Expectation, between
from ratchet.suite import Suite
from ratchet.tasks.regression.answers import Regression

TYPE = pa.float64()


def reader(answers: Regression) -> Callable[[str | None], float]:
    def read(label: str | None) -> float:
        try:
            if "_" in str(label):
                raise ValueError
            number = float(str(label))
        except ValueError as error:
            raise Refusal("is not a number", str(label), "Correct the label") from error
        if not answers.low <= number <= answers.high or not math.isfinite(number):
            raise Refusal(f"is outside {answers.low}..{answers.high}", str(label), "Correct it, or widen the range")
        return number

    return read


def check(answers: Regression, labels: Collection[str]) -> None:
    """Any labels may stand together."""


def describe(answers: Regression, label: float | None) -> str:
    return "" if label is None else answers.describe_target([label])


def expected(answers: Regression) -> tuple[str, ...]:
    return ()


def counts(answers: Regression, labels: Sequence[float | None]) -> Mapping[str, int]:
    return {}


def targets(answers: Regression, labels: np.ndarray) -> np.ndarray:
    """Numbers [N, 1]."""
    return labels.reshape(-1, 1)


SHARES: tuple[str, ...] = ()


def statistics(answers: Regression, labels: Sequence[float | None]) -> dict[str, Any]:
    return {"target": list(labels)}


def expectations(answers: Regression, suite: Suite) -> tuple[Expectation, ...]:
    return (between("target", answers.low, answers.high),)
