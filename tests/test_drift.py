"""Drift: little between two samples of one population, large between two populations."""

from __future__ import annotations

import json

import numpy as np

from expectations import drift
from ratchet.types import from_json, to_json


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


def test_a_few_records_of_the_same_population_have_rarely_drifted() -> None:
    chance = np.random.default_rng(0)
    older = [summary(chance.normal(0, 1, 5000), {})]
    result = [drift.drift(older, [summary(chance.normal(0, 1, 30), {})])[0].index for _ in range(100)]
    assert sum(index >= 0.25 for index in result) <= 25
    assert np.mean(result) < 0.2


def test_a_summary_round_trips_through_json() -> None:
    import pandas as pd

    frame = pd.DataFrame({"record": ["a", "b"], "label": [0, 1], "class_share": [0.5, 0.5], "mean": [1.0, 2.0],
                          "duplicate": [0, 0], "age_days": [1.0, 1.0]})  # fmt: skip
    result = drift.summarize(frame, ("class_share",))
    assert set(result.quantiles) == {"mean"}
    assert result.labels == {"0": 1, "1": 1}
    assert from_json(drift.Summary, json.loads(json.dumps(to_json(result)))) == result
