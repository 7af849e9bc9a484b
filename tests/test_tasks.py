"""Labels: a class's name exactly, its number only where the recipe says so; numbers within their range.

And a task goes with any kind of input.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from expectations.drift import Summary, drift, summarize
from models import export, train
from models.evaluate import benchmark_checks
from ratchet import recipe as recipes
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.evaluation import thresholds
from ratchet.kinds.image import ImageContract
from ratchet.kinds.text import TextContract
from ratchet.lake import ingest, quarantine, tabular
from ratchet.lake.snapshot import Examples
from ratchet.recipe import MultiLabelCriteria, Recipe, RegressionCriteria, Training
from ratchet.tasks.classification import Classification
from ratchet.tasks.classification.scaffold import _alike
from ratchet.tasks.multilabel import MultiLabel
from ratchet.tasks.multilabel import labels as several
from ratchet.tasks.regression import Regression

Pictures = tuple[np.ndarray, np.ndarray]
ODD = Classification(("1", "3", "5"))


@given(st.text())
def test_a_label_is_a_class_s_name_exactly(label: str) -> None:
    read = ODD.read_label
    if label in ODD.classes:
        assert ODD.classes[read(label)] == label
        return
    with pytest.raises(Refusal, match="is not one of the 3 classes"):
        read(label)


@pytest.mark.parametrize(("names", "label", "hint"), [
    (("1", "3", "5"), "3.0", "decimal number"), (("boot", "shoe"), "Boot ", "differs from 'boot' in case or blanks"),
    (("boot", "shoe"), "1", "numbered=True"), (("boot", "shoe"), "7", "classes$"),
])  # fmt: skip
def test_a_label_that_is_nearly_one_says_why_it_is_none(names: tuple[str, ...], label: str, hint: str) -> None:
    with pytest.raises(Refusal) as refusal:
        Classification(names).read_label(label)
    assert refusal.match(hint) if hint != "classes$" else refusal.value.what.endswith("classes")


def test_numbers_are_read_where_the_recipe_says_so_and_never_beside_names_that_are_numbers() -> None:
    read = Classification(("boot", "shoe"), numbered=True).read_label
    assert [read(label) for label in ("boot", "1", "0")] == [0, 1, 0]
    fashion = recipes.load("fashion-mnist")
    assert isinstance(fashion.answers, Classification)
    with pytest.raises(ValueError, match="leave `numbered` out"):
        Recipe(**{**fashion.__dict__, "task": Classification(("1", "3"), numbered=True)})


def test_labels_that_are_counted_from_one_are_refused_as_a_whole(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    images, labels = pictures[0][:200], pictures[1][:200].astype(int)
    np.savez(tmp_path / "shifted.npz", x=images, y=labels + 1)
    with pytest.raises(Refusal, match="go up to 10 and none is 0: classes are counted from 0"):
        ingest.land(small, tmp_path / "shifted.npz", "test")
    assert not quarantine.pending(ingest.lake(small.name))
    np.savez(tmp_path / "good.npz", x=images, y=labels)
    assert ingest.land(small, tmp_path / "good.npz", "test").accepted == 200


def test_names_that_differ_in_case_or_blanks_alone_are_pointed_out() -> None:
    assert _alike(["boot", "shoe"]) == ""
    assert '"boot" and "Boot\\u00a0"' in _alike(["boot", "shoe", "Boot\xa0"]).replace("\xa0", "\\u00a0")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_read_as_it_is_or_refused(value: float) -> None:
    read = Regression(-10, 10, close=1).read_label
    if -10 <= value <= 10:
        assert read(repr(value)) == value
        return
    with pytest.raises(Refusal, match="outside"):
        read(repr(value))


@pytest.mark.parametrize("label", ["", "1_000", "seven", None, "0x10"])
def test_what_is_no_number_is_refused(label: str | None) -> None:
    with pytest.raises(Refusal, match="not a number"):
        Regression(-10, 10_000, close=1).read_label(label)


IMAGE, TEXT = ImageContract(32, 32, channels=3), TextContract(max_tokens=16, vocabulary_size=50)
NUMBER = (Regression(0, 10, close=0.5), RegressionCriteria(error=3.0), "mean absolute error", "the best constant")
LABELS = (
    MultiLabel(("loud", "red", "tall")),
    MultiLabelCriteria(accuracy=0.5, f1=0.1, worst_label=0.1, average_precision=0.1),
    "binary accuracy",
    "the labels of most records",
)


@pytest.mark.parametrize(
    ("contract", "family", "answers"),
    [(IMAGE, "resnet", NUMBER), (TEXT, "transformer", NUMBER), (TEXT, "rnn", LABELS), (IMAGE, "cnn", LABELS)],
    ids=["number-image", "number-text", "labels-text", "labels-image"],
)
def test_a_number_or_labels_are_predicted_for_any_kind_of_input(
    contract: Contract, family: str, answers: tuple[Any, Any, str, str], small: Recipe, tmp_path: Path
) -> None:
    """Kinds and tasks know nothing of each other."""
    training = Training(family=family, epochs=1, parameters={})
    task, criteria, metric, constant = answers
    recipe = replace(small, contract=contract, task=task, criteria=criteria, training=training)
    inputs = contract.synthesize(96, np.random.default_rng(0))
    targets = np.random.default_rng(1).uniform(0, 10, (96, task.width)).astype(np.float32)
    if task is LABELS[0]:
        targets = (targets > 5).astype(np.float32)
    vocabulary = contract.learn_vocabulary(inputs)
    features = contract.features(inputs, vocabulary)
    side = (features[:80], targets[:80]), (features[80:], targets[80:])
    fitted = train.fit(recipe, training, *side, tmp_path / "fit")
    (tmp_path / "export").mkdir()
    exported = export.export(recipe, fitted.model, vocabulary, inputs[80:], tmp_path / "export")
    outputs = exported.predict(inputs)
    assert outputs.shape == (96, task.width)
    trained, benchmark = Examples(inputs[:80], targets[:80]), Examples(inputs[80:], targets[80:])
    results = benchmark_checks(recipe, benchmark, outputs[80:], trained, None, None)
    assert {metric, f"better than {constant}"} <= {check.name for check in results}
    answer = task.predictions(outputs[:1])[task.output]
    assert np.isfinite(answer).all()
    assert np.allclose(task.outputs(task.predictions(outputs)), outputs)
    assert task.describe(outputs[0])


MOVIES = MultiLabel(("action", "comedy", "drama"))


@given(st.lists(st.sampled_from(["action", " comedy", "drama ", "thriller"]), min_size=1, max_size=4), st.booleans())
def test_labels_of_a_record_are_read_in_any_order_and_each_must_be_known(names: list[str], as_list: bool) -> None:
    read, label = MOVIES.read_label, tabular.text_of(names) if as_list else "|".join(names)
    if {name.strip() for name in names} - set(MOVIES.labels):
        with pytest.raises(Refusal, match="has a name that is none of the 3 labels"):
            read(label)
        return
    kept = read(label)
    assert kept == read("|".join(reversed(names)))
    (target,) = several.targets(MOVIES, np.array([kept], object))
    assert MOVIES.names(target) == sorted({name.strip() for name in names})
    assert several.describe(MOVIES, kept) == ", ".join(MOVIES.names(target))


def test_a_record_may_have_no_label_but_must_say_so() -> None:
    read = MOVIES.read_label
    kept = [read(tabular.text_of(label)) for label in ("none", "drama|action", [])]
    assert kept == ["none", "action|drama", "none"]
    assert several.targets(MOVIES, np.array(kept, object)).tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0]]
    with pytest.raises(Refusal, match="a record without labels says 'none'"):
        read(None)
    assert read(tabular.text_of(["none"])) == "none"
    silent = MultiLabel(("a", "b"), none="")
    assert [silent.read_label(label) for label in (None, "b|a")] == ["", "a|b"]
    assert several.targets(silent, np.array(["", "a|b"], object)).tolist() == [[0, 0], [1, 1]]
    assert several.counts(MOVIES, ["none", "action|drama", "drama", None]) == {"action": 1, "drama": 2}
    measured = several.statistics(MOVIES, ["none", "action|drama", "drama"], Counter(["none", "action|drama", "drama"]))
    assert measured["label"] == [[], ["action", "drama"], ["drama"]]
    assert measured["label_share"] == [1.0, 1 / 3, 2 / 3]
    assert measured["absent_labels"] == [1, 1, 1]
    assert MOVIES.describe(np.array([0.1, 0.2, 0.3])) == "no label"


def test_labels_may_be_separated_otherwise_and_hold_what_separates_elsewhere() -> None:
    task = MultiLabel(("a|b", "c"), separator=";", none="-")
    read = task.read_label
    assert [read(tabular.text_of(label)) for label in (["c", "a|b"], [], "c", "-")] == ["a|b;c", "-", "c", "-"]


def test_a_label_that_no_parser_likes_is_refused_like_any_other() -> None:
    with pytest.raises(Refusal, match="none of the 3 labels"):
        MOVIES.read_label("[" * 100_000)


@pytest.mark.parametrize(("label", "why"), [
    ("Drama", "differs from one in case alone"), ("drama|", "has an empty name"), ("Dear Mrs Miller", "3 labels$"),
])  # fmt: skip
def test_what_is_no_label_is_refused_without_repeating_it(label: str, why: str) -> None:
    """If columns are swapped, it is somebody's text, which `which` has and a recipe may hide."""
    with pytest.raises(Refusal, match=why.removesuffix("$")) as refusal:
        MOVIES.read_label(label)
    assert label not in refusal.value.what
    assert refusal.value.which == label
    assert not why.endswith("$") or refusal.value.what.endswith(why.removesuffix("$"))


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (MultiLabel(("a|b", "c")), "has the separator"),
        (MultiLabel(("a", "none")), "is `none`"),
        (MultiLabel(("a", "b"), separator=" "), "is blank"),
        (MultiLabel(("a", "b"), none=" x"), "none"),
        (MultiLabel(("a", "a")), "labels"),
        (MultiLabel(("a",)), "not two labels"),
    ],
)
def test_labels_that_could_not_be_read_are_refused_in_the_recipe(task: MultiLabel, why: str, small: Recipe) -> None:
    with pytest.raises(ValueError, match=why):
        replace(small, task=task, criteria=MultiLabelCriteria(accuracy=0.5))


