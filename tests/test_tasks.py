"""Labels: a class's name exactly, its number only where the recipe says so; numbers within their range.

And a task goes with any kind of input.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import export, train
from models.evaluate import benchmark_checks
from ratchet import recipe as recipes
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.evaluation import thresholds
from ratchet.kinds.image import ImageContract
from ratchet.kinds.text import TextContract
from ratchet.lake import ingest, quarantine
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Recipe, RegressionCriteria, Training
from ratchet.tasks.classification import Classification
from ratchet.tasks.classification import labels as classes
from ratchet.tasks.classification.scaffold import _alike
from ratchet.tasks.regression import Regression
from ratchet.tasks.regression import labels as numbers

Pictures = tuple[np.ndarray, np.ndarray]
ODD = Classification(("1", "3", "5"))


@given(st.text())
def test_a_label_is_a_class_s_name_exactly(label: str) -> None:
    read = classes.reader(ODD)
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
        classes.reader(Classification(names))(label)
    assert refusal.match(hint) if hint != "classes$" else refusal.value.what.endswith("classes")


def test_numbers_are_read_where_the_recipe_says_so_and_never_beside_names_that_are_numbers() -> None:
    read = classes.reader(Classification(("boot", "shoe"), numbered=True))
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
    assert not quarantine.ever_landed(ingest.lake(small.name))
    np.savez(tmp_path / "good.npz", x=images, y=labels)
    assert ingest.land(small, tmp_path / "good.npz", "test").accepted == 200


def test_names_that_differ_in_case_or_blanks_alone_are_pointed_out() -> None:
    assert _alike(["boot", "shoe"]) == ""
    assert '"boot" and "Boot\\u00a0"' in _alike(["boot", "shoe", "Boot\xa0"]).replace("\xa0", "\\u00a0")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_read_as_it_is_or_refused(value: float) -> None:
    read = numbers.reader(Regression(-10, 10, close=1))
    if -10 <= value <= 10:
        assert read(repr(value)) == value
        return
    with pytest.raises(Refusal, match="outside"):
        read(repr(value))


@pytest.mark.parametrize("label", ["", "1_000", "seven", None, "0x10"])
def test_what_is_no_number_is_refused(label: str | None) -> None:
    with pytest.raises(Refusal, match="not a number"):
        numbers.reader(Regression(-10, 10_000, close=1))(label)


@pytest.mark.parametrize(
    ("contract", "family"),
    [(ImageContract(32, 32, channels=3), "resnet"), (TextContract(max_tokens=16, vocabulary_size=50), "transformer")],
    ids=["image", "text"],
)
def test_a_number_is_predicted_for_any_kind_of_input(
    contract: Contract, family: str, small: Recipe, tmp_path: Path
) -> None:
    """Kinds and tasks know nothing of each other."""
    training = Training(family=family, epochs=1, parameters={})
    task, criteria = Regression(0, 10, close=0.5), RegressionCriteria(error=3.0)
    recipe = replace(small, contract=contract, task=task, criteria=criteria, training=training)
    inputs = contract.synthesize(96, np.random.default_rng(0))
    targets = np.random.default_rng(1).uniform(0, 10, (96, 1)).astype(np.float32)
    vocabulary = contract.learn_vocabulary(inputs)
    features = contract.features(inputs, vocabulary)
    side = (features[:80], targets[:80]), (features[80:], targets[80:])
    fitted = train.fit(recipe, training, *side, tmp_path / "fit")
    (tmp_path / "export").mkdir()
    exported = export.export(recipe, fitted.model, vocabulary, inputs[80:], tmp_path / "export")
    outputs = exported.predict(inputs)
    assert outputs.shape == (96, 1)
    trained, benchmark = Examples(inputs[:80], targets[:80]), Examples(inputs[80:], targets[80:])
    results = benchmark_checks(recipe, benchmark, outputs[80:], trained, None, None)
    assert {"mean absolute error", "better than the best constant"} <= {check.name for check in results}
    (answer,) = task.predictions(outputs[:1])[task.output]
    assert np.isfinite(answer)


def test_a_rare_class_moves_balanced_accuracy_and_average_precision_as_a_frequent_one_does() -> None:
    labels, always_no = np.array([0] * 98 + [1] * 2), np.tile([0.9, 0.1], (100, 1))
    names = Classification(("no", "yes"))
    balanced, precision = thresholds.rare_classes(0.6, 0.6, names, labels, always_no)
    assert (balanced.value, balanced.outcome) == (0.5, "failed")
    assert precision.value == pytest.approx((0.98 + 0.02) / 2)
    broken = always_no.copy()
    broken[3] = np.nan
    assert {check.outcome for check in thresholds.rare_classes(0.6, 0.6, names, labels, broken)} == {"error"}
