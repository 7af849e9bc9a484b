"""Candidates that are bad in one way each, really trained to be so, are rejected for that reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import export, train
from models.checks import model_checks
from models.evaluate import benchmark_checks
from models.export import Exported
from ratchet.evaluation import behaviour, calibration, cost, fairness, leakage, privacy
from ratchet.evaluation import champion as champion_checks
from ratchet.evaluation.comparison import Margin
from ratchet.evaluation.report import report
from ratchet.kinds.text.evaluation import near as near_texts
from ratchet.lake.snapshot import Examples, load_benchmark
from ratchet.recipe import Criteria, Recipe
from ratchet.tasks.classification import Classification
from ratchet.types import Check, EvaluationReport

Pictures = tuple[np.ndarray, np.ndarray]
CRITERIA = Criteria(
    accuracy=0.6, worst_class=0.0, margin=0.1, slices=("class",), slice_margin=0.25, calibration=0.1,
    invariance={"noise": 0.7}, membership=0.35, latency_ms=50.0, size_mb=5.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("candidates")


@pytest.fixture(scope="module")
def fitted(folder: Path, pictures: Pictures) -> Callable[..., tuple[Exported, Examples]]:
    """Trains on the first images with these labels; gives the export and what it was trained on."""

    def fit(
        recipe: Recipe, labels: np.ndarray, epochs: int = 4, temperature: float | None = None
    ) -> tuple[Exported, Examples]:
        trained = Examples(pictures[0][: len(labels)], labels)
        name = hashlib.sha256(labels.tobytes() + f"{epochs}{temperature}{recipe.network}".encode()).hexdigest()[:12]
        out = folder / name / "out"
        out.mkdir(parents=True)
        held = pictures[0][2400:2600], pictures[1][2400:2600]
        x, v = (recipe.contract.features(images) for images in (trained.inputs, held[0]))
        trained_model = train.fit(
            recipe, replace(recipe.training, epochs=epochs), (x, labels), (v, held[1]), folder / name
        )
        best = calibration.temperature(held[1], trained_model.model.predict(v, verbose=0))
        return export.export(recipe, trained_model.model, (), held[0], out, temperature or best), trained

    return fit


@pytest.fixture(scope="module")
def good(
    fitted: Callable[..., tuple[Exported, Examples]], pictures: Pictures, module_home: Path
) -> tuple[Exported, Examples]:
    from ratchet import recipe as recipes

    return fitted(recipes.load("small-fashion"), pictures[1][:2400])


def evaluated(
    recipe: Recipe, pictures: Pictures, candidate: tuple[Exported, Examples],
    champion: tuple[Exported, Examples] | None = None, criteria: Criteria = CRITERIA,
) -> EvaluationReport:  # fmt: skip
    """The report on the recipe's benchmark: 1,000 images that none of them saw."""
    recipe, model = replace(recipe, criteria=criteria), candidate[0]
    benchmark, _ = load_benchmark(recipe)
    outputs = model.predict(benchmark.inputs)
    others = Examples(pictures[0][2400:], pictures[1][2400:])
    rival = ("1", champion[0].predict(benchmark.inputs)) if champion else None
    checks = [
        *benchmark_checks(recipe, benchmark, outputs, candidate[1], rival, rival),
        *model_checks(recipe, model, benchmark, {"train": candidate[1], "validation": others, "test": others}, outputs),
    ]
    bins = calibration.reliability(benchmark.targets, outputs)
    return report(recipe.name, "2", rival and rival[0], "benchmark", checks, bins)


def rejected_for(result: EvaluationReport) -> set[str]:
    return {c.name for c in result.checks if c.outcome not in ("passed", "skipped")}


def test_a_good_one_passes_every_check(small: Recipe, pictures: Pictures, good: tuple[Exported, Examples]) -> None:
    result = evaluated(small, pictures, good)
    assert result.blessed, result.why
    assert sum(n for _, _, n in result.reliability) == 1000


