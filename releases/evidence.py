"""Is the new arm worse? One sequential test for every check, valid however often it is looked at. Pure.

Every check is a rate, so one test serves them all: the confidence sequence of the beta-binomial
mixture (Robbins 1970, Ann. Math. Statist. 41:1397; Howard, Ramdas, McAuliffe, Sekhon 2021, Ann.
Statist. 49:1055). With s bad ones in n and the mixture Beta(1/2, 1/2),

    M_n(p) = B(1/2 + s, 1/2 + n - s) / (B(1/2, 1/2) p^s (1 - p)^(n - s))

is a martingale of mean 1 where p is the true rate. By Ville's inequality the rates with
M_n(p) < 1/alpha then hold the true one at every n at once, with probability 1 - alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, lgamma, log, log1p

from ratchet.recipe import Bound, Releasing
from ratchet.words import Check, Outcome


@dataclass(frozen=True)
class Tally:
    """What one arm did: requests, those that failed or timed out, those that it refused as the caller's fault, and how
    many were answered within each time.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0
    within: tuple[tuple[float, int], ...] = ()
    """(seconds, answers that took at most so long), rising; the last is at infinity."""

    @property
    def answered(self) -> int:
        return self.within[-1][1] if self.within else 0

    def slower(self, seconds: float) -> int:
        """Answers that took longer than `seconds`, one of the times of `within`."""
        return self.answered - next((n for at, n in self.within if at >= seconds), 0)


@dataclass(frozen=True)
class Evidence:
    """All that a step has gathered so far about both arms."""

    champion: Tally = Tally()
    challenger: Tally = Tally()
    live: tuple[Tally, Tally] = (Tally(), Tally())
    """Of champion and challenger: what callers alone saw, without Ratchet's own requests."""
    compared: int = 0
    disagreed: int = 0
    """Inputs that both arms answered, and those that they answered differently."""
    labelled: tuple[int, int] = (0, 0)
    wrong: tuple[int, int] = (0, 0)
    """Of champion and challenger: answers whose label came back, and those that were wrong."""
    recorded: int = 0
    synthetic: int = 0
    """How many of the challenger's requests were replayed, and how many made up."""
    errors: tuple[str, ...] = ()
    """Figures that could not be read."""


def log_evidence(bad: int, of: int, rate: float) -> float:
    """log M_n: how strongly the count speaks against this rate."""
    mixture = lgamma(0.5 + bad) + lgamma(0.5 + of - bad) - lgamma(1.0 + of) - 2 * lgamma(0.5)
    return mixture - bad * log(rate) - (of - bad) * log1p(-rate)


@lru_cache(8192)
def interval(bad: int, of: int, alpha: float) -> tuple[float, float]:
    """Where the true rate lies, at every count at once but for `alpha`."""
    if of == 0:
        return 0.0, 1.0
    rate = bad / of

    def outside(p: float) -> bool:
        return log_evidence(bad, of, p) >= -log(alpha)

    return (0.0 if bad == 0 else _edge(outside, 1e-15, rate)), (1.0 if bad == of else _edge(outside, 1 - 1e-15, rate))


def _edge(outside: Callable[[float], bool], out: float, inside: float) -> float:
    if not outside(out):
        return out
    for _ in range(48):
        middle = (out + inside) / 2
        out, inside = (middle, inside) if outside(middle) else (out, middle)
    return out


CHECKS = ("failed", "refused", "slower than half", "slower than most", "disagreed", "wrong")


_STALE = 0.25
"""How far the share of the champion's answers that lie above its median may move before that is taken anew."""


@dataclass(frozen=True)
class Pace:
    """The champion's own p50 and p99 in seconds, as upper edges of its buckets, and the share of answers above p50."""

    half: float
    most: float
    above: float
    again: int = 0
    """How often it was taken anew before: each time the latencies get half of the chance of a false alarm."""


def alpha(plan: Releasing) -> float:
    """Each interval's share of the error budget: two a check, failures twice (all, callers'), at every step."""
    return plan.false_alarm / (2 * (len(CHECKS) + 1) * (len(plan.steps) + 1))


def pace(champion: Tally, least: int = 50, again: int = 0) -> Pace | None:
    """None before `least` answers."""
    if champion.answered < least:
        return None
    half, most = (next(at for at, n in champion.within if n >= q * champion.answered) for q in (0.5, 0.99))
    return Pace(half, most, champion.slower(half) / champion.answered, again)


