"""`make bench-guarantees`: whether what is promised of alarms and of releases holds, by simulation.

An alarm with a guarantee: in years in which nothing changes, at most one alarm a year; and the number of labels until a
larger loss is noticed. The detector of `expectations/measured.py` looks after every label; others see the same streams.

A release with a price: of many adversarial versions, hardly any costs more wrong answers than `releases/price.py` says.
Labels are late; steps are as short or as long as they can be, or between; some versions know what the check will say;
the check `wrong` of `releases/evidence.py` looks at every tick.
"""

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import gammaln

from expectations import measured
from ratchet.evaluation import proportion
from ratchet.recipe import ReleasePlan
from ratchet.watch_plan import Watch
from releases import evidence
from releases.price import Price, Traffic, price, uncertainty

TICK = 5.0
"""Seconds between two looks at the evidence."""
_HALVINGS = 40


@dataclass(frozen=True)
class Moment:
    """What a fault may depend on."""

    at: float
    """The share of the longest possible release that is over."""
    chance: np.ndarray
    """[N] in 0..1, drawn once for each version."""
    room: np.ndarray
    """[N] more wrong answers with which the check would not fail, if every label were there now."""


Fault = Callable[[Moment, np.ndarray], np.ndarray]
"""The number of answers [N] that are wrong whatever comes, of so many [N] that the version gives; more is cut off."""

FAULTS: dict[str, Fault] = {
    "always, at some rate": lambda moment, count: count * moment.chance,
    "sleeps, then all": lambda moment, count: count * (moment.at > moment.chance),
    "grows": lambda moment, count: count * moment.chance * moment.at,
    "one slice in ten": lambda moment, count: count * 0.1 * moment.chance,
    "as many as the check lets pass": lambda moment, count: moment.room,
    "as many as that, then all": lambda moment, count: np.where(moment.at > moment.chance, count, moment.room),
}


