"""Numbers as labels."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation, between
from ratchet.suite import Suite
from ratchet.tasks.regression.answers import Regression

TYPE = pa.float64()


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


def statistics(answers: Regression, labels: Sequence[float | None], label_counts: Mapping[Any, int]) -> dict[str, Any]:
    return {"target": list(labels)}


def expectations(answers: Regression, suite: Suite) -> tuple[Expectation, ...]:
    return (between("target", answers.low, answers.high),)
