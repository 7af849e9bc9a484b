"""The sequential test: valid however often one looks, quick on a bad revision, patient with a good one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.recipe import ReleasePlan
from releases import evidence
from releases.evidence import Evidence, Tally, interval

PLAN = ReleasePlan()
TIMES = (*(0.0001 * 2 ** (n / 2) for n in range(36)), float("inf"))
counts = st.integers(0, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.floats(1e-5, 0.5))
def test_the_interval_contains_the_observed_rate(count: tuple[int, int], alpha: float) -> None:
    bad, total = count
    low, high = interval(bad, total, alpha)
    assert 0 <= low <= (bad / total if total else 0) <= high <= 1


@given(counts, st.floats(1e-5, 0.2))
def test_a_smaller_alpha_gives_a_wider_interval(count: tuple[int, int], alpha: float) -> None:
    low, high = interval(*count, alpha)
    wide_low, wide_high = interval(*count, alpha / 2)
    assert wide_low <= low
    assert high <= wide_high


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 0.5])
def test_the_true_rate_leaves_the_interval_no_more_often_than_promised(rate: float) -> None:
    """Looked at after every request, 2,000 times over; a test of fixed size would be left by most runs."""
    alpha, runs, left, chance = 0.05, 600, 0, random.Random(int(rate * 1000))
    for _ in range(runs):
        bad = 0
        for n in range(1, 2001):
            bad += chance.random() < rate
            if evidence.log_evidence(bad, n, rate) >= -math.log(alpha):
                left += 1
                break
    # 0.05 of 600 is 30; over 47 would be three deviations from it.
    assert left <= 47, f"{left} of {runs}"


def tally(chance: random.Random, requests: int, failing: float, latency_ms: float) -> Tally:
    """A revision with about this latency, as a bento's histogram reports it."""
    failed = sum(chance.random() < failing for _ in range(requests))
    took = [chance.lognormvariate(0, 0.25) * latency_ms / 1000 for _ in range(requests - failed)]
    return Tally(requests, failed, 0, tuple((at, sum(t <= at for t in took)) for at in TIMES))


def grown(one: Tally, other: Tally) -> Tally:
    pairs = zip(one.cumulative or tuple((at, 0) for at in TIMES), other.cumulative, strict=True)
    cumulative = tuple((at, n + m) for (at, n), (_, m) in pairs)
    return Tally(one.requests + other.requests, one.failed + other.failed, 0, cumulative)


def trial(
    seed: int, failing: float = 0.0, times: float = 1.0, differing: float = 0.03, limit: int = 8000
) -> tuple[str, int, str]:
    """A release that is checked every 20 requests: how it ended, after how many, and by which check."""
    chance = random.Random(seed)
    measured = evidence.latencies(tally(chance, 2000, 0.0, 0.8))
    gathered = Evidence()
    for n in range(20, limit + 1, 20):
        disagreed = gathered.disagreed + sum(chance.random() < differing for _ in range(20))
        old, new = tally(chance, 20, 0.0, 0.8), tally(chance, 20, failing, 0.8 * times)
        gathered = Evidence(
            grown(gathered.baseline, old), grown(gathered.candidate, new), compared=n, disagreed=disagreed
        )
        checks = evidence.checks(gathered, PLAN, measured)
        if (outcome := evidence.outcome(checks)) in ("passed", "failed"):
            return outcome, n, ", ".join(c.name for c in checks if c.outcome == outcome)
    return "inconclusive", limit, ""


def test_a_good_revision_passes_however_often_it_is_checked() -> None:
    ends = [trial(seed) for seed in range(40)]
    assert {e[0] for e in ends} == {"passed"}
    print("a good revision passes after", sorted(n for _, n, _ in ends))


