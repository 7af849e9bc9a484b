"""The suite of a recipe as data, which `checkpoint` passes to Great Expectations."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    column: str = ""


def suite(recipe: Recipe) -> tuple[Expectation, ...]:
    """Schema, row count, properties of the inputs, labels and their balance, duplicates, age."""
    limits, known = recipe.suite, list(columns(recipe))
    own = {"image": _images, "text": _texts, "series": _series}[recipe.contract.kind](recipe)
    rows, age = limits.min_rows, limits.max_age_days
    schema = {"column_set": known, "exact_match": True}
    return (
        Expectation("ExpectTableColumnsToMatchSet", schema, "the columns are known"),
        Expectation("ExpectTableRowCountToBeBetween", {"min_value": rows}, f"at least {rows} rows"),
        *own,
        *(_labels(recipe) if recipe.classes else ()),
        _mean("duplicate", limits.max_duplicates, f"at most {limits.max_duplicates:.0%} duplicates"),
        _values("age_days", f"captured in the last {age:g} days, and not in the future", min_value=-1, max_value=age),
    )


def _images(recipe: Recipe) -> tuple[Expectation, ...]:
    contract = recipe.contract
    assert isinstance(contract, ImageContract)
    return (
        _between("height", contract.height, contract.height),
        _between("width", contract.width, contract.width),
        _between("minimum", contract.low, contract.high),
        _between("maximum", contract.low, contract.high),
        _values("deviation", "no blank or constant image", min_value=0, strict_min=True),
    )


def _texts(recipe: Recipe) -> tuple[Expectation, ...]:
    contract = recipe.contract
    assert isinstance(contract, TextContract)
    return (
        _between("characters", 1, contract.max_characters),
        _values("words", "at least one word", min_value=1),
        _mean("unprintable", 0.01, "at most 1% of the characters are unprintable"),
    )


def _series(recipe: Recipe) -> tuple[Expectation, ...]:
    contract, gaps = recipe.contract, recipe.suite.max_gaps
    assert isinstance(contract, SeriesContract)
    says = f"one value every {contract.step} s, with at most {gaps:.0%} exceptions"
    return (
        _between("value", contract.low, contract.high),
        _values("steps_after", says, min_value=1, max_value=1, mostly=1 - gaps),
    )


def _labels(recipe: Recipe) -> tuple[Expectation, ...]:
    count, share = len(recipe.classes), recipe.suite.min_class_share
    known = {"column": "label", "value_set": list(range(count))}
    complete = {"column": "label", "min_value": count, "max_value": count}
    balanced = {"column": "class_share", "min_value": share}
    rarest = f"the rarest class has at least {share:.0%} of the rows"
    return (
        Expectation("ExpectColumnValuesToBeInSet", known, f"one of {count} labels", "label"),
        Expectation("ExpectColumnUniqueValueCountToBeBetween", complete, f"all {count} classes are present", "label"),
        Expectation("ExpectColumnMinToBeBetween", balanced, rarest, "class_share"),
    )


def _between(column: str, low: float, high: float) -> Expectation:
    return _values(column, f"{low}..{high}", min_value=low, max_value=high)


def _values(column: str, says: str, **limits: float) -> Expectation:
    return Expectation("ExpectColumnValuesToBeBetween", {"column": column, **limits}, says, column)


def _mean(column: str, maximum: float, says: str) -> Expectation:
    return Expectation("ExpectColumnMeanToBeBetween", {"column": column, "max_value": maximum}, says, column)