def test_a_label_that_a_recipe_has_left_out_is_named() -> None:
    with pytest.raises(Refusal, match="older records have the label 'drama'"):
        several.targets(MultiLabel(("action", "comedy")), np.array(["action|drama"], object))


def test_trees_are_no_family_for_several_labels() -> None:
    assert recipes.families("table", "classification") == ("mlp", "boosting")
    assert recipes.families("table", "multilabel") == ("mlp",)


def test_thresholds_of_several_labels_are_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    targets = (chance.random((400, 3)) < [0.5, 0.2, 0.05]).astype(float)
    outputs = np.clip(targets * 0.3 + chance.random((400, 3)) * 0.7, 0, 1)
    limits = {"binary accuracy": 0.5, "F1": 0.5, "F1 of the worst label": 0.9, "average precision": 0.1}
    accuracy, f1, worst, precision = thresholds.labels(limits, MOVIES.labels, targets, outputs >= 0.5, outputs)
    assert accuracy.value == pytest.approx(1 - MOVIES.losses(targets, outputs).mean())
    assert f1.value == pytest.approx(f1_score(targets, outputs >= 0.5, average="micro"))
    assert worst.value == pytest.approx(min(f1_score(targets, outputs >= 0.5, average=None)))
    assert "that of drama" in worst.detail
    assert worst.outcome == "failed"
    assert precision.value == pytest.approx(average_precision_score(targets, outputs, average="macro"))
    broken = thresholds.labels(limits, MOVIES.labels, targets, outputs >= 0.5, None)
    assert {check.outcome for check in broken} == {"error"}


