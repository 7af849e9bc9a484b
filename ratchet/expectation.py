"""An expectation of a batch as data, which `expectations/checkpoint.py` passes to Great Expectations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Expectation:
    """One expectation: GX's class name and its arguments."""

    type: str
    arguments: Mapping[str, Any]
    says: str
    column: str = ""
    setting: str = ""
    """The field of the recipe's suite that decides, which a person may change."""
    names: tuple[str, ...] = ()
    """What the numbers in the column stand for, or its names: a message says which of them are missing."""


def between(column: str, low: float, high: float) -> Expectation:
    """Every value of the column lies there."""
    return values(column, f"{low}..{high}", min_value=low, max_value=high)


def values(column: str, says: str, setting: str = "", **limits: float) -> Expectation:
    """Every value of the column, or a share `mostly` of them, keeps these limits."""
    return Expectation("ExpectColumnValuesToBeBetween", {"column": column, **limits}, says, column, setting)


def complete(column: str, missing: float) -> Expectation:
    """At most that share of the column's values is missing."""
    arguments = {"column": column, "mostly": 1 - missing}
    says = f"at most {missing:.0%} are missing" if missing else "none is missing"
    return Expectation("ExpectColumnValuesToNotBeNull", arguments, says, column)


def mean(column: str, maximum: float, says: str, setting: str = "") -> Expectation:
    """The column's mean is at most that."""
    return Expectation("ExpectColumnMeanToBeBetween", {"column": column, "max_value": maximum}, says, column, setting)
