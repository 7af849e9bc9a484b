"""Candidates that are bad in one way each, really trained to be so, are refused for that reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models.evaluation.classification import judge

from models import export, train
from models.checks import probe
from models.evaluation import behaviour, calibration, cost, fairness, leakage, privacy, slices
from models.export import Exported
from ratchet.lake.snapshot import Examples, load_benchmark
from ratchet.recipe import Criteria, Recipe
from ratchet.types import EvaluationReport

Pictures = tuple[np.ndarray, np.ndarray]
ASKED = Criteria(
    accuracy=0.6, worst_class=0.0, margin=0.1, slices=("class",), slice_margin=0.25, calibration=0.1,
    invariance={"noise": 0.7}, membership=0.35, latency_ms=50.0, size_mb=5.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("candidates")


@pytest.fixture(scope="module")
def fitted(folder: Path, pictures: Pictures) -> Callable[..., tuple[Exported, Split]]:
    """Trains on the first images with these labels; gives the export and what it was trained on."""

    def fit(
        recipe: Recipe, labels: np.ndarray, epochs: int = 4, temperature: float | None = None
    ) -> tuple[Exported, Split]:
        trained = Split(pictures[0][: len(labels)], labels)
        told = hashlib.sha256(labels.tobytes() + f"{epochs}{temperature}{recipe.network}".encode()).hexdigest()[:12]
        out = folder / told / "out"
        out.mkdir(parents=True)
        held = pictures[0][2400:2600], pictures[1][2400:2600]
        x, v = (recipe.contract.features(images) for images in (trained.inputs, held[0]))
        made = train.fit(recipe, replace(recipe.training, epochs=epochs), (x, labels), (v, held[1]), folder / told)
        best = calibration.temperature(held[1], made.model.predict(v, verbose=0))
        return export.export(recipe, made.model, (), held[0], out, temperature or best), trained

    return fit


@pytest.fixture(scope="module")
def good(
    fitted: Callable[..., tuple[Exported, Split]], pictures: Pictures, module_home: Path
) -> tuple[Exported, Split]:
    from ratchet import recipe as recipes

    return fitted(recipes.load("small-fashion"), pictures[1][:2400])


def verdict(
    recipe: Recipe, pictures: Pictures, made: tuple[Exported, Split], champion: tuple[Exported, Split] | None = None,
    asked: Criteria = ASKED,
) -> EvaluationReport:  # fmt: skip
    """Held against the recipe's benchmark, 1,000 images that none of them saw, and the champion's answers to them."""
    held, _ = load_benchmark(recipe)
    mine = made[0].predict(held.inputs)
    theirs = champion[0].predict(held.inputs) if champion else None
    aside = Split(pictures[0][2400:], pictures[1][2400:])
    sides = {"train": made[1], "validation": aside, "test": aside}
    further = probe(recipe, asked, made[0], held, sides, mine, theirs)  # type: ignore[arg-type]
    old = None if theirs is None else ("1", theirs)
    return judge(recipe.name, "2", asked, "b", held.targets, mine, old, old, recipe.classes, further)


def refused(found: EvaluationReport) -> set[str]:
    return {c.name for c in found.checks if c.outcome not in ("passed", "skipped")}


def test_a_good_one_passes_every_check(small: Recipe, pictures: Pictures, good: tuple[Exported, Split]) -> None:
    found = verdict(small, pictures, good)
    assert found.blessed, found.why
    assert sum(n for _, _, n in found.reliability) == 1000


def test_one_that_is_worse_in_one_part_alone_is_refused_for_that_part(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Split], fitted: Callable[..., tuple[Exported, Split]]
) -> None:
    labels = pictures[1][:2400].copy()
    trousers = np.flatnonzero(labels == 1)
    labels[trousers] = 3  # every one is called a dress
    asked = replace(ASKED, margin=0.2, slice_margin=0.35, calibration=None, membership=None)
    found = verdict(small, pictures, fitted(small, labels), good, asked)
    assert refused(found) == {"on class Trouser"}, found.why


def test_one_that_is_too_sure_is_refused_for_its_calibration(
    small: Recipe, pictures: Pictures, fitted: Callable[..., tuple[Exported, Split]]
) -> None:
    found = verdict(small, pictures, fitted(small, pictures[1][:2400], temperature=0.2))
    assert refused(found) == {"calibration"}, found.why


def test_one_that_memorised_its_training_data_is_refused_for_it(
    small: Recipe, pictures: Pictures, fitted: Callable[..., tuple[Exported, Split]]
) -> None:
    labels = pictures[1][:800].copy()
    labels[::2] = np.random.default_rng(0).integers(0, 10, 400)  # half of it can only be learnt by heart
    asked = replace(ASKED, accuracy=0.3, calibration=None, invariance={})
    found = verdict(small, pictures, fitted(small, labels, epochs=40), asked=asked)
    assert refused(found) == {"membership inference"}, found.why


def test_one_whose_training_data_holds_the_benchmark_is_refused_for_it(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Split]
) -> None:
    held, _ = load_benchmark(small)
    leaked = np.concatenate([good[1].inputs, held.inputs[:300] // 2])  # in another light they have another digest
    trained = Split(leaked, np.concatenate([good[1].targets, held.targets[:300]]))
    asked = replace(ASKED, near_duplicates=0.1)
    assert verdict(small, pictures, good, asked=asked).blessed
    found = verdict(small, pictures, (good[0], trained), asked=replace(asked, membership=None))
    assert refused(found) == {"near-duplicates across sides"}, found.why


def test_one_that_breaks_in_worse_light_is_refused_for_it(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Split]
) -> None:
    asked = replace(ASKED, robustness={"darker": 0.3, "blurred": 0.001})
    assert refused(verdict(small, pictures, good, asked=asked)) == {"accuracy under blurred"}


def slow(shape: tuple[int, ...], width: int) -> object:
    import keras

    layers = [keras.layers.Conv2D(64, 5, padding="same", activation="relu") for _ in range(4)]
    end = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(width, activation="softmax")]
    return keras.Sequential([keras.Input(shape), keras.layers.Rescaling(1 / 255), *layers, *end])


def test_one_that_is_slower_than_its_bound_is_refused_for_it(
    small: Recipe, pictures: Pictures, fitted: Callable[..., tuple[Exported, Split]], good: tuple[Exported, Split]
) -> None:
    """The bound is twice what the good one takes, on the same machine."""
    (quick,) = [c.figure for c in verdict(small, pictures, good).checks if c.name == "latency, ms"]
    assert quick
    asked = replace(ASKED, accuracy=0.0, calibration=None, invariance={}, membership=None, latency_ms=2 * quick)
    made = fitted(replace(small, network=slow), pictures[1][:200], epochs=1)
    assert refused(verdict(small, pictures, made, asked=asked)) == {"latency, ms"}


def test_what_is_not_asked_is_listed_and_refuses_nothing(
    small: Recipe, pictures: Pictures, good: tuple[Exported, Split]
) -> None:
    found = verdict(small, pictures, good, asked=Criteria(accuracy=0.6, worst_class=0.0))
    assert found.blessed
    names = {c.name for c in found.checks if c.outcome == "skipped"}
    assert names == {
        "slices", "calibration", "behaviour", "fairness", "near-duplicates across sides", "disputed labels",
        "membership inference", "latency, ms", "size, MB",
    }  # fmt: skip


answers = st.integers(1, 60).flatmap(
    lambda n: st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=n, max_size=n)
)


@given(answers, st.floats(0.25, 8))
def test_a_temperature_changes_no_answer_and_gives_probabilities(found: list[list[float]], temperature: float) -> None:
    before = np.array(found) / np.array(found).sum(axis=1, keepdims=True)
    after = calibration.scaled(before, temperature)
    assert np.allclose(after.sum(axis=1), 1, atol=1e-5)
    assert (after[np.arange(len(after)), before.argmax(axis=1)] >= after.max(axis=1) - 1e-6).all()


def test_a_few_records_give_no_temperature() -> None:
    assert calibration.temperature(np.array([0, 0, 1]), np.array([[0.9, 0.1]] * 3)) == 1.0


@given(answers, st.data())
def test_the_temperature_that_is_chosen_is_no_worse_than_none(found: list[list[float]], data: st.DataObject) -> None:
    probabilities = np.array(found) / np.array(found).sum(axis=1, keepdims=True)
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(found), max_size=len(found))))
    probabilities, labels = (np.concatenate([a] * 100) for a in (probabilities, labels))
    rows = np.arange(len(labels))

    def loss(p: np.ndarray) -> float:
        return float(-np.log(np.maximum(p[rows, labels], calibration.LEAST)).mean())

    best = calibration.temperature(labels, probabilities)
    assert loss(calibration.scaled(probabilities, best)) <= loss(calibration.scaled(probabilities, 1.0)) + 1e-3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_an_advantage_lies_in_its_interval(inside: list[float], outside: list[float]) -> None:
    figure, low, high = privacy.advantage(np.array(inside), np.array(outside))
    assert 0 <= low <= figure <= high <= 1


def test_the_attack_finds_what_is_plain_and_nothing_where_nothing_is() -> None:
    chance = np.random.default_rng(0)
    same, other, told = chance.random(2000), chance.random(2000), chance.random(2000) / 2 + 0.5
    assert privacy.check(same, other, 0.2).outcome == "passed"
    assert privacy.check(told, other, 0.2).outcome == "failed"
    assert privacy.check(same[:50], other[:50], 0.2).outcome != "passed", "few records tell little"
    for empty in (np.zeros(0), np.array([np.nan])):
        assert privacy.check(empty, other, 0.2).outcome == "error"


def test_a_part_with_few_records_says_nothing() -> None:
    right = np.ones(100, bool)
    masks = {"few": np.arange(100) < 10, "many": np.arange(100) >= 10}
    assert [c.outcome for c in slices.checks(masks, right, right, 0.1)] == ["inconclusive", "passed"]


def test_a_part_of_a_champion_that_is_missing_is_told_and_not_passed() -> None:
    (found,) = slices.checks({"all": np.ones(100, bool)}, np.ones(100, bool), None, 0.1)
    assert found.outcome == "skipped"
    assert found.figure == 1.0


def test_parts_refuse_a_worse_one_and_rarely_one_that_is_as_good() -> None:
    """Ten parts of 1,000, and a margin of 0.06: equally good ones, and one that is 0.15 worse in one part alone."""
    chance = np.random.default_rng(0)
    masks = {str(i): np.arange(10_000) % 10 == i for i in range(10)}
    refused, caught = 0, 0
    for _ in range(100):
        mine, theirs = chance.random(10_000) < 0.9, chance.random(10_000) < 0.9
        refused += any(c.outcome != "passed" for c in slices.checks(masks, mine, theirs, 0.06))
        mine = np.where(masks["3"], chance.random(10_000) < 0.75, mine)
        caught += next(c for c in slices.checks(masks, mine, theirs, 0.06) if c.name == "on 3").outcome != "passed"
    assert refused <= 20
    assert caught == 100


def test_labels_that_a_sure_model_denies_are_found() -> None:
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 3, 500)
    sure = np.full((500, 3), 0.05) + 0.85 * np.eye(3)[truth]
    labels = truth.copy()
    labels[:20] = (labels[:20] + 1) % 3
    assert set(leakage.doubtful(labels, sure)) == set(range(20))
    assert not len(leakage.doubtful(truth, sure))
    names = [f"{i:064}" for i in range(500)]
    assert leakage.noise(labels, sure, names, 0.03).outcome == "failed"
    assert leakage.noise(labels, sure, names, 0.05).outcome == "passed"


def test_texts_that_were_changed_a_little_are_near_duplicates_and_others_are_none() -> None:
    chance = np.random.default_rng(0)
    words = [f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(400)]
    trained = [" ".join(chance.choice(words, 200)) for _ in range(50)]
    held = [trained[0].upper(), f"{trained[1]} one more line", " ".join(chance.choice(words, 200)), "short"]
    assert leakage.texts(np.array(held, object), np.array(trained, object)).tolist() == [True, True, False, False]


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_a_gap_is_the_same_either_way_and_never_above_its_bound(n: int, m: int, data: st.DataObject) -> None:
    one = data.draw(st.integers(0, n)) / n, n
    other = data.draw(st.integers(0, m)) / m, m
    figure, low, high = fairness.gap(one, other)
    assert (figure, low, high) == pytest.approx(fairness.gap(other, one))
    assert 0 <= low <= figure + 1e-9
    assert figure <= high + 1e-9
    assert high <= 1 + 1e-9


def test_a_gap_between_groups_refuses_and_few_records_say_nothing() -> None:
    labels, groups = np.zeros(400, int), np.array(["a", "b"] * 200)
    fair = np.arange(400) % 20 // 19

    def outcome(answered: np.ndarray, of: np.ndarray | None, declared: tuple[str, ...] = ("a", "b")) -> str:
        n = len(answered)
        (found,) = fairness.checks({"ham": 0.2}, declared, ("ham", "spam"), labels[:n], answered, of)
        return found.outcome

    assert outcome(fair, groups) == "passed"
    assert outcome(np.where(groups == "b", np.arange(400) % 3 == 0, 0).astype(int), groups) == "failed"
    assert outcome(fair[:40], groups[:40]) == "inconclusive"
    assert outcome(fair, groups, ("a", "b", "c")) == "inconclusive", "nobody of c was asked about"
    third = np.where(np.arange(400) < 20, "c", groups)
    assert outcome(np.where(third == "c", 1, 0), third, ("a", "b", "c")) == "inconclusive", "always wrong, but few"
    assert outcome(fair, None) == "error"
    (found,) = fairness.checks({}, (), ("ham", "spam"), labels, fair, None)
    assert found.outcome == "skipped"


def test_forecasts_that_do_not_follow_the_level_are_refused() -> None:
    before = np.random.default_rng(0).random((50, 24))
    assert behaviour.follows(before, before + 2.0, 2.0, 0.9).outcome == "passed"
    assert behaviour.follows(before, before, 2.0, 0.9).outcome == "failed"


def test_words_that_speak_against_their_class_are_told() -> None:
    before = np.full(100, 0.5)
    assert behaviour.raised("free", "spam", before, before + 0.2).outcome == "passed"
    assert behaviour.raised("free", "spam", before, before - 0.2).outcome == "failed"


def test_answers_that_are_missing_are_an_error_and_no_pass() -> None:
    some = np.eye(3, dtype=np.float32)
    assert behaviour.check("noise", some, some[:2], 0.5).outcome == "error"
    assert behaviour.check("noise", some, some * np.nan, 0.5).outcome == "error"
    assert [c.outcome for c in cost.checks(1.0, None, 2.0, 1.0, 90.0, 80)] == ["skipped", "failed", "failed"]
