"""The suite of a recipe as data, which `checkpoint` passes to Great Expectations."""

from expectations.statistics import columns
from ratchet.expectation import Expectation, mean, values
from ratchet.kinds import parts
from ratchet.recipe import Recipe


def suite(recipe: Recipe) -> tuple[Expectation, ...]:
    """Schema, row count, properties of the inputs, labels and their balance, duplicates, age."""
    limits, known = recipe.suite, list(columns(recipe))
    own = parts.records(recipe.contract.kind).expectations(recipe.contract, limits)
    rows, age = limits.min_rows, limits.max_age_days
    schema = {"column_set": known, "exact_match": True}
    return (
        Expectation("ExpectTableColumnsToMatchSet", schema, "the columns are known"),
        Expectation("ExpectTableRowCountToBeBetween", {"min_value": rows}, f"at least {rows} rows"),
        *own,
        *(_labels(recipe) if recipe.classes else ()),
        mean("duplicate", limits.max_duplicates, f"at most {limits.max_duplicates:.0%} duplicates"),
        values("age_days", f"captured in the last {age:g} days, and not in the future", min_value=-1, max_value=age),
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
