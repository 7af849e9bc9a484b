"""The evaluation: a candidate is blessed only if every check passed, and a missing value never passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.evaluation import champion as champion_checks
from ratchet.evaluation import thresholds
from ratchet.evaluation.baselines import LINEAR, SEASONAL_NAIVE, linear, seasonal_naive
from ratchet.evaluation.bootstrap import difference, ratio
from ratchet.evaluation.comparison import Margin, no_worse
from ratchet.evaluation.report import report
from ratchet.lake.snapshot import Examples
from ratchet.tasks.classification import Classification
from ratchet.tasks.forecast import Forecast
from ratchet.tasks.regression import Regression
from ratchet.tasks.regression import evaluation as regression
from ratchet.tasks.regression.criteria import RegressionCriteria
from ratchet.types import Check, EvaluationReport, from_json, to_json

N, CLASSES = 2000, 10
labels = np.arange(N) % CLASSES


def answers(accuracy: float, seed: int = 0) -> np.ndarray:
    """Probabilities [N, classes] that are right for about this share of images."""
    random = np.random.default_rng(seed)
    chosen = np.where(random.random(N) < accuracy, labels, (labels + random.integers(1, CLASSES, N)) % CLASSES)
    out = np.full((N, CLASSES), 0.01)
    out[np.arange(N), chosen] = 0.91
    return out


def evaluated(
    candidate: np.ndarray,
    champion: np.ndarray | None = None,
    best: np.ndarray | None = None,
    names: Sequence[str] = tuple("0123456789"),
) -> EvaluationReport:
    answers_ = Classification(tuple(names))
    checks = [
        thresholds.finite(candidate),
        *thresholds.classes(0.8, 0.6, answers_, labels, candidate, answers_.classes),
    ]
    if champion is not None:
        rivals = ("1", champion), None if best is None else ("0", best)
        checks += champion_checks.comparisons(answers_, Margin(0.01), labels, candidate, *rivals)
    return report("r", "2", None if champion is None else "1", "benchmark", checks)


def outcome(result: EvaluationReport, name: str) -> str:
    return next(c.outcome for c in result.checks if name in c.name)


def test_the_first_release_is_a_case_of_its_own_and_says_so() -> None:
    result = evaluated(answers(0.9))
    assert result.blessed
    assert "first release" in result.why


def test_a_candidate_below_a_floor_is_rejected() -> None:
    assert outcome(evaluated(answers(0.7)), "accuracy") == "failed"
    one_class = answers(0.95)
    one_class[labels == 3] = np.roll(one_class[labels == 3], 1, axis=1)
    result = evaluated(one_class)
    assert outcome(result, "accuracy") == "passed"
    assert outcome(result, "worst class") == "failed"
    assert not result.blessed


def test_a_class_that_the_benchmark_does_not_hold_is_an_error_and_no_pass() -> None:
    result = evaluated(np.pad(answers(0.95), ((0, 0), (0, 1))), names=[*map(str, range(CLASSES)), "rare"])
    assert outcome(result, "worst class") == "error"
    assert "rare" in result.why
    assert not result.blessed


def test_a_worse_candidate_is_rejected_and_a_better_one_blessed() -> None:
    assert outcome(evaluated(answers(0.85, 1), answers(0.95), answers(0.95)), "no worse than the champion") == "failed"
    assert evaluated(answers(0.96, 1), answers(0.9), answers(0.9)).blessed


def test_what_the_data_cannot_tell_is_inconclusive_and_does_not_advance() -> None:
    result = evaluated(answers(0.9, 1), answers(0.9, 2), answers(0.9, 2))
    assert outcome(result, "no worse than the champion") == "inconclusive"
    assert not result.blessed


def test_exactly_the_margin_passes_only_where_it_is_inclusive() -> None:
    """Two models with the same losses, so that difference and interval are zero."""
    losses = np.array([0.0, 1.0] * 50)
    outcomes = {
        "below": no_worse("below", Margin(0.0), losses, losses, "it").outcome,
        "at most": no_worse("at most", Margin(0.0, inclusive=True), losses, losses, "it").outcome,
        "smaller": no_worse("smaller", Margin(0.0, must_be_smaller=True), losses, losses, "it").outcome,
    }
    assert outcomes == {"below": "inconclusive", "at most": "passed", "smaller": "failed"}


def test_many_small_losses_do_not_add_up() -> None:
    """No worse than the champion, who is already worse than the best: refused for the second reason."""
    champion = answers(0.90)
    candidate = champion.copy()
    candidate[0] = np.roll(candidate[0], 1)
    result = evaluated(candidate, champion, answers(0.93))
    assert outcome(result, "no worse than the champion") == "passed"
    assert outcome(result, "best champion") == "failed"


def test_the_same_answers_are_no_new_version() -> None:
    champion = answers(0.9)
    result = evaluated(champion * 0.99, champion, champion)
    assert outcome(result, "differs") == "failed"
    assert not result.blessed


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_figure_that_is_no_number_never_passes(broken: float) -> None:
    candidate = answers(0.95)
    candidate[5, 2] = broken
    result = evaluated(candidate, answers(0.9), answers(0.9))
    assert not result.blessed
    assert outcome(result, "accuracy") == "error"
    assert outcome(evaluated(answers(0.95), candidate, candidate), "no worse than the champion") == "error"


@pytest.mark.parametrize("other", [np.zeros((0, CLASSES)), answers(0.9)[:100], np.zeros(N)])
def test_missing_answers_never_pass(other: np.ndarray) -> None:
    assert not evaluated(other, answers(0.9), answers(0.9)).blessed
    assert not evaluated(answers(0.95), other, answers(0.9)).blessed
    assert not evaluated(answers(0.95), answers(0.9), other).blessed
    assert not evaluated(answers(0.95), answers(0.9), None).blessed


right = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


@given(right)
@settings(max_examples=200, deadline=None)
def test_the_interval_contains_the_difference_which_changes_sign_with_the_sides(pairs: list[tuple[bool, bool]]) -> None:
    losses, others = (np.array(side, float) for side in zip(*pairs, strict=True))
    value, low, high = difference(losses, others)
    assert low <= value + 1e-9
    assert value - 1e-9 <= high
    assert difference(others, losses)[0] == pytest.approx(-value)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """True difference zero, 300 pairs: the 95 % interval should miss it in about 5 of 100 worlds."""
    random = np.random.default_rng(7)
    missed = 0
    for _ in range(400):
        _, low, high = difference(1.0 * (random.random(300) < 0.9), 1.0 * (random.random(300) < 0.9))
        missed += not low <= 0 <= high
    assert missed / 400 < 0.09


def test_a_report_round_trips_through_json() -> None:
    result = evaluated(answers(0.9), answers(0.89), answers(0.89))
    assert from_json(EvaluationReport, to_json(result)) == result


HOURS, HORIZON = 600, 24
truth = 50 + 10 * np.sin(np.arange(HOURS)[:, None] / 24 + np.arange(HORIZON) / 4)


def forecasts(deviation: float, seed: int = 0) -> np.ndarray:
    return truth + np.random.default_rng(seed).normal(0, deviation, truth.shape)


def forecast_evaluated(
    candidate: np.ndarray,
    champion: np.ndarray | None = None,
    targets: np.ndarray = truth,
    baselines: Mapping[str, np.ndarray] = {SEASONAL_NAIVE: forecasts(3, 8), LINEAR: forecasts(2, 9)},
    masks: Mapping[str, np.ndarray] = {},
    margin: float = 0.05,
) -> EvaluationReport:
    def relative(value: float) -> Margin:
        return Margin(value, must_be_smaller=not value, relative=True, block=2 * HORIZON, min_blocks=10)

    answers_ = Forecast(HORIZON, close=1.0)
    margins = dict.fromkeys(baselines, relative(0.0))
    checks = thresholds.numbers("mean squared error", 4.0, answers_, targets, candidate, baselines, margins)
    old = None if champion is None else ("1", champion)
    if old:
        checks += champion_checks.comparisons(answers_, relative(margin), targets, candidate, old, old)
    checks += champion_checks.slices(answers_, relative(0.2), masks, targets, candidate, old)
    return report("r", "2", old and old[0], "benchmark", checks)


NUMBER = Regression(-1000, 1000, close=5.0)
numbers = np.random.default_rng(5).gamma(2.0, 20.0, (2000, 1))


def predictions(error: float, seed: int, shift: float = 0.0) -> np.ndarray:
    return numbers + shift + np.random.default_rng(seed).normal(0, error, numbers.shape)


def number_checks(outputs: np.ndarray, criteria: RegressionCriteria) -> dict[str, Check]:
    examples, recipe = Examples(numbers[:, 0], numbers), SimpleNamespace(answers=NUMBER, criteria=criteria)
    own: Any = recipe
    checks = regression.benchmark_checks(own, examples, outputs, examples)
    checks += regression.model_checks(own, lambda inputs: inputs, examples, {}, outputs)
    return {check.name: check for check in checks}


def test_a_number_must_be_close_enough_and_better_than_the_best_constant() -> None:
    good = number_checks(predictions(5, 1), RegressionCriteria(error=6.0, bias=1.0))
    assert {check.outcome for check in good.values()} == {"passed"}
    assert set(good) == {"mean absolute error", "better than the best constant", "bias"}
    bad = number_checks(predictions(60, 1), RegressionCriteria(error=6.0))
    assert bad["mean absolute error"].outcome == bad["better than the best constant"].outcome == "failed"
    assert bad["bias"].outcome == "skipped"
    assert (
        number_checks(predictions(5, 1, shift=4), RegressionCriteria(error=9.0, bias=1.0))["bias"].outcome == "failed"
    )
    broken = number_checks(np.full_like(numbers, np.nan), RegressionCriteria(error=6.0, bias=1.0))
    assert {check.outcome for check in broken.values()} == {"error"}


def test_slices_by_target_and_explanations_of_numbers() -> None:
    masks = regression.SLICES["target"](NUMBER, numbers)
    assert sum(int(mask.sum()) for mask in masks.values()) == len(numbers)
    outputs = predictions(5, 1)
    outputs[7] += 500
    chosen = regression.explained(NUMBER, numbers, outputs, 4)
    assert chosen["worst"][0] == 7
    assert len(chosen["typical"]) == 2


@given(st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_no_figure_of_a_comparison_is_infinite_even_if_the_other_has_no_error(wrong: int, seed: int) -> None:
    others = np.zeros(200)
    others[:wrong] = 1.0
    losses = np.random.default_rng(seed).integers(0, 2, 200).astype(float)
    check = no_worse("c", Margin(0.1, relative=True), losses, others, "other")
    assert None not in (check.value, check.low, check.high)
    assert np.isfinite([check.value, check.low, check.high]).all()
    same = no_worse("c", Margin(0.1, relative=True), np.zeros(200), np.zeros(200), "other")
    assert same.outcome == "passed"


def test_a_forecast_that_beats_both_baselines_is_blessed_and_one_that_does_not_is_rejected() -> None:
    assert forecast_evaluated(forecasts(1)).blessed
    result = forecast_evaluated(forecasts(2.5))
    assert outcome(result, "better than the seasonal-naive") == "passed"
    assert outcome(result, "better than the linear") == "failed"
    assert outcome(result, "mean squared error") == "failed"
    assert not result.blessed


def test_a_worse_forecast_than_the_champions_is_rejected() -> None:
    assert outcome(forecast_evaluated(forecasts(1.5, 1), forecasts(1)), "no worse than the champion") == "failed"
    assert forecast_evaluated(forecasts(1, 1), forecasts(1)).blessed


def test_a_forecast_that_is_worse_on_one_level_alone_is_rejected_for_that_slice() -> None:
    # Ten times as many windows, so that each third of them says something.
    many = np.concatenate([truth] * 10)
    level = np.repeat([0, 1, 2], len(many) // 3)
    levels = {f"level {n}": level == n for n in range(3)}
    chance = np.random.default_rng(0)
    old, new = many + chance.normal(0, 1, many.shape), many + chance.normal(0, 1, many.shape)
    new[level == 2] += chance.normal(0, 1, new[level == 2].shape)
    baselines = {LINEAR: many + chance.normal(0, 3, many.shape)}
    result = forecast_evaluated(new, old, many, baselines, levels, margin=1.0)
    assert {c.name for c in result.checks if c.outcome not in ("passed", "skipped")} == {"level 2"}
    first = forecast_evaluated(old, None, many, baselines, levels)
    assert {c.outcome for c in first.checks if c.name.startswith("level")} == {"skipped"}
    missing = forecast_evaluated(new, old[:-1], many, baselines, levels)
    assert {c.outcome for c in missing.checks if c.name.startswith("level")} == {"error"}


@pytest.mark.parametrize("broken", [np.full_like(truth, np.nan), truth[:-1], truth[:, :-1], np.zeros((0, HORIZON))])
def test_forecasts_that_are_missing_or_no_numbers_never_pass(broken: np.ndarray) -> None:
    assert not forecast_evaluated(broken).blessed
    assert not forecast_evaluated(forecasts(1), broken).blessed


@pytest.mark.parametrize("count", [1, 48, 60, 479])
def test_a_few_windows_show_nothing(count: int) -> None:
    baselines = {SEASONAL_NAIVE: forecasts(3, 8)[:count], LINEAR: forecasts(2, 9)[:count]}
    result = forecast_evaluated(forecasts(1)[:count], None, truth[:count], baselines)
    assert {c.outcome for c in result.checks if "better" in c.name} == {"inconclusive"}
    assert not result.blessed


def test_windows_that_share_hours_do_not_make_a_forecast_look_surer_than_it_is() -> None:
    """The same errors a day long, so that the windows are few in truth: the interval must be wide."""
    days = np.repeat(np.random.default_rng(3).chisquare(1, 25), 24)
    others = np.repeat(np.random.default_rng(4).chisquare(1, 25), 24)
    _, low, high = ratio(days, others, 48)
    _, least, most = ratio(days, others, 1)
    assert high - low > 2 * (most - least)


def test_the_baselines_are_what_they_say() -> None:
    inputs = np.arange(3)[:, None] + np.arange(48.0)
    assert (seasonal_naive(inputs, 24, 24) == inputs[:, -24:]).all()
    assert (seasonal_naive(inputs, 6, 24) == inputs[:, -24:-18]).all()
    past = np.random.default_rng(0).normal(size=(500, 48))
    future = past[:, :24] * 0.5 + past.mean(axis=1, keepdims=True) * 0.5
    assert np.abs(linear(past, past, future) - future).max() < 0.05


@pytest.mark.parametrize(
    ("worse", "count", "outcome"),
    [(0.0, 4000, "passed"), (0.2, 400, "failed"), (0.0, 40, "skipped"), (0.03, 40, "skipped")],
)
def test_on_few_newest_records_a_candidate_fails_only_on_evidence(worse: float, count: int, outcome: str) -> None:
    """The loss of the newest records is noise where there are few: they must not keep a sound candidate back."""
    rng, answers = np.random.default_rng(3), Classification(("a", "b"))
    targets = rng.integers(0, 2, count)

    def outputs(error: float) -> np.ndarray:
        wrong = rng.random(count) < error
        return np.eye(2, dtype=np.float32)[np.where(wrong, 1 - targets, targets)]

    champion = ("1", outputs(0.1))
    check = champion_checks.newest(answers, Margin(0.05), targets, outputs(0.1 + worse), champion, may_be_few=True)
    assert check.outcome == outcome, check
    strict = champion_checks.newest(answers, Margin(0.05), targets, outputs(0.1 + worse), champion, may_be_few=False)
    assert (strict.outcome == "passed") == (outcome == "passed")
