"""The suite of a recipe as data, which `checkpoint` passes to Great Expectations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expectations.statistics import columns
from ratchet.images import ImageContract
from ratchet.recipe import Recipe
from ratchet.series import SeriesContract
from ratchet.texts import TextContract


@dataclass(frozen=True)
class Expectation:
    """One expectation: GX's class name and its arguments."""

    kind: str
    arguments: Mapping[str, Any]
    says: str
    column: str = field(default="")


def suite(recipe: Recipe) -> tuple[Expectation, ...]:
    """Schema, row count, properties of the inputs, labels and their balance, duplicates, age."""
    limits, known = recipe.suite, list(columns(recipe))
    own = {"image": _images, "text": _texts, "series": _series}[recipe.contract.kind](recipe)
    return (
        Expectation(
            "ExpectTableColumnsToMatchSet", {"column_set": known, "exact_match": True}, "the columns are known"
        ),
        Expectation(
            "ExpectTableRowCountToBeBetween", {"min_value": limits.min_rows}, f"at least {limits.min_rows} rows"
        ),
        *own,
        *(_labels(recipe) if recipe.classes else ()),
        Expectation(
            "ExpectColumnMeanToBeBetween",
            {"column": "duplicate", "max_value": limits.max_duplicates},
            f"at most {limits.max_duplicates:.0%} duplicates",
            "duplicate",
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "age_days", "min_value": -1, "max_value": limits.max_age_days},
            f"captured in the last {limits.max_age_days:g} days, and not in the future",
            "age_days",
        ),
    )


def _images(recipe: Recipe) -> tuple[Expectation, ...]:
    contract = recipe.contract
    assert isinstance(contract, ImageContract)
    return (
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
    )


def _texts(recipe: Recipe) -> tuple[Expectation, ...]:
    contract = recipe.contract
    assert isinstance(contract, TextContract)
    return (
        _between("characters", 1, contract.max_characters),
        Expectation("ExpectColumnValuesToBeBetween", {"column": "words", "min_value": 1}, "at least one word", "words"),
        Expectation(
            "ExpectColumnMeanToBeBetween",
            {"column": "unprintable", "max_value": 0.01},
            "at most 1% of the characters are unprintable",
            "unprintable",
        ),
    )


def _series(recipe: Recipe) -> tuple[Expectation, ...]:
    contract = recipe.contract
    assert isinstance(contract, SeriesContract)
    return (
        _between("value", contract.low, contract.high),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "steps_after", "min_value": 1, "max_value": 1, "mostly": 1 - recipe.suite.max_gaps},
            f"one value every {contract.step} s, with at most {recipe.suite.max_gaps:.0%} exceptions",
            "steps_after",
        ),
    )


def _labels(recipe: Recipe) -> tuple[Expectation, ...]:
    labels, limits = list(range(len(recipe.classes))), recipe.suite
    return (
        Expectation(
            "ExpectColumnValuesToBeInSet",
            {"column": "label", "value_set": labels},
            f"one of {len(labels)} labels",
            "label",
        ),
        Expectation(
            "ExpectColumnUniqueValueCountToBeBetween",
            {"column": "label", "min_value": len(labels), "max_value": len(labels)},
            f"all {len(labels)} classes are present",
            "label",
        ),
        Expectation(
            "ExpectColumnMinToBeBetween",
            {"column": "class_share", "min_value": limits.min_class_share},
            f"the rarest class has at least {limits.min_class_share:.0%} of the rows",
            "class_share",
        ),
    )


def _between(column: str, low: float, high: float) -> Expectation:
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Expectation("ExpectColumnValuesToBeBetween", arguments, f"{low}..{high}", column)
