"""Is the candidate worse than the baseline? One sequential test for every check, valid at any number of looks. Pure.

Every check is a rate, so one test serves them all: the confidence sequence of the beta-binomial mixture (Robbins
1970, Ann. Math. Statist. 41:1397; Howard, Ramdas, McAuliffe, Sekhon 2021, Ann. Statist. 49:1055). For s bad ones
of n and the mixture Beta(1/2, 1/2),

    M_n(p) = B(1/2 + s, 1/2 + n - s) / (B(1/2, 1/2) p^s (1 - p)^(n - s))

is a martingale of mean 1 if p is the true rate. By Ville's inequality the rates with M_n(p) < 1/alpha contain the
true one at every n at once, with probability 1 - alpha.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, lgamma, log, log1p

from ratchet.recipe import Bound, ReleasePlan
from ratchet.types import Check, Outcome


@dataclass(frozen=True)
class Tally:
    """What one revision did: requests, those that failed or timed out, those answered with 4xx, and its latencies."""

    requests: int = 0
    failed: int = 0
    refused: int = 0
    cumulative: tuple[tuple[float, int], ...] = ()
    """(seconds, responses that took at most so long), rising; the last is at infinity."""

    @property
    def answered(self) -> int:
        return self.cumulative[-1][1] if self.cumulative else 0

    def slower(self, seconds: float) -> int:
        """Responses that took longer than `seconds`, one of the times in `cumulative`."""
        return self.answered - next((count for at, count in self.cumulative if at >= seconds), 0)


@dataclass(frozen=True)
class Evidence:
    """All that a step has gathered so far about both revisions."""

    baseline: Tally = Tally()
    candidate: Tally = Tally()
    callers: tuple[Tally, Tally] = (Tally(), Tally())
    """Of baseline and candidate: callers' requests alone, without Ratchet's own."""
    compared: int = 0
    disagreed: int = 0
    """Inputs that both revisions answered, and those that they answered differently."""
    labelled: tuple[int, int] = (0, 0)
    wrong: tuple[int, int] = (0, 0)
    """Of baseline and candidate: predictions whose label came back, and those that were wrong."""
    recorded: int = 0
    synthetic: int = 0
    """Ratchet's own requests to the candidate that were replayed, and those that were synthetic."""
    errors: tuple[str, ...] = ()
    """Metrics that could not be read."""


def log_evidence(bad: int, total: int, rate: float) -> float:
    """log M_n: how strongly the count contradicts this rate."""
    mixture = lgamma(0.5 + bad) + lgamma(0.5 + total - bad) - lgamma(1.0 + total) - 2 * lgamma(0.5)
    return mixture - bad * log(rate) - (total - bad) * log1p(-rate)


@lru_cache(8192)
def interval(bad: int, total: int, alpha: float) -> tuple[float, float]:
    """The interval of the true rate, valid at every count at once with probability 1 - alpha."""
    if total == 0:
        return 0.0, 1.0
    rate = bad / total

    def excluded(p: float) -> bool:
        return log_evidence(bad, total, p) >= -log(alpha)

    low = 0.0 if bad == 0 else _edge(excluded, 1e-15, rate)
    high = 1.0 if bad == total else _edge(excluded, 1 - 1e-15, rate)
    return low, high


def _edge(excluded: Callable[[float], bool], outside: float, inside: float) -> float:
    if not excluded(outside):
        return outside
    for _ in range(48):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excluded(middle) else (outside, middle)
    return outside


CHECKS = ("failed", "refused", "latency p50", "latency p99", "disagreed", "wrong")
_STALE = 0.25
"""How far the share of the baseline's responses above its median may move before the latencies are measured again."""


@dataclass(frozen=True)
class Latencies:
    """The baseline's p50 and p99 in seconds, as upper edges of its buckets, and its share of responses above p50."""

    p50: float
    p99: float
    above_p50: float
    resets: int = 0
    """How often they were measured again: each time the latency checks get half of the remaining error budget."""


def alpha(plan: ReleasePlan) -> float:
    """The alpha of one interval: `false_alarm` divided among steps, checks (`failed` twice), and two sides of each."""
    return plan.false_alarm / (2 * (len(CHECKS) + 1) * (len(plan.steps) + 1))


def latencies(baseline: Tally, minimum: int = 50, resets: int = 0) -> Latencies | None:
    """None before `minimum` responses."""
    if baseline.answered < minimum:
        return None
    p50, p99 = (
        next(at for at, count in baseline.cumulative if count >= quantile * baseline.answered)
        for quantile in (0.5, 0.99)
    )
    return Latencies(p50, p99, baseline.slower(p50) / baseline.answered, resets)


def stale(baseline: Tally, latencies: Latencies, plan: ReleasePlan) -> bool:
    """Whether the baseline itself is much slower or faster now than when its p50 was measured.

    The old p50 then no longer separates the two revisions: both are above it, or both below. The baseline alone decides
    this, so measuring again favours neither revision.
    """
    if latencies.p50 == inf:
        return False
    low, high = interval(baseline.slower(latencies.p50), baseline.answered, alpha(plan))
    return low > latencies.above_p50 + _STALE or high < latencies.above_p50 - _STALE