def test_one_that_is_worse_in_one_slice_alone_is_rejected_for_that_slice(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Examples], fitted: Callable[..., tuple[Exported, Examples]]
) -> None:
    labels = pictures[1][:2400].copy()
    trousers = np.flatnonzero(labels == 1)
    labels[trousers] = 3  # every one is called a dress
    criteria = replace(CRITERIA, margin=0.2, slice_margin=0.35, calibration=None, membership=None)
    result = evaluated(small, pictures, fitted(small, labels), good, criteria)
    assert rejected_for(result) == {"class Trouser"}, result.why


def test_one_that_is_too_sure_is_rejected_for_its_calibration(
    small: Recipe, pictures: Pictures, fitted: Callable[..., tuple[Exported, Examples]]
) -> None:
    result = evaluated(small, pictures, fitted(small, pictures[1][:2400], temperature=0.2))
    assert rejected_for(result) == {"calibration"}, result.why


def test_one_that_memorised_its_training_data_is_rejected_for_it(
    small: Recipe, pictures: Pictures, fitted: Callable[..., tuple[Exported, Examples]]
) -> None:
    labels = pictures[1][:400].copy()
    labels[::2] = np.random.default_rng(0).integers(0, 10, 200)  # half of it can only be learnt by heart
    criteria = replace(CRITERIA, accuracy=0.3, calibration=None, invariance={})
    result = evaluated(small, pictures, fitted(small, labels, epochs=40), criteria=criteria)
    assert rejected_for(result) == {"membership inference"}, result.why


def test_one_whose_training_data_holds_the_benchmark_is_rejected_for_it(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Examples]
) -> None:
    held, _ = load_benchmark(small)
    leaked = np.concatenate([good[1].inputs, held.inputs[:300] // 2])  # in another light they have another digest
    trained = Examples(leaked, np.concatenate([good[1].targets, held.targets[:300]]))
    criteria = replace(CRITERIA, near_duplicates=0.1)
    assert evaluated(small, pictures, good, criteria=criteria).blessed
    result = evaluated(small, pictures, (good[0], trained), criteria=replace(criteria, membership=None))
    assert rejected_for(result) == {"near-duplicates across sides"}, result.why


def test_one_that_breaks_in_worse_light_is_rejected_for_it(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Examples]
) -> None:
    criteria = replace(CRITERIA, robustness={"darker": 0.3, "blurred": 0.001})
    assert rejected_for(evaluated(small, pictures, good, criteria=criteria)) == {"robustness to blurred"}


def slow(shape: tuple[int, ...], width: int) -> object:
    import keras

    layers = [keras.layers.Conv2D(64, 5, padding="same", activation="relu") for _ in range(4)]
    end = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(width, activation="softmax")]
    return keras.Sequential([keras.Input(shape), keras.layers.Rescaling(1 / 255), *layers, *end])


def test_one_that_is_slower_than_its_bound_is_rejected_for_it(
    small: Recipe, pictures: Pictures, fitted: Callable[..., tuple[Exported, Examples]], good: tuple[Exported, Examples]
) -> None:
    """The bound is twice what the good one takes, on the same machine."""
    (quick,) = [c.value for c in evaluated(small, pictures, good).checks if c.name == "latency, ms"]
    assert quick
    criteria = replace(CRITERIA, accuracy=0.0, calibration=None, invariance={}, membership=None, latency_ms=2 * quick)
    candidate = fitted(replace(small, network=slow), pictures[1][:200], epochs=1)
    assert rejected_for(evaluated(small, pictures, candidate, criteria=criteria)) == {"latency, ms"}


def test_what_the_recipe_does_not_ask_for_is_listed_and_rejects_nothing(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Examples]
) -> None:
    result = evaluated(small, pictures, good, criteria=Criteria(accuracy=0.6, worst_class=0.0))
    assert result.blessed
    names = {c.name for c in result.checks if c.outcome == "skipped"}
    assert names == {
        "slices", "calibration", "behaviour", "fairness", "near-duplicates across sides", "label errors",
        "membership inference", "latency, ms", "size, MB", "balanced accuracy", "average precision",
    }  # fmt: skip


answers = st.integers(1, 60).flatmap(
    lambda n: st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=n, max_size=n)
)


