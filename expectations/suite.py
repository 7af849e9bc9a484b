"""The suite of a recipe as data, which `checkpoint` passes to Great Expectations."""

from collections.abc import Mapping
from dataclasses import replace

from expectations.statistics import columns, names
from ratchet.expectation import Expectation, mean, values
from ratchet.kinds import parts as kinds
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks


def suite(recipe: Recipe) -> tuple[Expectation, ...]:
    """Schema, row count, properties of the inputs, labels and their balance, duplicates, age."""
    limits, known = recipe.suite, list(columns(recipe))
    named = names(recipe)
    inputs = kinds.records(recipe.contract.kind).expectations(recipe.contract, limits)
    labels = tasks.labels(recipe.answers.task).expectations(recipe.answers, limits)
    rows, age = limits.min_rows, limits.max_age_days
    duplicates = f"at most {limits.max_duplicates:.0%} duplicates; {recipe.contract.same}"
    recent = f"captured in the last {age:g} days, and not in the future"
    schema = {"column_set": known, "exact_match": True}
    return (
        Expectation("ExpectTableColumnsToMatchSet", schema, "the columns are known"),
        Expectation("ExpectTableRowCountToBeBetween", {"min_value": rows}, f"at least {rows} rows"),
        *(_renamed(each, named) for each in inputs),
        *labels,
        mean("duplicate", limits.max_duplicates, duplicates, "max_duplicates"),
        values("age_days", recent, "max_age_days", min_value=-1, max_value=age),
    )


def _renamed(expectation: Expectation, names: Mapping[str, str]) -> Expectation:
    """With its column's name in the table of statistics."""
    column = names.get(expectation.column, expectation.column)
    arguments = {**expectation.arguments, **({"column": column} if expectation.column else {})}
    return replace(expectation, column=column, arguments=arguments)
