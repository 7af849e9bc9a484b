"""What a release costs at most: the arithmetic of the check that ends it, and versions that try to break it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import guarantees
from expectations import measured
from ratchet.recipe import Bound, ReleasePlan, Step
from releases import evidence
from releases.evidence import Evidence
from releases.price import Traffic, most_wrong, price

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
    high = guarantees.upper(np.array([old_bad]), np.array([old]), alpha)
    fails = guarantees.fails((np.array([new_bad]), np.array([new])), high + plan.wrong.tolerance, alpha)
    assert bool(fails[0]) == (check.outcome == "failed")


@settings(max_examples=25)
@given(st.floats(0.01, 20), st.floats(0, 3000), st.floats(0, 0.9), st.floats(0, 1))
def test_a_price_is_never_above_what_the_version_answers_and_rises_with_the_delay_of_labels(
    rate: float, delay: float, wrong: float, labelled: float
) -> None:
    early, late = (price(PLAN, Traffic(rate, seconds, wrong, labelled)) for seconds in (delay / 2, delay))
    assert 0 <= early.wrong <= late.wrong + 2
    assert late.wrong <= late.exposed


def test_without_labels_in_time_all_that_the_version_answers_may_be_wrong() -> None:
    for traffic in (Traffic(1, None, 0.1), Traffic(10, 86_400, 0.1), Traffic(1, 60, 0.1, labelled=0.0)):
        assert price(PLAN, traffic).wrong == price(PLAN, traffic).exposed
    assert not price(PLAN, Traffic(1, None, 0.1)).by_labels
    assert price(PLAN, Traffic(1, 10, 0.1)).wrong < price(PLAN, Traffic(1, 10, 0.1)).exposed / 2


@pytest.mark.parametrize("name", guarantees.FAULTS)
def test_no_fault_costs_more_than_is_said_before_the_release(name: str) -> None:
    traffic = Traffic(2, 20, 0.1)
    bound = price(PLAN, traffic)
    costs = guarantees.costs(PLAN, traffic, guarantees.FAULTS[name], 100, 0)
    assert (costs > bound.wrong).mean() <= 1 - bound.sure + 0.01
    assert costs.max() > 0.02 * bound.wrong, "it does try"


def test_a_wider_tolerance_costs_more() -> None:
    from dataclasses import replace

    traffic = Traffic(1, 30, 0.1)
    assert price(replace(PLAN, wrong=Bound(0.2, 0.3)), traffic).wrong > price(PLAN, traffic).wrong


@pytest.mark.parametrize("seed", range(5))
def test_the_simulated_detector_is_the_one_that_watches(seed: int) -> None:
    labels, limit, threshold = 400, 0.15, 500.0
    (losses,) = years = guarantees.streams(0.3, 1, labels, seed).astype(float)
    (first,) = guarantees.e_detector(years, guarantees.Setting(0.1, limit, threshold))
    alarm = measured.alarm(losses[: first + 1], limit, threshold)
    assert first == labels or (alarm is not None and alarm.at == first)
    assert measured.alarm(losses[:first], limit, threshold) is None