def test_a_label_without_a_record_in_the_benchmark_is_no_success() -> None:
    targets = np.zeros((50, 3))
    targets[:, 0] = 1
    limits = {"binary accuracy": 0.9, "F1": 0.1, "F1 of the worst label": 0.1, "average precision": 0.1}
    checks = thresholds.labels(limits, MOVIES.labels, targets, np.ones((50, 3), bool), np.ones((50, 3)))
    assert [check.outcome for check in checks] == ["failed", "passed", "error", "error"]
    assert "no record of comedy, drama" in checks[2].detail


def test_two_models_that_are_nearly_always_right_agree_on_many_labels() -> None:
    task, chance = MultiLabel(tuple(map(str, range(50)))), np.random.default_rng(0)
    truth = chance.random((500, 50)) < 0.2
    one, other = (truth ^ (chance.random((500, 50)) < 0.01) for _ in range(2))
    pairs = [task.agree(task.compact(a), task.compact(b)) for a, b in zip(one, other, strict=True)]
    assert sum(pairs) > 0.99 * len(pairs)
    assert not task.agree(task.compact(truth[0]), task.compact(~truth[0]))


def test_only_a_change_of_labels_is_drift() -> None:
    chance = np.random.default_rng(0)

    def summary(shares: list[float]) -> Summary:
        there = chance.random((2000, 3)) < shares
        labels = [MOVIES.read_label(tabular.text_of(MOVIES.names(row))) for row in there]
        measured = several.statistics(MOVIES, labels, Counter(labels))
        frame = pd.DataFrame(measured | {"record": labels, "duplicate": 0, "age_days": 1.0})
        return summarize(frame, several.SHARES)

    first, again, swapped = summary([0.5, 0.3, 0.1]), summary([0.5, 0.3, 0.1]), summary([0.1, 0.3, 0.5])
    drifted = [{each.column for each in drift([first], [one]) if each.drifted} for one in (again, swapped)]
    assert drifted == [set(), {"label action", "label drama"}]


def test_a_rare_class_moves_balanced_accuracy_and_average_precision_as_a_frequent_one_does() -> None:
    labels, always_no = np.array([0] * 98 + [1] * 2), np.tile([0.9, 0.1], (100, 1))
    names = Classification(("no", "yes"))
    balanced, precision = thresholds.rare_classes(0.6, 0.6, names, labels, always_no)
    assert (balanced.value, balanced.outcome) == (0.5, "failed")
    assert precision.value == pytest.approx((0.98 + 0.02) / 2)
    broken = always_no.copy()
    broken[3] = np.nan
    assert {check.outcome for check in thresholds.rare_classes(0.6, 0.6, names, labels, broken)} == {"error"}
