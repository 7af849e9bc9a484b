"""Drift: little between two samples of one population, large between two populations."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations import drift
from ratchet.types import Drift, from_json, to_json


def summary(values: np.ndarray, labels: dict[str, int]) -> drift.Summary:
    return drift.Summary(len(values), {"mean": tuple(np.quantile(values, np.linspace(0, 1, 101)))}, labels)


def test_drift_is_little_between_draws_of_one_population_and_much_between_two() -> None:
    chance = np.random.default_rng(0)
    older = [summary(chance.normal(0, 1, 3000), {"0": 1500, "1": 1500}) for _ in range(2)]
    same, moved = (
        summary(chance.normal(0, 1, 3000), {"0": 1500, "1": 1500}),
        summary(chance.normal(1, 1, 3000), {"0": 3000}),
    )
    assert {d.column: d.index < 0.1 for d in drift.drift(older, [same])} == {"mean": True, "label": True}
    assert {d.column: d.index > 0.25 for d in drift.drift(older, [moved])} == {"mean": True, "label": True}
    assert drift.drift([], [same]) == drift.drift(older, []) == ()
    assert drift.drift(older, [drift.Summary(0, {}, {})]) == (), "a batch whose records were all withdrawn since"


def test_a_number_that_is_the_same_everywhere_has_not_drifted() -> None:
    flat = summary(np.full(500, 28.0), {})
    assert [d.index for d in drift.drift([flat], [flat])] == [0.0]


def test_a_large_batch_weighs_more_than_many_small_ones() -> None:
    chance = np.random.default_rng(0)
    many = [summary(chance.normal(3, 1, 100), {}) for _ in range(60)]
    assert [d.index < 0.1 for d in drift.drift([summary(chance.normal(0, 1, 60_000), {}), *many],
                                               [summary(chance.normal(0, 1, 5000), {})])] == [True]  # fmt: skip


@pytest.mark.parametrize(("rows", "batches"), [(100, 1), (10, 10), (1000, 1)])
def test_unchanged_data_raise_an_alarm_as_rarely_as_is_stated(rows: int, batches: int) -> None:
    """Of numbers, few different numbers, flags, values that are mostly missing, many categories, and several labels."""
    chance, alarms, tries = np.random.default_rng(rows), 0, 80
    shares = 1 / np.arange(1, 151)

    def batch(count: int) -> drift.Summary:
        columns = {f"n{n}": chance.normal(size=count) for n in range(5)}
        columns |= {"few": chance.integers(3, size=count), "counted": chance.poisson(0.7, count)}
        columns |= {"zeros": np.where(chance.random(count) < 0.5, 0.0, chance.exponential(size=count))}
        for name, missing in (("half", 0.5), ("sparse", 0.9)):
            columns[name] = np.where(chance.random(count) < missing, np.nan, chance.normal(size=count))
        frame = pd.DataFrame({"record": ["r"] * count, **columns})
        frame["flag"] = chance.random(count) < 0.02
        frame["name"] = chance.choice([f"c{n}" for n in range(150)], count, p=shares / shares.sum())
        there = chance.random((count, 3)) < [0.3, 0.05, 0.01]
        frame["label"] = [[str(n) for n in np.flatnonzero(row)] for row in there]
        return drift.summarize(frame, ())

    older = [batch(5000)]
    for number in range(tries):
        older = [batch(5000)] if number % 20 == 0 else older
        alarms += any(each.drifted for each in drift.drift(older, [batch(rows) for _ in range(batches)]))
    assert alarms <= 4, "with a rate of 1 %, more than 4 of 80 would come once in a thousand times"


def labelled(*shares: float) -> drift.Summary:
    there = np.random.default_rng(4).random((2000, len(shares))) < shares
    labels = [[str(n) for n in np.flatnonzero(row)] for row in there]
    return drift.summarize(pd.DataFrame({"record": ["r"] * 2000, "label": labels}), ())


def valued(values: list[float] | list[bool]) -> drift.Summary:
    return drift.summarize(pd.DataFrame({"record": ["r"] * len(values), "label": [0] * len(values), "x": values}), ())


@pytest.mark.parametrize(
    ("older", "newer", "column"),
    [
        (labelled(0.6, 0.4, 0.2), labelled(0.06, 0.04, 0.02), "label 0"),
        (valued([True] * 950 + [False] * 50), valued([False] * 1000), "x"),
        (valued([0.0] * 50 + [1.0] * 950), valued([0.0] * 1000), "x"),
        (valued([1.0] * 1000), valued([0.0] * 1000), "x"),
        (valued([0.0] * 500 + [n / 500 for n in range(500)]), valued([n / 1000 - 1 for n in range(1000)]), "x"),
    ],
    ids=["all labels come less often", "a flag", "two numbers", "one number", "zeros go below"],
)
def test_a_change_is_found_whatever_is_measured(older: drift.Summary, newer: drift.Summary, column: str) -> None:
    assert column in {each.column for each in drift.drift([older], [newer]) if each.drifted}


@pytest.mark.parametrize(("rows", "shift"), [(100, 1.2), (300, 0.7), (5000, 0.5)])
def test_a_change_that_matters_is_found(rows: int, shift: float) -> None:
    chance = np.random.default_rng(1)
    results = [
        drift.drift([summary(chance.normal(0, 1, 5000), {})], [summary(chance.normal(shift, 1, rows), {})])[0]
        for _ in range(20)
    ]
    assert all(each.drifted for each in results)


def test_a_change_of_many_records_that_is_little_is_no_drift_and_of_a_few_nothing_is_said() -> None:
    chance = np.random.default_rng(2)
    older = [summary(chance.normal(0, 1, 500_000), {"a": 10})]
    (little,) = drift.drift(older, [summary(chance.normal(0.05, 1, 500_000), {})])
    assert little.p_value is not None
    assert little.p_value < 0.01
    assert not little.drifted
    (few,) = drift.drift(older, [summary(chance.normal(3, 1, 99), {})])
    assert (few.p_value, few.drifted) == (None, False)


def test_a_flood_of_missing_values_is_a_finding_of_its_own() -> None:
    chance = np.random.default_rng(3)

    def batch(share: float) -> drift.Summary:
        values = np.where(chance.random(1000) < share, np.nan, chance.normal(0, 1, 1000))
        return drift.summarize(pd.DataFrame({"record": ["r"] * 1000, "label": [0] * 1000, "x": values}), ())

    drifted = {
        share: {d.column for d in drift.drift([batch(0.1)], [batch(share)]) if d.drifted} for share in (0.1, 0.5, 1)
    }
    assert drifted == {0.1: set(), 0.5: {"x (missing)"}, 1: {"x (missing)"}}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_the_correction_is_holms(p_values: dict[str, float]) -> None:
    corrected = drift._holm(p_values)
    ordered = sorted(p_values, key=lambda name: p_values[name])
    assert [corrected[name] for name in ordered] == sorted(corrected.values())
    assert all(p_values[name] <= corrected[name] <= 1 for name in p_values)
    assert not ordered or corrected[ordered[0]] == min(1.0, p_values[ordered[0]] * len(p_values))


def test_a_summary_round_trips_through_json() -> None:
    frame = pd.DataFrame({"record": ["a", "b"], "label": [0, 1], "class_share": [0.5, 0.5], "mean": [1.0, 2.0],
                          "duplicate": [0, 0], "age_days": [1.0, 1.0]})  # fmt: skip
    result = drift.summarize(frame, ("class_share",))
    assert result.categories == {"mean": {"1": 1, "2": 1}}
    assert result.labels == {"0": 1, "1": 1}
    assert from_json(drift.Summary, json.loads(json.dumps(to_json(result)))) == result


def test_a_drift_round_trips_through_json() -> None:
    """A comparison of NumPy's numbers is one of its booleans, which JSON refuses."""
    chance = np.random.default_rng(0)
    older, same, moved = (summary(chance.normal(mean, 1, 3000), {"0": 3000}) for mean in (0, 0, 1))
    for newer in (same, moved):
        for each in drift.drift([older], [newer]):
            assert from_json(Drift, json.loads(json.dumps(to_json(each)))) == each
