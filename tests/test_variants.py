"""Smaller forms of a model: held against the full one, and one of them packaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations import drift
from flows.latency_benchmark import on_a_host
from models import variants
from models.evaluation.variants import FULL, GAIN, Took, as_good, chosen, without
from models.export import Exported
from models.latency import asked, measured
from models.search import search
from ratchet.errors import Refusal
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.types import Candidate, Check, Outcome, Snapshot, Variant, from_json, to_json
from tests.conftest import Built

outcomes = st.sampled_from(["passed", "failed", "inconclusive", "error"])
times = st.none() | st.floats(0.01, 10)


def form(name: str, outcome: Outcome) -> Variant:
    return Variant(name, f"model.{name}.onnx", name, 1.0, Check("no worse", 0.0, 0.0, outcome, ""))


@given(st.lists(st.tuples(outcomes, times, st.sampled_from([0.0, 0.5])), min_size=1, max_size=3), times)
def test_one_is_packaged_that_is_as_good_and_none_is_faster_without_being_worse(
    others: list[tuple[Outcome, float | None, float]], full: float | None
) -> None:
    forms = [form(FULL, "passed"), *(form(f"int{n}", outcome) for n, (outcome, _, _) in enumerate(others))]
    took = {f"int{n}": Took(ms, off) for n, (_, ms, off) in enumerate(others) if ms is not None}
    took |= {FULL: Took(full, 0.0)} if full else {}
    found = chosen(forms, took, "host-a", 0.001)
    (packaged,) = [v for v in found if v.packaged]
    assert packaged.check.outcome == "passed"
    passing = [v.latency_ms for v in found if v.check.outcome == "passed" and v.latency_ms and v.name != FULL]
    if packaged.name != FULL:
        assert full
        assert took[packaged.name].off == 0.0, "the host answers it as the machine that made it"
        assert packaged.latency_ms == min(passing)
        assert packaged.latency_ms <= GAIN * full
    elif full:
        assert all(ms > GAIN * full for ms in passing)
    assert {v.where for v in found} == {"host-a"}
    assert [from_json(Variant, json.loads(json.dumps(to_json(v)))) for v in found] == list(found)
    (left,) = [v for v in without(found, "the judge refused it") if v.packaged]
    assert left.name == FULL


def test_one_that_answers_worse_is_never_as_good() -> None:
    labels = np.arange(1000) % 10
    full = np.eye(10)[labels] * 0.9
    assert as_good(0.01, labels, full, full).outcome == "passed"
    worse = full.copy()
    worse[:50] = np.roll(worse[:50], 1, axis=1)
    assert as_good(0.01, labels, worse, full).outcome == "failed"
    assert as_good(0.01, labels, worse * np.nan, full).outcome == "error"
    assert as_good(0.01, labels, worse[:, :5], full).outcome == "error"
    hours = np.random.default_rng(0).random((600, 24))
    right = hours + 0.1
    assert as_good(0.15, hours, right, right).outcome == "passed"
    assert as_good(0.15, hours, hours + 0.2, right).outcome == "failed"
    assert as_good(0.15, hours[:100], right[:100], right[:100]).outcome == "inconclusive"


def test_a_real_model_in_eight_bits_is_smaller_and_answers_alike(
    built: Built, module_home: Path, tmp_path: Path
) -> None:
    full = Exported(tmp_path / "model.onnx", built.exported.contract)
    full.path.write_bytes(built.exported.path.read_bytes())
    labels = full.answers(built.images).argmax(axis=1)
    for way, name in ((variants._half, "fp16"), (lambda f, to: variants._eight(f, built.images[:64], to), "int8")):
        path = tmp_path / f"model.{name}.onnx"
        way(full, path)
        small = Exported(path, full.contract)
        assert path.stat().st_size < full.path.stat().st_size * (0.6 if name == "fp16" else 0.4)
        assert (small.answers(built.images).argmax(axis=1) == labels).mean() > 0.97
    assert not (tmp_path / "plain.onnx").exists()


def test_a_model_is_measured_in_a_process_of_its_own(built: Built) -> None:
    found = measure(built.exported)
    assert 0 < found.latency_ms < 100
    assert 20 < found.size_mb < 500
    want = built.exported.answers(asked(built.exported.contract))
    assert np.abs(np.array(found.answers) - want).max() < 1e-4
    with pytest.raises(Refusal, match="does not answer"):
        measure(replace(built.exported, path=Path("/nowhere.onnx")))
    with pytest.raises(Refusal, match=r"no CUDAExecutionProvider: model\.onnx\. Install"):
        measure(built.exported, "gpu")


def summed(values: np.ndarray, labels: dict[str, int]) -> drift.Summary:
    return drift.Summary(len(values), {"mean": tuple(np.quantile(values, np.linspace(0, 1, 101)))}, labels)


def test_drift_is_little_between_draws_of_one_population_and_much_between_two() -> None:
    chance = np.random.default_rng(0)
    older = [summed(chance.normal(0, 1, 3000), {"0": 1500, "1": 1500}) for _ in range(2)]
    same, moved = (
        summed(chance.normal(0, 1, 3000), {"0": 1500, "1": 1500}),
        summed(chance.normal(1, 1, 3000), {"0": 3000}),
    )
    assert {d.column: d.index < 0.1 for d in drift.since(older, [same])} == {"mean": True, "label": True}
    assert {d.column: d.index > 0.25 for d in drift.since(older, [moved])} == {"mean": True, "label": True}
    assert drift.since([], [same]) == drift.since(older, []) == ()
    assert drift.since(older, [drift.Summary(0, {}, {})]) == (), "a batch that was withdrawn since"


def test_a_number_that_is_the_same_everywhere_has_not_drifted() -> None:
    flat = summed(np.full(500, 28.0), {})
    assert [d.index for d in drift.since([flat], [flat])] == [0.0]


def test_a_large_batch_weighs_more_than_many_small_ones() -> None:
    chance = np.random.default_rng(0)
    many = [summed(chance.normal(3, 1, 100), {}) for _ in range(60)]
    assert [d.index < 0.1 for d in drift.since([summed(chance.normal(0, 1, 60_000), {}), *many],
                                               [summed(chance.normal(0, 1, 5000), {})])] == [True]  # fmt: skip


def test_a_few_records_of_the_same_population_have_rarely_drifted() -> None:
    chance = np.random.default_rng(0)
    older = [summed(chance.normal(0, 1, 5000), {})]
    found = [drift.since(older, [summed(chance.normal(0, 1, 30), {})])[0].index for _ in range(100)]
    assert sum(index >= 0.25 for index in found) <= 25
    assert np.mean(found) < 0.2


def test_what_a_batch_is_summed_up_to_survives_its_json() -> None:
    import pandas as pd

    frame = pd.DataFrame({"record": ["a", "b"], "label": [0, 1], "class_share": [0.5, 0.5], "mean": [1.0, 2.0],
                          "duplicate": [0, 0], "age_days": [1.0, 1.0]})  # fmt: skip
    found = drift.summary(frame)
    assert set(found.quantiles) == {"mean"}
    assert found.labels == {"0": 1, "1": 1}
    assert from_json(drift.Summary, json.loads(json.dumps(to_json(found)))) == found


def test_without_a_host_nothing_is_measured_and_it_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot("r", 0, "s", 1, (), {})
    candidate = Candidate("r", "1", "m", "run", "cnn", "w", "o", snapshot, {}, {}, 1.0, "c", "l")
    assert on_a_host(candidate, (), 0) == ("no host: none is alive", {})
    monkeypatch.setenv("RATCHET_BENCHMARK_HOST", "host-z")
    settings.cache_clear()
    assert on_a_host(candidate, (), 0) == ("no host: host-z is alive", {})


def test_a_recipe_without_a_space_is_not_searched_and_a_warm_start_keeps_its_shape(small: Recipe) -> None:
    snapshot, cold = Snapshot("r", 0, "s", 1, (), {}), small.training
    with pytest.raises(Refusal, match="declares no space"):
        search(replace(small, search_space={}), cold, snapshot, 2, print)
    shaping = replace(small, search_space={"filters": (16, 32)})
    with pytest.raises(Refusal, match="keeps its shape"):
        search(shaping, replace(cold, start="a" * 64), snapshot, 2, print)