def log_evidence(bad: np.ndarray, total: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """`evidence.log_evidence` for arrays [N]."""
    mixture = gammaln(0.5 + bad) + gammaln(0.5 + total - bad) - gammaln(1.0 + total) - 2 * math.lgamma(0.5)
    result: np.ndarray = mixture - bad * np.log(rate) - (total - bad) * np.log1p(-rate)
    return result


def upper(bad: np.ndarray, total: np.ndarray, alpha: float) -> np.ndarray:
    """The upper bounds of `evidence.interval` for arrays [N]."""
    outside, inside = np.full(len(bad), 1 - 1e-12), bad / np.maximum(total, 1)
    for _ in range(_HALVINGS):
        middle = np.clip((outside + inside) / 2, 1e-12, 1 - 1e-12)
        is_excluded = log_evidence(bad, total, middle) >= -math.log(alpha)
        outside, inside = np.where(is_excluded, middle, outside), np.where(is_excluded, inside, middle)
    return np.where(total > 0, outside, 1.0)


def fails(new: tuple[np.ndarray, np.ndarray], limit: np.ndarray, alpha: float) -> np.ndarray:
    """Whether the lower bound of a rate is above a limit, for arrays [N] of bad ones and totals."""
    bad, total = new
    rate = np.clip(limit, 1e-12, 1 - 1e-12)
    is_above = (bad > limit * total) & (limit < 1)
    return is_above & (log_evidence(bad, total, rate) >= -math.log(alpha))


def costs(plan: ReleasePlan, traffic: Traffic, wrong: float, fault: Fault, versions: int, seed: int) -> np.ndarray:
    """The wrong answers beyond the champion's rate [N] that each release costs until it ends or is over.

    The champion is wrong at the rate `wrong`. Mirrored requests, which nobody is served by, are all answered rightly.
    """
    assert traffic.label_seconds is not None
    chance, alpha = np.random.default_rng(seed), evidence.alpha(plan)
    speeds = chance.random((versions, len(plan.steps)))
    speeds[::3], speeds[1::3] = 0, np.round(speeds[1::3])  # each step as short as can be, or as short or as long
    ends = np.cumsum(np.hstack([speeds * plan.step_seconds, np.full((versions, 1), plan.bake_seconds)]), axis=1)
    shares = np.array([*(step.weight / 100 for step in plan.steps), 1.0, 0.0])
    mirrors = np.array([*(step.mirror / 100 for step in plan.steps), 0.0, 0.0])
    baselines = np.array([*(1 - step.weight / 100 for step in plan.steps), plan.bake_mirror / 100, 0.0])
    longest, late = len(plan.steps) * plan.step_seconds + plan.bake_seconds, round(traffic.label_seconds / TICK)
    per_tick = max(1, round(traffic.rate * TICK))
    drawn, bad, given, mirrored, old_bad, old = chance.random(versions), *(np.zeros(versions) for _ in range(5))
    pending: list[tuple[np.ndarray, ...]] = []
    seen = [np.zeros(versions) for _ in range(4)]  # wrong and labelled answers of the version, and of the champion
    is_over = np.zeros(versions, bool)
    for number in range(int(longest / TICK)):
        at = number * TICK
        phase = (at >= ends).sum(axis=1)
        is_over |= phase >= len(plan.steps) + 1
        count, unseen, by_champion = (
            np.where(is_over, 0, chance.binomial(per_tick, part[phase])) for part in (shares, mirrors, baselines)
        )
        bad_champion = chance.binomial(by_champion, wrong)
        given, mirrored, old, old_bad = given + count, mirrored + unseen, old + by_champion, old_bad + bad_champion
        # What the check will say of all answers so far, once their labels are there.
        room = most_wrong(given + mirrored, _limit(plan, old_bad, old), alpha) - bad
        beyond = np.clip(np.round(fault(Moment(at / longest, drawn, room), count)), 0, count)
        new_bad = beyond + chance.binomial((count - beyond).astype(int), wrong)
        bad = bad + new_bad
        pending.append((new_bad, count + unseen, bad_champion, by_champion))
        if number >= late:
            seen = [total + part for total, part in zip(seen, pending[number - late], strict=True)]
        limit = _limit(plan, seen[2], seen[3])
        is_over |= fails((seen[0], seen[1]), limit, alpha)
    return bad - given * wrong


def _limit(plan: ReleasePlan, bad: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The rate above which the version's must not be, by the champion's answers."""
    limit: np.ndarray = np.minimum(1.0, upper(bad, total, evidence.alpha(plan)) + plan.wrong.tolerance)
    return limit


def most_wrong(total: np.ndarray, limit: np.ndarray, alpha: float) -> np.ndarray:
    """`price.most_wrong` for arrays [N]."""
    low, high = np.floor(limit * total), total.astype(float)
    while (low < high).any():
        middle = np.ceil((low + high) / 2)
        is_above = fails((middle, total), limit, alpha)
        low, high = np.where(is_above | (low >= high), low, middle), np.where(is_above, middle - 1, high)
    return low


def streams(rate: float, count: int, labels: int, seed: int) -> np.ndarray:
    """Years [count, labels] of losses that are 0 or 1, with this mean."""
    return np.random.default_rng(seed).random((count, labels), np.float32) < rate


@dataclass(frozen=True)
class Setting:
    """What a detector knows of a revision."""

    promised: float
    limit: float
    threshold: float


Detector = Callable[[np.ndarray, Setting], np.ndarray]
"""The number of the label [N] at which each of the years [N, L] alarms first; L if none does."""


def e_detector(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """Ratchet's: `expectations/measured.py` for arrays."""
    count, labels = losses.shape
    sums, first = np.zeros((count, len(measured.BETS))), np.full(count, labels)
    for number in range(labels):
        step = measured.BETS / setting.limit * (losses[:, number, None] - setting.limit)
        sums = np.minimum((1 + sums) * (1 + step), measured.MANY)
        first = np.where((first == labels) & (sums.mean(axis=1) >= setting.threshold), number, first)
    return first


def index_rule(losses: np.ndarray, setting: Setting, above: float) -> np.ndarray:
    """The population stability index of each hundred answers, right and wrong, where more are wrong than promised."""
    means = losses[:, : losses.shape[1] // _WINDOW * _WINDOW].reshape(len(losses), -1, _WINDOW).mean(axis=2)
    means, promised = np.clip(means, 1e-4, 1 - 1e-4), setting.promised
    index = (means - promised) * np.log(means / promised) + (promised - means) * np.log((1 - means) / (1 - promised))
    return _first((index > above) & (means > promised), losses.shape[1])


def always(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """After every hundred answers."""
    return np.full(len(losses), _WINDOW - 1)


_WINDOW = 100


def _first(alarms: np.ndarray, labels: int) -> np.ndarray:
    """From the alarms [N, W] of windows."""
    return np.where(alarms.any(axis=1), (alarms.argmax(axis=1) + 1) * _WINDOW - 1, labels)


def adwin(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """river's, with its defaults, in an environment of its own."""
    uv = str(Path(sys.executable).with_name("uv"))
    options = ["--no-project", "--isolated", "--quiet", "--python", sys.executable, "--with", "river==0.26.1"]
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "losses.npy", Path(folder) / "first.npy"
        np.save(given, losses)
        script = str(Path(__file__).with_name("adwin.py"))
        subprocess.run([uv, "run", *options, "python", script, str(given), str(result)], check=True)
        first: np.ndarray = np.load(result)
    return first


DETECTORS: dict[str, Detector] = {
    "Ratchet's e-detector": e_detector,
    "river's ADWIN": adwin,
    "stability index above 0.1": partial(index_rule, above=0.1),
    "stability index above 0.25": partial(index_rule, above=0.25),
    "always": always,
}
_SHIFTS, _SHIFTED = (0.05, 0.1, 0.2, 0.4), 500


def _alarm_lines(years: int, labels: int, promised: float) -> Iterator[str]:
    """Years without a change, and the delays of changes, of revisions whose promise comes from a benchmark of 1,000."""
    deviation = math.sqrt(promised * (1 - promised) / 1000)
    limit = promised + 1.96 * deviation + Watch().tolerance
    setting = Setting(promised, limit, measured.threshold(labels))
    calm = {"as promised": streams(promised, years, labels, 0), "at the limit": streams(limit, years, labels, 0)}
    shifted = {shift: streams(promised + shift, _SHIFTED, labels, 1) for shift in _SHIFTS}
    for name, detector in DETECTORS.items():
        shares = []
        for losses in calm.values():
            fired = detector(losses, setting) < labels
            low, high = proportion.of_mean(fired.astype(float))
            shares.append(f"{fired.mean():.4f} ({low:.4f} to {high:.4f})")
        delays = [_delay(detector(losses, setting), labels) for losses in shifted.values()]
        yield f"| {labels} | {name} | {' | '.join([*shares, *delays])} |"


def _delay(first: np.ndarray, labels: int) -> str:
    quantiles = [f"{quantile:.0f}" if quantile < labels else "none" for quantile in np.quantile(first, [0.5, 0.9])]
    return " / ".join(quantiles)


def _line(strategy: str, traffic: Traffic, bound: Price, name: str, each: np.ndarray) -> str:
    broken = each > bound.wrong
    low, high = proportion.of_mean(broken.astype(float))
    conclusion = (
        "holds"
        if high <= 1 - bound.confidence
        else "broken"
        if low > 1 - bound.confidence
        else "holds, as far as can be seen"
    )
    largest = f"{each.mean():.0f} | {each.max():.0f} | {bound.wrong} | {bound.exposed}"
    sent = f"{strategy} | {traffic.rate:g} | {traffic.label_seconds:g}"
    return f"| {sent} | {name} | {largest} | {broken.mean():.4f} | {conclusion} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=10_000, help="of each fault")
    options = parser.parse_args()
    shifts = " | ".join(f"{shift:+.2f}" for shift in _SHIFTS)
    print(f"| labels a year | detector | years with an alarm: as promised | exactly at the limit | {shifts} |")
    print(f"| --- | --- | --- | --- |{' --- |' * len(_SHIFTS)}", flush=True)
    for labels in (1000, 10_000):
        for line in _alarm_lines(options.years, labels, 0.1):
            print(line, flush=True)
    plan = ReleasePlan()
    print("\n| release | answers a second | labels after, s | fault | mean cost | largest | bound | exposed |", end="")
    print(" above the bound | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for strategy, traffic in ((None, _traffic(1, 60)), (None, _traffic(1, 600)), (None, _traffic(10, 60)),
                              ("blue_green", _traffic(1, 60))):  # fmt: skip
        followed = plan.with_strategy(strategy) if strategy else plan
        bound = price(followed, traffic)
        for number, (name, fault) in enumerate(FAULTS.items()):
            each = costs(followed, traffic, _WRONG, fault, options.versions, number)
            print(_line(strategy or "canary", traffic, bound, name, each), flush=True)


_WRONG, _LABELS = 0.1, 5000
"""The champion's rate of wrong answers, and the labels by which it is known."""


def _traffic(rate: float, label_seconds: float) -> Traffic:
    interval = evidence.interval(round(_WRONG * _LABELS), _LABELS, uncertainty(ReleasePlan()))
    return Traffic(rate, label_seconds, interval)


if __name__ == "__main__":
    main()
