"""A series has no labels: what comes next is the target."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation
from ratchet.suite import Suite
from ratchet.tasks.forecast.answers import Forecast

TYPE = pa.int32()


def check(answers: Forecast, labels: Collection[str]) -> None:
    """Any labels may stand together."""


def describe(answers: Forecast, label: Any) -> str:
    return ""


def expected(answers: Forecast) -> tuple[str, ...]:
    return ()


def counts(answers: Forecast, labels: Sequence[Any]) -> Mapping[str, int]:
    return {}


def targets(answers: Forecast, labels: np.ndarray) -> np.ndarray:
    return labels


SHARES: tuple[str, ...] = ()


def statistics(answers: Forecast, labels: Sequence[Any], label_counts: Mapping[Any, int]) -> dict[str, Any]:
    return {}


def expectations(answers: Forecast, suite: Suite) -> tuple[Expectation, ...]:
    return ()