@given(answers, st.floats(0.25, 8))
def test_a_temperature_changes_no_answer_and_gives_probabilities(result: list[list[float]], temperature: float) -> None:
    before = np.array(result) / np.array(result).sum(axis=1, keepdims=True)
    after = calibration.apply_temperature(before, temperature)
    assert np.allclose(after.sum(axis=1), 1, atol=1e-5)
    assert (after[np.arange(len(after)), before.argmax(axis=1)] >= after.max(axis=1) - 1e-6).all()


def test_a_few_records_give_no_temperature() -> None:
    assert calibration.temperature(np.array([0, 0, 1]), np.array([[0.9, 0.1]] * 3)) == 1.0


@given(answers, st.data())
def test_the_temperature_that_is_chosen_is_no_worse_than_none(result: list[list[float]], data: st.DataObject) -> None:
    probabilities = np.array(result) / np.array(result).sum(axis=1, keepdims=True)
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(result), max_size=len(result))))
    probabilities, labels = (np.concatenate([a] * 100) for a in (probabilities, labels))
    rows = np.arange(len(labels))

    def loss(p: np.ndarray) -> float:
        return float(-np.log(np.maximum(p[rows, labels], calibration.MIN_PROBABILITY)).mean())

    best = calibration.temperature(labels, probabilities)
    assert (
        loss(calibration.apply_temperature(probabilities, best))
        <= loss(calibration.apply_temperature(probabilities, 1.0)) + 1e-3
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_an_advantage_lies_in_its_interval(inside: list[float], outside: list[float]) -> None:
    value, low, high = privacy.advantage(np.array(inside), np.array(outside))
    assert 0 <= low <= value <= high <= 1


def test_the_attack_succeeds_where_the_sides_differ_and_only_there() -> None:
    chance = np.random.default_rng(0)
    same, other, sure = chance.random(2000), chance.random(2000), chance.random(2000) / 2 + 0.5
    assert privacy.check(same, other, 0.2).outcome == "passed"
    assert privacy.check(sure, other, 0.2).outcome == "failed"
    assert privacy.check(same[:50], other[:50], 0.2).outcome != "passed", "few records show little"
    for empty in (np.zeros(0), np.array([np.nan])):
        assert privacy.check(empty, other, 0.2).outcome == "error"


def compared(masks: dict[str, np.ndarray], right: np.ndarray, others: np.ndarray | None, margin: float) -> list[Check]:
    """The slices' checks for predictions [N] that are right or wrong."""
    answers, labels = Classification(("wrong", "right")), np.ones(len(right), int)
    champion = None if others is None else ("1", np.eye(2)[others.astype(int)])
    return champion_checks.slices(
        answers, Margin(margin, min_blocks=champion_checks.MIN_RECORDS), masks, labels, np.eye(2)[right.astype(int)],
        champion,
    )  # fmt: skip


def test_a_slice_with_few_records_shows_nothing() -> None:
    right = np.ones(100, bool)
    masks = {"few": np.arange(100) < 10, "many": np.arange(100) >= 10}
    assert [c.outcome for c in compared(masks, right, right, 0.1)] == ["inconclusive", "passed"]


def test_a_slice_without_a_champion_is_reported_as_skipped() -> None:
    (result,) = compared({"all": np.ones(100, bool)}, np.ones(100, bool), None, 0.1)
    assert (result.outcome, result.value) == ("skipped", 0.0)


def test_slices_reject_a_worse_model_and_rarely_one_that_is_as_good() -> None:
    """Ten slices of 1,000, and a margin of 0.06: equally good ones, and one that is 0.15 worse in one slice alone."""
    chance = np.random.default_rng(0)
    masks = {str(i): np.arange(10_000) % 10 == i for i in range(10)}
    rejected, caught = 0, 0
    for _ in range(100):
        mine, theirs = chance.random(10_000) < 0.9, chance.random(10_000) < 0.9
        rejected += any(c.outcome != "passed" for c in compared(masks, mine, theirs, 0.06))
        mine = np.where(masks["3"], chance.random(10_000) < 0.75, mine)
        caught += next(c for c in compared(masks, mine, theirs, 0.06) if c.name == "3").outcome != "passed"
    assert rejected <= 20
    assert caught == 100


def test_labels_that_a_sure_model_denies_are_found() -> None:
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 3, 500)
    sure = np.full((500, 3), 0.05) + 0.85 * np.eye(3)[truth]
    labels = truth.copy()
    labels[:20] = (labels[:20] + 1) % 3
    assert set(leakage.suspects(labels, sure)) == set(range(20))
    assert not len(leakage.suspects(truth, sure))
    names = [f"{i:064}" for i in range(500)]
    assert leakage.label_errors(labels, sure, names, 0.03).outcome == "failed"
    assert leakage.label_errors(labels, sure, names, 0.05).outcome == "passed"