def stale(champion: Tally, slow: Pace, plan: Releasing) -> bool:
    """Whether the champion itself is much slower or faster by now than when its p50 was taken.

    Then both arms are on the same side of it, whatever the challenger does. The champion alone decides
    it, so that starting anew does not favour either arm.
    """
    if slow.half == inf:
        return False
    low, high = interval(champion.slower(slow.half), champion.answered, alpha(plan))
    return low > slow.above + _STALE or high < slow.above - _STALE


def checks(evidence: Evidence, plan: Releasing, slow: Pace | None, even: bool = True) -> tuple[Check, ...]:
    """Each check's figure with its confidence interval.

    `slow` is the champion's pace from before these figures; `even` says that the challenger
    carries no more load than the champion, without which their latencies cannot be compared.
    """
    old, new, a = evidence.champion, evidence.challenger, alpha(plan)
    found = [_compare("failed", (new.failed, new.requests), (old.failed, old.requests), plan.failed, a)]
    mine, others = evidence.live[1], evidence.live[0]
    callers = _compare("failed", (mine.failed, mine.requests), (others.failed, others.requests), plan.failed, a)
    if callers.outcome == "fail":  # however many of Ratchet's own went well
        found = [replace(callers, detail=f"{callers.detail}, of callers' own")]
    # Ratchet's own requests are never refused, and dilute the arms differently. Callers alone may be too few to tell.
    no = _compare("refused", (mine.refused, mine.requests), (others.refused, others.requests), plan.refused, a)
    found.append(replace(no, outcome="not asked") if no.outcome == "inconclusive" else no)
    edges = (slow.half, slow.most) if slow else (inf, inf)
    for name, bound, edge in zip(CHECKS[2:4], (plan.slow_half, plan.slow_most), edges, strict=True):
        if not even:
            found.append(Check(name, None, None, "not asked", "the arms carry different loads"))
            continue
        if slow is None or edge == inf:
            found.append(Check(name, None, None, "inconclusive", "the champion answered too little to compare with"))
            continue
        if stale(old, slow, plan):
            found.append(Check(name, None, None, "inconclusive", "the champion's own speed changed: measured anew"))
            continue
        share = a / 2 ** (slow.again + 1)  # of all that may come: together no more than `a`
        told = _compare(name, (new.slower(edge), new.answered), (old.slower(edge), old.answered), bound, share)
        found.append(replace(told, detail=f"over {1000 * edge:.2g} ms: {told.detail}"))
    found.append(_compare("disagreed", (evidence.disagreed, evidence.compared), None, plan.disagreed, a))
    wrong = _compare("wrong", (evidence.wrong[1], evidence.labelled[1]), (evidence.wrong[0], evidence.labelled[0]),
                     plan.wrong, a)  # fmt: skip
    # Labels come late and seldom: they stop a release as soon as they can, and it does not wait for them.
    found.append(replace(wrong, outcome="not asked") if wrong.outcome == "inconclusive" else wrong)
    own = f"{evidence.recorded} recorded, {evidence.synthetic} synthetic"
    found.append(Check("Ratchet's own requests", None, None, "not asked", own))
    found += [Check("figures", None, None, "error", error) for error in evidence.errors]
    return tuple(found)


def _compare(name: str, new: tuple[int, int], old: tuple[int, int] | None, bound: Bound, alpha: float) -> Check:
    low, high = interval(*new, alpha)
    old_low, old_high = interval(*old, alpha) if old else (0.0, 0.0)
    outcome: Outcome = "inconclusive"
    if low > old_high + bound.tolerance:
        outcome = "fail"
    elif high <= old_low + bound.margin:
        outcome = "pass"
    detail = f"{new[0]} of {new[1]}" + (f", the champion {old[0]} of {old[1]}" if old else "")
    figure = new[0] / new[1] if new[1] else None
    return Check(name, figure, old_high + bound.tolerance, outcome, detail, low, high)


def outcome(found: Iterable[Check]) -> Outcome:
    """Of all checks: only `pass` advances a release, only `fail` ends it."""
    outcomes = {c.outcome for c in found}
    for worst in ("fail", "error", "inconclusive"):
        if worst in outcomes:
            return worst  # type: ignore[return-value]
    return "pass"


def sicker(evidence: Evidence, plan: Releasing) -> bool | None:
    """Where both arms fail more than `plan.sick`: whether the challenger is the sicker. None where not both do."""
    old, new, a = evidence.champion, evidence.challenger, alpha(plan)
    rates = [interval(t.failed, t.requests, a)[0] for t in (old, new)]
    return rates[1] >= rates[0] if min(rates) > plan.sick else None
