"""The suite of a recipe, as data: what `checkpoint` hands to Great Expectations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expectations.statistics import COLUMNS
from ratchet.recipe import Recipe


@dataclass(frozen=True)
class Expectation:
    """One expectation: GX's class name and its arguments."""

    kind: str
    arguments: Mapping[str, Any]
    says: str
    column: str = field(default="")


def suite(recipe: Recipe) -> tuple[Expectation, ...]:
    """Schema, sizes, ranges, label set, class balance, duplicates, blank images, row count, freshness."""
    want, contract = recipe.suite, recipe.contract
    labels = list(range(len(recipe.classes)))
    return (
        Expectation(
            "ExpectTableColumnsToMatchSet", {"column_set": list(COLUMNS), "exact_match": True}, "the columns are known"
        ),
        Expectation("ExpectTableRowCountToBeBetween", {"min_value": want.min_rows}, f"at least {want.min_rows} rows"),
        _between("height", contract.height, contract.height),
        _between("width", contract.width, contract.width),
        _between("minimum", contract.low, contract.high),
        _between("maximum", contract.low, contract.high),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "deviation", "min_value": 0, "strict_min": True},
            "no blank or constant image",
            "deviation",
        ),
        Expectation(
            "ExpectColumnValuesToBeInSet",
            {"column": "label", "value_set": labels},
            f"one of {len(labels)} labels",
            "label",
        ),
        Expectation(
            "ExpectColumnUniqueValueCountToBeBetween",
            {"column": "label", "min_value": len(labels), "max_value": len(labels)},
            f"all {len(labels)} classes are there",
            "label",
        ),
        Expectation(
            "ExpectColumnMinToBeBetween",
            {"column": "class_share", "min_value": want.min_class_share},
            f"the rarest class has at least {want.min_class_share:.0%} of the rows",
            "class_share",
        ),
        Expectation(
            "ExpectColumnMeanToBeBetween",
            {"column": "duplicate", "max_value": want.max_duplicates},
            f"at most {want.max_duplicates:.0%} duplicates",
            "duplicate",
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "age_days", "min_value": -1, "max_value": want.max_age_days},
            f"captured within {want.max_age_days:g} days, and not in the future",
            "age_days",
        ),
    )


def _between(column: str, low: int, high: int) -> Expectation:
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Expectation("ExpectColumnValuesToBeBetween", arguments, f"{low}..{high}", column)