@pytest.mark.parametrize(
    ("worse", "check", "within"),
    [
        ({"failing": 0.01}, "failed", 5000), ({"failing": 0.05}, "failed", 900), ({"failing": 0.5}, "failed", 80),
        ({"times": 2.0}, "latency", 120), ({"differing": 0.9}, "disagreed", 40),
    ],
)  # fmt: skip
def test_a_bad_revision_is_stopped_for_the_right_reason(worse: dict[str, float], check: str, within: int) -> None:
    """`within` is how many of the challenger's requests it takes in nine of ten releases."""
    ends = [trial(seed, **worse) for seed in range(30)]
    assert all(outcome == "failed" and check in why for outcome, _, why in ends), ends
    took = sorted(n for _, n, _ in ends)
    print(worse, "caught after", took[len(took) // 2], "in the middle,", took[26], "in nine of ten")
    assert took[26] <= within


def test_nothing_is_never_a_pass() -> None:
    checks = evidence.checks(Evidence(), PLAN, None)
    assert evidence.outcome(checks) == "inconclusive"
    assert {c.outcome for c in checks if c.name == "wrong"} == {"skipped"}


def test_metrics_that_cannot_be_read_are_an_error_and_no_pass() -> None:
    good = tally(random.Random(1), 5000, 0.0, 0.8)
    collected = Evidence(good, good, compared=5000, disagreed=10)
    measured = evidence.latencies(good)
    assert evidence.outcome(evidence.checks(collected, PLAN, measured)) == "passed"
    broken = Evidence(good, good, compared=5000, disagreed=10, errors=("the bento's page is gone",))
    assert evidence.outcome(evidence.checks(broken, PLAN, measured)) == "error"


def test_late_labels_stop_a_release_and_never_hold_it_up() -> None:
    good = tally(random.Random(1), 5000, 0.0, 0.8)
    outcome: Callable[..., str] = lambda labelled, wrong: evidence.outcome(  # noqa: E731
        evidence.checks(
            Evidence(good, good, compared=5000, disagreed=10, labelled=labelled, wrong=wrong),
            PLAN,
            evidence.latencies(good),
        )
    )
    assert outcome((5, 5), (0, 1)) == "passed"
    assert outcome((500, 500), (50, 250)) == "failed"


def test_of_two_unhealthy_revisions_the_worse_one_is_known() -> None:
    well, ill, worse = Tally(1000, 0), Tally(1000, 400), Tally(1000, 900)
    assert evidence.candidate_is_worse(Evidence(well, worse), PLAN) is None
    assert evidence.candidate_is_worse(Evidence(ill, worse), PLAN) is True
    assert evidence.candidate_is_worse(Evidence(worse, ill), PLAN) is False


def test_what_callers_alone_see_ends_a_release_however_well_ratchets_own_requests_went() -> None:
    """Twelve callers of twelve are failed; four thousand of Ratchet's own requests are not."""
    well = Tally(4000, 0)
    collected = Evidence(well, Tally(4012, 12), callers=(Tally(240, 0), Tally(12, 12)), compared=4000)
    (failed,) = [c for c in evidence.checks(collected, PLAN, None) if c.name == "failed"]
    assert failed.outcome == "failed"
    assert "12 of 12" in failed.detail
    (all_well,) = [c for c in evidence.checks(Evidence(well, well, compared=4000), PLAN, None) if c.name == "failed"]
    assert all_well.outcome == "passed"


def test_latencies_are_not_compared_if_the_revisions_carry_different_loads() -> None:
    good = tally(random.Random(1), 2000, 0.0, 0.8)
    checks = evidence.checks(Evidence(good, good, compared=2000), PLAN, evidence.latencies(good), equal_load=False)
    assert [c.outcome for c in checks if c.name.startswith("latency")] == ["skipped"] * 2


def test_latencies_are_measured_again_if_the_champion_itself_became_slower() -> None:
    measured = evidence.latencies(Tally(cumulative=((0.003, 120), (0.02, 200))))
    assert measured == evidence.Latencies(0.003, 0.02, 0.4)
    old, new = Tally(238, cumulative=((0.003, 38), (0.02, 238))), Tally(239, cumulative=((0.003, 0), (0.02, 239)))
    outcomes = {c.name: c.outcome for c in evidence.checks(Evidence(old, new, compared=400), PLAN, measured)}
    assert outcomes["latency p50"] == "inconclusive", "both are above its median, which says nothing about the new one"
    assert not evidence.stale(Tally(cumulative=((0.003, 140), (0.02, 238))), measured, PLAN)


def test_a_candidate_that_refuses_more_callers_than_the_champion_fails() -> None:

    def refused(old: Tally, new: Tally) -> str:
        """Beside many requests of Ratchet's own, which nobody refuses and which do not count."""
        collected = Evidence(Tally(5000), Tally(5000), callers=(old, new), compared=900)
        return next(c.outcome for c in evidence.checks(collected, PLAN, None) if c.name == "refused")

    assert refused(Tally(1000, 0, 100), Tally(1000, 0, 250)) == "failed"
    assert refused(Tally(3000, 0, 900), Tally(3000, 0, 890)) == "passed"
    assert refused(Tally(40, 0, 0), Tally(40, 0, 40)) == "failed", "every caller is refused"
    assert refused(Tally(40, 0, 12), Tally(400, 0, 120)) == "skipped", "too few to decide, and no reason to wait"
