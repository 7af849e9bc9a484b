"""What a release costs at most: the arithmetic of the check that ends it, and versions that try to break it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import adversaries, detectors
from expectations import measured
from ratchet.recipe import Bound, ReleasePlan, Step
from releases import evidence
from releases import price as price_module
from releases.evidence import Evidence
from releases.price import Traffic, most_wrong, price

KNOWN = (0.09, 0.11)
PLAN = ReleasePlan(steps=(Step(), Step(mirror=20), Step(20), Step(50)), step_seconds=120, bake_seconds=240)


@given(st.integers(1, 400), st.floats(0, 0.99), st.floats(1e-6, 0.1))
def test_one_wrong_answer_more_than_the_most_and_the_check_fails(total: int, limit: float, alpha: float) -> None:
    most = most_wrong(total, limit, alpha)
    assert evidence.interval(most, total, alpha)[0] <= limit + 1e-9
    if most < total:
        assert evidence.interval(most + 1, total, alpha)[0] > limit - 1e-9


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_the_simulated_check_is_the_one_that_ends_releases(a: int, b: int, c: int, d: int) -> None:
    (old_bad, old), (new_bad, new), plan = sorted((a, b)), sorted((c, d)), ReleasePlan()
    counts = Evidence(labelled=(old, new), wrong=(old_bad, new_bad))
    (check,) = [each for each in evidence.checks(counts, plan, None) if each.name == "wrong"]
    alpha = evidence.alpha(plan)
    high = adversaries.upper(np.array([old_bad]), np.array([old]), alpha)
    fails = adversaries.fails((np.array([new_bad]), np.array([new])), high + plan.wrong.tolerance, alpha)
    assert bool(fails[0]) == (check.outcome == "failed")


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 20), st.floats(0, 3000), st.floats(0, 0.9), st.floats(0, 1))
def test_a_price_is_never_above_what_the_version_answers_and_rises_with_the_delay_of_labels(
    rate: float, delay: float, wrong: float, labelled: float
) -> None:
    early, late = (price(PLAN, Traffic(rate, seconds, (wrong, wrong), labelled)) for seconds in (delay / 2, delay))
    assert 0 <= early.wrong <= late.wrong + 2
    assert late.wrong <= late.exposed


def test_without_labels_in_time_all_that_the_version_answers_may_be_wrong() -> None:
    for traffic in (Traffic(1, None, KNOWN), Traffic(10, 86_400, KNOWN), Traffic(1, 60, (0.0, 0.2), labelled=0.0)):
        assert price(PLAN, traffic).wrong == price(PLAN, traffic).exposed
    assert not price(PLAN, Traffic(1, None, KNOWN)).by_labels
    assert price(PLAN, Traffic(10, 10, KNOWN)).wrong < price(PLAN, Traffic(10, 10, KNOWN)).exposed / 2


SHADOW = replace(PLAN, steps=(Step(), Step(mirror=100)), bake_mirror=100)


@pytest.mark.parametrize("plan", [PLAN, SHADOW], ids=["by steps", "after a shadow"])
@pytest.mark.parametrize("name", adversaries.FAULTS)
def test_no_fault_costs_more_than_is_said_before_the_release(name: str, plan: ReleasePlan) -> None:
    traffic = Traffic(2, 20, KNOWN)
    bound = price(plan, traffic)
    costs = adversaries.costs(plan, traffic, 0.1, adversaries.FAULTS[name], 200, 0)
    assert (costs > bound.wrong).mean() <= 1 - bound.confidence


@pytest.mark.parametrize("plan", [PLAN, SHADOW], ids=["by steps", "after a shadow"])
def test_the_worst_fault_costs_more_than_half_of_what_is_said(plan: ReleasePlan) -> None:
    traffic = Traffic(2, 20, (0.1, 0.1))
    most = max(adversaries.costs(plan, traffic, 0.1, fault, 200, 0).max() for fault in adversaries.FAULTS.values())
    assert most > 0.6 * price(plan, traffic).wrong


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.integers(0, 2000), st.sampled_from([0.0, 0.02, 0.3]))
def test_no_other_duration_of_the_steps_costs_more(shares: list[float], delay: int, wrong: float) -> None:
    traffic = Traffic(2, delay, (wrong, wrong))
    phases = price_module._phases(PLAN, [0.0, *shares])
    worst = max(price_module._costs(PLAN, phases, traffic, delay + 5.0, 60))
    assert worst <= price(PLAN, traffic).wrong * 1.01 + 1


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.01, 0.9))
def test_right_answers_to_mirrored_requests_let_more_wrong_ones_pass(
    labelled: int, mirrored: int, wrong: float
) -> None:
    without, with_them = (price_module.excess(PLAN, labelled, count, 200, wrong) for count in (0, mirrored))
    assert without <= with_them <= labelled * (1 - wrong) + 1e-9


def test_a_rate_that_is_little_known_costs_as_much_as_the_worst_that_it_may_be() -> None:
    rates = (0.05, 0.1, 0.2)
    alone = [price(PLAN, Traffic(2, 20, (rate, rate))).wrong for rate in rates]
    assert price(PLAN, Traffic(2, 20, (0.05, 0.2))).wrong >= max(alone[0], alone[2])
    assert price(PLAN, Traffic(2, 20, (0.0, 1.0))).wrong > max(alone) / 2


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0.0, 0.99)), min_size=1, max_size=5), st.floats(1e-6, 0.1))
def test_the_simulated_boundary_is_the_one_of_the_price(cases: list[tuple[int, float]], alpha: float) -> None:
    totals, limits = np.array([total for total, _ in cases]), np.array([limit for _, limit in cases])
    simulated = adversaries.most_wrong(totals, limits, alpha)
    assert simulated.tolist() == [most_wrong(total, limit, alpha) for total, limit in cases]


def test_a_wider_tolerance_costs_more() -> None:
    traffic = Traffic(1, 30, KNOWN)
    assert price(replace(PLAN, wrong=Bound(0.2, 0.3)), traffic).wrong > price(PLAN, traffic).wrong


@pytest.mark.parametrize("seed", range(5))
def test_the_simulated_detector_is_the_one_that_watches(seed: int) -> None:
    labels, limit, threshold = 400, 0.15, 500.0
    (losses,) = years = detectors.streams(0.3, 1, labels, seed).astype(float)
    (first,) = detectors.e_detector(years, detectors.Setting(0.1, limit, threshold))
    alarm = measured.alarm(losses[: first + 1], limit, threshold)
    assert first == labels or (alarm is not None and alarm.at == first)
    assert measured.alarm(losses[:first], limit, threshold) is None


def test_a_standing_alarm_starts_a_few_retrainings_and_some_more_after_each_pause() -> None:
    losses, setting = np.ones(520), detectors.Setting(0.1, 0.15, 500.0)
    (first,) = detectors.e_detector(losses[None], setting)
    assert 4 <= detectors.retrainings(losses, setting, int(first)) < 40, "of 52 looks"
    assert detectors.retrainings(np.zeros(520), setting, 520) == 0


def test_the_simulated_estimate_is_within_its_limit_as_promised_and_sees_what_is_far_above() -> None:
    assert not detectors.estimates(20, 2, 0.1, at_limit=False, seed=1).any()
    shares = detectors._tilted(np.array([0.01, 0.1, 0.6]), 0.2)
    assert shares @ np.array([0.01, 0.1, 0.6]) == pytest.approx(0.2)