def checks(
    evidence: Evidence, plan: ReleasePlan, latencies: Latencies | None, equal_load: bool = True
) -> tuple[Check, ...]:
    """Each check's value with its confidence interval.

    `latencies` are the baseline's from before this evidence. `equal_load` says that the candidate carries no more load
    than the baseline, without which their latencies cannot be compared.
    """
    budget = alpha(plan)
    wrong_baseline, wrong_candidate = zip(evidence.wrong, evidence.labelled, strict=True)
    results = [
        _failures(evidence, plan, budget),
        _refusals(evidence, plan, budget),
        *_latency_checks(evidence, plan, latencies, equal_load, budget),
        _compare("disagreed", (evidence.disagreed, evidence.compared), None, plan.disagreed, budget),
        # Labels come late and rarely: they end a release as soon as they can, and it does not wait for them.
        _optional(_compare("wrong", wrong_candidate, wrong_baseline, plan.wrong, budget)),
    ]
    own = f"{evidence.recorded} recorded, {evidence.synthetic} synthetic"
    results.append(Check("Ratchet's own requests", None, None, "skipped", own))
    return (*results, *(Check("metrics", None, None, "error", error) for error in evidence.errors))


def _failures(evidence: Evidence, plan: ReleasePlan, budget: float) -> Check:
    """Of all requests; but failures of callers' requests count alone, however well Ratchet's own went."""
    pairs = (evidence.candidate, evidence.baseline), (evidence.callers[1], evidence.callers[0])
    everything, callers = (
        _compare("failed", (new.failed, new.requests), (old.failed, old.requests), plan.failed, budget)
        for new, old in pairs
    )
    if callers.outcome == "failed":
        return replace(callers, detail=f"{callers.detail}, of callers' requests")
    return everything


def _refusals(evidence: Evidence, plan: ReleasePlan, budget: float) -> Check:
    """Of callers' requests alone: Ratchet's own are never refused. They may be too few to decide anything."""
    old, new = evidence.callers
    pairs = (new.refused, new.requests), (old.refused, old.requests)
    return _optional(_compare("refused", *pairs, plan.refused, budget))


def _optional(check: Check) -> Check:
    """A check that need not become conclusive."""
    return replace(check, outcome="skipped") if check.outcome == "inconclusive" else check


def _latency_checks(
    evidence: Evidence, plan: ReleasePlan, latencies: Latencies | None, equal_load: bool, budget: float
) -> list[Check]:
    old, new = evidence.baseline, evidence.candidate
    limits = (latencies.p50, latencies.p99) if latencies else (inf, inf)
    results = []
    for name, bound, limit in zip(CHECKS[2:4], (plan.latency_p50, plan.latency_p99), limits, strict=True):
        if not equal_load:
            results.append(Check(name, None, None, "skipped", "the revisions carry different loads"))
        elif latencies is None or limit == inf:
            results.append(
                Check(name, None, None, "inconclusive", "the baseline has too few responses to compare with")
            )
        elif stale(old, latencies, plan):
            why = "the baseline's own latency changed, so it is measured again"
            results.append(Check(name, None, None, "inconclusive", why))
        else:
            share = budget / 2 ** (latencies.resets + 1)  # over all resets that may come, no more than the budget
            pairs = (new.slower(limit), new.answered), (old.slower(limit), old.answered)
            check = _compare(name, *pairs, bound, share)
            results.append(replace(check, detail=f"above {1000 * limit:.3g} ms: {check.detail}"))
    return results


def _compare(name: str, new: tuple[int, int], old: tuple[int, int] | None, bound: Bound, alpha: float) -> Check:
    low, high = interval(*new, alpha)
    old_low, old_high = interval(*old, alpha) if old else (0.0, 0.0)
    result: Outcome = "inconclusive"
    if low > old_high + bound.tolerance:
        result = "failed"
    elif high <= old_low + bound.margin:
        result = "passed"
    detail = f"{new[0]} of {new[1]}" + (f", baseline {old[0]} of {old[1]}" if old else "")
    value = new[0] / new[1] if new[1] else None
    return Check(name, value, old_high + bound.tolerance, result, detail, low, high)


def outcome(checks: Iterable[Check]) -> Outcome:
    """Of all checks: only `passed` advances a release, and only `failed` ends it."""
    outcomes = {check.outcome for check in checks}
    worst: Outcome
    for worst in ("failed", "error", "inconclusive"):
        if worst in outcomes:
            return worst
    return "passed"


def candidate_is_worse(evidence: Evidence, plan: ReleasePlan) -> bool | None:
    """If both revisions fail more than `plan.unhealthy`: whether the candidate fails more. None if not both do."""
    budget = alpha(plan)
    old, new = (interval(t.failed, t.requests, budget)[0] for t in (evidence.baseline, evidence.candidate))
    return new >= old if min(old, new) > plan.unhealthy else None