def test_texts_that_were_changed_a_little_are_near_duplicates_and_others_are_none() -> None:
    chance = np.random.default_rng(0)
    words = [f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(400)]
    trained = [" ".join(chance.choice(words, 200)) for _ in range(50)]
    held = [trained[0].upper(), f"{trained[1]} one more line", " ".join(chance.choice(words, 200)), "short"]
    assert near_texts(np.array(held, object), np.array(trained, object)).tolist() == [True, True, False, False]


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_a_gap_is_the_same_either_way_and_never_above_its_bound(n: int, m: int, data: st.DataObject) -> None:
    one = data.draw(st.integers(0, n)) / n, n
    other = data.draw(st.integers(0, m)) / m, m
    value, low, high = fairness.gap(one, other)
    assert (value, low, high) == pytest.approx(fairness.gap(other, one))
    assert 0 <= low <= value + 1e-9
    assert value <= high + 1e-9
    assert high <= 1 + 1e-9


def test_a_gap_between_groups_fails_and_few_records_show_nothing() -> None:
    labels, groups = np.zeros(400, int), np.array(["a", "b"] * 200)
    fair = np.arange(400) % 20 // 19

    def outcome(predicted: np.ndarray, of: np.ndarray | None, declared: tuple[str, ...] = ("a", "b")) -> str:
        n = len(predicted)
        (result,) = fairness.checks({"ham": 0.2}, declared, ("ham", "spam"), labels[:n], predicted, of)
        return result.outcome

    assert outcome(fair, groups) == "passed"
    assert outcome(np.where(groups == "b", np.arange(400) % 3 == 0, 0).astype(int), groups) == "failed"
    assert outcome(fair[:40], groups[:40]) == "inconclusive"
    assert outcome(fair, groups, ("a", "b", "c")) == "inconclusive", "nobody of c was criteria about"
    third = np.where(np.arange(400) < 20, "c", groups)
    assert outcome(np.where(third == "c", 1, 0), third, ("a", "b", "c")) == "inconclusive", "always wrong, but few"
    assert outcome(fair, None) == "error"
    (result,) = fairness.checks({}, (), ("ham", "spam"), labels, fair, None)
    assert result.outcome == "skipped"


def test_forecasts_that_do_not_follow_the_level_are_rejected_for() -> None:
    before = np.random.default_rng(0).random((50, 24))
    assert behaviour.follows_level(before, before + 2.0, 2.0, 0.9).outcome == "passed"
    assert behaviour.follows_level(before, before, 2.0, 0.9).outcome == "failed"


def test_words_that_lower_their_class_fail() -> None:
    before = np.full(100, 0.5)
    assert behaviour.directional("free", "spam", before, before + 0.2).outcome == "passed"
    assert behaviour.directional("free", "spam", before, before - 0.2).outcome == "failed"


def test_answers_that_are_missing_are_an_error_and_no_pass() -> None:
    some = np.eye(3, dtype=np.float32)
    assert behaviour.invariance("noise", some, some[:2], 0.5).outcome == "error"
    assert behaviour.invariance("noise", some, some * np.nan, 0.5).outcome == "error"
    assert [c.outcome for c in cost.checks((1.0, None), (2.0, 1.0), (90.0, 80))] == ["skipped", "failed", "failed"]
