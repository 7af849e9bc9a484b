"""`make bench-guarantees`: whether what is promised of alarms and of releases holds, by simulation.

An alarm with a guarantee: in years in which nothing changes, at most one alarm a year; and the number of labels until a
larger loss is noticed. The detector of `expectations/measured.py` looks after every label; others see the same streams.

A release with a price: of many adversarial versions, hardly any costs more wrong answers than `releases/price.py` says.
Labels are late, steps take as long as chance will, and the check `wrong` of `releases/evidence.py` looks at every tick.
"""

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import gammaln

from expectations import measured
from ratchet.evaluation import proportion
from ratchet.recipe import ReleasePlan
from ratchet.watch_plan import Watch
from releases import evidence
from releases.price import Price, Traffic, price

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
    """[N] wrong answers until the check fails, if every label were there."""


Fault = Callable[[Moment, np.ndarray], np.ndarray]
"""The number of wrong answers [N] beyond the champion's rate, of so many [N] that the version gives."""

FAULTS: dict[str, Fault] = {
    "always, at some rate": lambda moment, count: count * moment.chance,
    "sleeps, then all": lambda moment, count: count * (moment.at > moment.chance),
    "grows": lambda moment, count: count * moment.chance * moment.at,
    "one slice in ten": lambda moment, count: count * 0.1 * moment.chance,
    "as many as the check lets pass": lambda moment, count: np.clip(moment.room, 0, count),
    "as many as that, then all": lambda moment, count: np.where(moment.at > moment.chance, count, moment.room).clip(
        0, count
    ),
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


def costs(plan: ReleasePlan, traffic: Traffic, fault: Fault, versions: int, seed: int) -> np.ndarray:
    """The wrong answers beyond the champion's rate [N] that each release costs until it ends or is over."""
    assert traffic.label_seconds is not None
    chance, alpha = np.random.default_rng(seed), evidence.alpha(plan)
    speeds = chance.random((versions, len(plan.steps)))
    ends = np.cumsum(np.hstack([speeds * plan.step_seconds, np.full((versions, 1), plan.bake_seconds)]), axis=1)
    shares = np.array([*(step.weight / 100 for step in plan.steps), 1.0, 0.0])
    mirrored = np.array([*(1 - step.weight / 100 for step in plan.steps), plan.bake_mirror / 100, 0.0])
    longest, late = len(plan.steps) * plan.step_seconds + plan.bake_seconds, round(traffic.label_seconds / TICK)
    per_tick = max(1, round(traffic.rate * TICK))
    drawn, wrong, given = chance.random(versions), np.zeros(versions), np.zeros(versions)
    pending: list[tuple[np.ndarray, ...]] = []
    seen = [np.zeros(versions) for _ in range(4)]  # wrong and labelled answers of the version, and of the champion
    is_over = np.zeros(versions, bool)
    for number in range(int(longest / TICK)):
        at = number * TICK
        phase = (at >= ends).sum(axis=1)
        is_over |= phase >= len(plan.steps) + 1
        count = np.where(is_over, 0, chance.binomial(per_tick, shares[phase]))
        old = np.where(is_over, 0, chance.binomial(per_tick, mirrored[phase]))
        limit = np.minimum(1.0, upper(seen[2], seen[3], alpha) + plan.wrong.tolerance)
        beyond = np.minimum(
            count, np.round(fault(Moment(at / longest, drawn, _room(wrong, given, limit, alpha)), count))
        )
        new_wrong = beyond + chance.binomial((count - beyond).astype(int), traffic.wrong)
        wrong, given = wrong + new_wrong, given + count
        pending.append((new_wrong, count, chance.binomial(old, traffic.wrong), old))
        if number >= late:
            seen = [total + part for total, part in zip(seen, pending[number - late], strict=True)]
        is_over |= fails((seen[0], seen[1]), limit, alpha)
    return wrong - given * traffic.wrong


def _room(wrong: np.ndarray, given: np.ndarray, limit: np.ndarray, alpha: float) -> np.ndarray:
    """Roughly how many more wrong answers the check lets pass once all labels are there: a normal bound."""
    return limit * given + np.sqrt(2 * given * limit * (1 - limit) * -math.log(alpha)) - wrong


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


def index_rule(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """The population stability index of each hundred answers, right and wrong, above 0.1."""
    means = losses[:, : losses.shape[1] // _WINDOW * _WINDOW].reshape(len(losses), -1, _WINDOW).mean(axis=2)
    means, promised = np.clip(means, 1e-4, 1 - 1e-4), setting.promised
    index = (means - promised) * np.log(means / promised) + (promised - means) * np.log((1 - means) / (1 - promised))
    return _first(index > _INDEX, losses.shape[1])


def always(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """After every hundred answers."""
    return np.full(len(losses), _WINDOW - 1)


_WINDOW, _INDEX = 100, 0.1


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
    "stability index above 0.1": index_rule,
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


def _line(traffic: Traffic, bound: Price, name: str, each: np.ndarray) -> str:
    broken = each > bound.wrong
    low, high = proportion.of_mean(broken.astype(float))
    conclusion = (
        "holds" if high <= 1 - bound.sure else "broken" if low > 1 - bound.sure else "holds, as far as can be seen"
    )
    largest = f"{each.mean():.0f} | {each.max():.0f} | {bound.wrong} | {bound.exposed}"
    return f"| {traffic.rate:g} | {traffic.label_seconds:g} | {name} | {largest} | {broken.mean():.4f} | {conclusion} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=2000, help="of each fault")
    options = parser.parse_args()
    shifts = " | ".join(f"{shift:+.2f}" for shift in _SHIFTS)
    print(f"| labels a year | detector | years with an alarm: as promised | exactly at the limit | {shifts} |")
    print(f"| --- | --- | --- | --- |{' --- |' * len(_SHIFTS)}", flush=True)
    for labels in (1000, 10_000):
        for line in _alarm_lines(options.years, labels, 0.1):
            print(line, flush=True)
    plan = ReleasePlan()
    print("\n| requests a second | labels after, s | fault | mean cost | largest | bound | exposed | above it | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for traffic in (Traffic(1, 60, 0.1), Traffic(1, 600, 0.1), Traffic(10, 60, 0.1)):
        bound = price(plan, traffic)
        for number, (name, fault) in enumerate(FAULTS.items()):
            print(_line(traffic, bound, name, costs(plan, traffic, fault, options.versions, number)), flush=True)


if __name__ == "__main__":
    main()
