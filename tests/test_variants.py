"""Variants of a model: each is compared with fp32, and one of them is packaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from flows.latency_benchmark import on_a_host
from models import candidate as candidates
from models import registry, variants
from models.evaluate import compare_variant
from models.export import Exported
from models.latency import measure, sample_inputs
from models.search import search
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.evaluation.variants import FULL, Timing, choose, max_latency_ms, reject_packaged
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.types import Candidate, Check, Outcome, Snapshot, Variant, from_json, to_json
from tests.conftest import Built

outcomes = st.sampled_from(["passed", "failed", "inconclusive", "error"])
times = st.none() | st.floats(0.01, 10)


def variant(name: str, outcome: Outcome) -> Variant:
    return Variant(name, f"model.{name}.onnx", name, 1.0, Check("no worse", 0.0, 0.0, outcome, ""))


@given(st.lists(st.tuples(outcomes, times, st.sampled_from([0.0, 0.5])), min_size=1, max_size=3), times)
def test_the_fastest_variant_that_is_no_worse_is_packaged(
    others: list[tuple[Outcome, float | None, float]], full: float | None
) -> None:
    variants_ = [variant(FULL, "passed"), *(variant(f"int{n}", outcome) for n, (outcome, _, _) in enumerate(others))]
    timings = {f"int{n}": Timing(ms, off) for n, (_, ms, off) in enumerate(others) if ms is not None}
    timings |= {FULL: Timing(full, 0.0)} if full else {}
    result = choose(variants_, timings, "host-a", 0.001)
    (packaged,) = [v for v in result if v.packaged]
    assert packaged.check.outcome == "passed"
    passing = [v.latency_ms for v in result if v.check.outcome == "passed" and v.latency_ms and v.name != FULL]
    if packaged.name != FULL:
        assert full
        assert timings[packaged.name].difference == 0.0, "its outputs on the host are those of the machine that made it"
        assert packaged.latency_ms == min(passing)
        assert packaged.latency_ms <= max_latency_ms(full)
    elif full:
        assert all(ms > max_latency_ms(full) for ms in passing)
    assert {v.measured_on for v in result} == {"host-a"}
    assert [from_json(Variant, json.loads(json.dumps(to_json(v)))) for v in result] == list(result)
    (left,) = [v for v in reject_packaged(result, "the evaluation rejected it") if v.packaged]
    assert left.name == FULL


def test_a_saving_that_nobody_could_measure_twice_costs_no_precision() -> None:
    small = [variant(FULL, "passed"), variant("fp16", "passed")]
    for full, other, packaged in ((0.012, 0.008, FULL), (0.5, 0.42, FULL), (0.5, 0.39, "fp16"), (3.0, 2.8, FULL)):
        result = choose(small, {FULL: Timing(full, 0.0), "fp16": Timing(other, 0.0)}, "host-a", 0.001)
        assert [v.name for v in result if v.packaged] == [packaged], (full, other)


def test_a_variant_that_is_worse_than_fp32_fails(small: Recipe) -> None:
    labels = np.arange(1000) % 10
    full = np.eye(10)[labels] * 0.9
    assert compare_variant(small, labels, full, full).outcome == "passed"
    worse = full.copy()
    worse[:50] = np.roll(worse[:50], 1, axis=1)
    recipe = replace(small, criteria=replace(small.criteria, margin=0.01))
    assert compare_variant(recipe, labels, worse, full).outcome == "failed"
    assert compare_variant(recipe, labels, worse * np.nan, full).outcome == "error"


def test_a_forecast_variant_that_is_worse_than_fp32_fails() -> None:
    recipe = recipes.load("sf-temperature")
    recipe = replace(recipe, criteria=replace(recipe.criteria, margin=0.15))
    targets = np.random.default_rng(0).random((600, recipe.answers.width))
    full = targets + 0.1
    assert compare_variant(recipe, targets, full, full).outcome == "passed"
    assert compare_variant(recipe, targets, targets + 0.2, full).outcome == "failed"
    assert compare_variant(recipe, targets, full[:, :5], full).outcome == "error"
    assert compare_variant(recipe, targets[:100], full[:100], full[:100]).outcome == "inconclusive"


def test_a_real_model_in_eight_bits_is_smaller_and_answers_alike(
    built: Built, module_home: Path, tmp_path: Path
) -> None:
    full = Exported(tmp_path / "model.onnx", built.exported.contract)
    full.path.write_bytes(built.exported.path.read_bytes())
    labels = full.predict(built.images).argmax(axis=1)
    for convert, name in (
        (variants._to_fp16, "fp16"),
        (lambda f, to: variants._to_int8(f, built.images[:64], to), "int8"),
    ):
        path = tmp_path / f"model.{name}.onnx"
        convert(full, path)
        small = Exported(path, full.contract)
        assert path.stat().st_size < full.path.stat().st_size * (0.6 if name == "fp16" else 0.4)
        assert (small.predict(built.images).argmax(axis=1) == labels).mean() > 0.97
    assert not (tmp_path / "prepared.onnx").exists()


@pytest.mark.parametrize("names", [("fp16", "int8"), ("fp16",), ()])
def test_the_variants_are_fp32_and_those_of_the_recipe(
    built: Built, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    full = Exported(tmp_path / "model.onnx", built.exported.contract)
    full.path.write_bytes(built.exported.path.read_bytes())
    examples, uploaded = Examples(built.images, np.zeros(len(built.images), int)), list[str]()
    monkeypatch.setattr(candidates, "exported", lambda *_: full)
    monkeypatch.setattr(variants, "load_benchmark", lambda recipe: (examples, ""))
    monkeypatch.setattr(variants, "load", lambda *_: {"validation": examples} if "int8" in names else None)
    monkeypatch.setattr(registry, "upload", lambda path, file: uploaded.append(str(path)))
    snapshot = Snapshot(small.name, 0, "", len(examples), (), {})
    candidate = Candidate(small.name, "1", "m", "r", "1", "cnn", "w", "o", snapshot, {}, {}, 0.0, "c", "l")
    result = variants.make(replace(small, variants=names), candidate, tmp_path)
    assert [each.name for each in result] == ["fp32", *names]
    assert len(uploaded) == len(names) + 1, "and what is expected of each"


def test_trees_have_no_variant_and_the_reason_is_a_sentence(built: Built, tmp_path: Path) -> None:
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:])), tmp_path / "trees.onnx")
    with pytest.raises(Refusal, match="trees have no smaller form"):
        variants._refuse_trees(tmp_path / "trees.onnx")
    variants._refuse_trees(built.exported.path)


def test_a_model_is_measured_in_a_process_of_its_own(built: Built) -> None:
    result = measure(built.exported)
    assert 0 < result.latency_ms < 100
    assert 20 < result.memory_mb < 500
    expected = built.exported.predict(sample_inputs(built.exported.contract))
    assert np.abs(np.array(result.outputs) - expected).max() < 1e-4
    with pytest.raises(Refusal, match="the measuring process failed"):
        measure(replace(built.exported, path=Path("/nowhere.onnx")))
    with pytest.raises(Refusal, match=r"no CUDAExecutionProvider: model\.onnx\. Install"):
        measure(built.exported, "gpu")


def test_without_a_host_nothing_is_measured_and_it_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot("r", 0, "s", 1, (), {})
    candidate = Candidate("r", "1", "m", "run", "0", "cnn", "w", "o", snapshot, {}, {}, 1.0, "c", "l")
    assert on_a_host(candidate, (), 0) == ("no host: none is alive", {})
    monkeypatch.setenv("RATCHET_BENCHMARK_HOST", "host-z")
    settings.cache_clear()
    assert on_a_host(candidate, (), 0) == ("no host: host-z is alive", {})


def test_a_recipe_without_a_space_is_not_searched_and_a_warm_start_keeps_its_shape(small: Recipe) -> None:
    snapshot, cold = Snapshot("r", 0, "s", 1, (), {}), small.training
    with pytest.raises(Refusal, match="declares no search space"):
        search(replace(small, search_space={}), cold, snapshot, 2, print)
    shaping = replace(small, search_space={"filters": (16, 32)})
    with pytest.raises(Refusal, match="a warm start cannot change"):
        search(shaping, replace(cold, initial_weights="a" * 64), snapshot, 2, print)
