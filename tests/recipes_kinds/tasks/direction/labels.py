"""Angles as labels, such as `37°`; the lake keeps degrees."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from ratchet.tasks.direction.answers import Direction

from ratchet.expectation import Expectation, between
from ratchet.suite import Suite

TYPE = pa.float64()


def check(answers: Direction, labels: Collection[str]) -> None:
    """Any angles may stand together."""


def describe(answers: Direction, label: float | None) -> str:
    return f"{label}°"


def expected(answers: Direction) -> tuple[str, ...]:
    return ()


def counts(answers: Direction, labels: Sequence[float | None]) -> Mapping[str, int]:
    return {}


def targets(answers: Direction, labels: np.ndarray) -> np.ndarray:
    """Unit vectors [N, 2]."""
    angles = np.radians(labels)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


SHARES = ()


def statistics(answers: Direction, labels: Sequence[float | None], label_counts: Mapping[Any, int]) -> dict[str, Any]:
    return {"degrees": list(labels)}


def expectations(answers: Direction, suite: Suite) -> tuple[Expectation, ...]:
    return (between("degrees", 0, 360),)
