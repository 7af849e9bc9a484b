"""`make bench-guarantees`: whether what is promised of alarms and of releases holds, by simulation.

An alarm with a guarantee: in years in which nothing changes, at most one retraining a year; and the number of labels
until a larger loss is noticed. The detector of `expectations/measured.py` looks after every label; others see the same
streams. The estimate of `expectations/estimated.py` looks at windows.

A release with a price: of many adversarial versions, hardly any costs more wrong answers than `releases/price.py` says.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks import detectors
from benchmarks.adversaries import FAULTS, costs
from benchmarks.detectors import BENCHMARK, DETECTORS, RATCHET, Setting, streams
from expectations import measured
from expectations.watch import limit_of
from ratchet.evaluation import proportion
from ratchet.recipe import ReleasePlan
from ratchet.watch_plan import Watch
from releases import evidence
from releases.price import Price, Traffic, price, uncertainty

_SHIFTS, _SHIFTED, _CALM, _SIMULATED = (0.05, 0.1, 0.2, 0.4), 500, 1000, 50
"""Shifts of the loss, years with each of them, the labels before, and years in which the loop is simulated, at most."""


def _alarm_lines(years: int, labels: int, promised: float) -> Iterator[str]:
    """Years without a change, and the delays of changes, of revisions whose promise comes from a benchmark of 1,000."""
    deviation = math.sqrt(promised * (1 - promised))
    limit = limit_of(promised, deviation, BENCHMARK, Watch().tolerance)
    setting = Setting(promised, limit, measured.threshold(labels))
    calm = {"as promised": streams(promised, years, labels, 0), "at the limit": streams(limit, years, labels, 0)}
    calm_first = streams(promised, _SHIFTED, _CALM, 2)
    shifted = [np.hstack([calm_first, streams(promised + shift, _SHIFTED, labels, 1)]) for shift in _SHIFTS]
    for name, detector in DETECTORS.items():
        shares = []
        for losses in calm.values():
            shares.append(_share(detector(losses, setting) < labels))
        delays = [_delay(detector(losses, replace(setting, since=_CALM)) - _CALM, labels) for losses in shifted]
        yield f"| {labels} | {name} | {' | '.join([*shares, *delays])} |"
    for name, losses in calm.items():
        yield f"\n{labels} labels a year, {name}: the loop starts {_retrainings(losses, setting)} retrainings a year"


def _retrainings(losses: np.ndarray, setting: Setting) -> str:
    """Their mean with its interval, from some of the years with an alarm."""
    first = DETECTORS[RATCHET](losses, setting)
    alarmed = np.flatnonzero(first < losses.shape[1])
    some = alarmed[:_SIMULATED]
    counts = np.array([detectors.retrainings(losses[year].astype(float), setting, int(first[year])) for year in some])
    share, mean = len(alarmed) / len(losses), float(counts.mean()) if len(some) else 0.0
    error = math.sqrt(share * (1 - share) / len(losses)) * mean
    error += share * float(counts.std()) / math.sqrt(len(some)) if len(some) else 0.0
    return f"{share * mean:.3f} ± {1.96 * error:.3f}"


def _share(fired: np.ndarray) -> str:
    low, high = proportion.of_mean(fired.astype(float))
    return f"{fired.mean():.4f} ({low:.4f} to {high:.4f})"


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
    parser.add_argument("--years", type=int, default=10_000, help="0 for none")
    parser.add_argument("--versions", type=int, default=2000, help="of each of six faults; 0 for none")
    options = parser.parse_args()
    if options.years:
        _simulate_years(options.years)
    if options.versions:
        _simulate_releases(options.versions)


def _simulate_years(years: int) -> None:
    shifts = " | ".join(f"{shift:+.2f}" for shift in _SHIFTS)
    print(f"| labels a year | detector | years with an alarm: as promised | exactly at the limit | {shifts} |")
    print(f"| --- | --- | --- | --- |{' --- |' * len(_SHIFTS)}", flush=True)
    for labels in (1000, 10_000):
        for line in _alarm_lines(years, labels, 0.1):
            print(line, flush=True)
    print("\n| windows a year | years with an estimate above the limit: as promised | exactly at the limit |")
    print("| --- | --- | --- |", flush=True)
    for windows in (1, 10, 100):
        fired = [detectors.estimates(years, windows, 0.1, at_limit, 0) for at_limit in (False, True)]
        print(f"| {windows} | {' | '.join(map(_share, fired))} |", flush=True)


def _simulate_releases(versions: int) -> None:
    plan = ReleasePlan()
    print("\n| release | answers a second | labels after, s | fault | mean cost | largest | bound | exposed |", end="")
    print(" above the bound | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for strategy, traffic in (("", _traffic(1, 60)), ("", _traffic(1, 600)), ("", _traffic(10, 60)),
                              ("blue_green", _traffic(1, 60))):  # fmt: skip
        followed = plan.with_strategy(strategy) if strategy else plan
        bound = price(followed, traffic)
        for number, (name, fault) in enumerate(FAULTS.items()):
            each = costs(followed, traffic, _WRONG, fault, versions, number)
            print(_line(strategy or "canary", traffic, bound, name, each), flush=True)


_WRONG, _LABELS = 0.1, 5000
"""The champion's rate of wrong answers, and the labels by which it is known."""


def _traffic(rate: float, label_seconds: float) -> Traffic:
    interval = evidence.interval(round(_WRONG * _LABELS), _LABELS, uncertainty(ReleasePlan()))
    return Traffic(rate, label_seconds, interval)


if __name__ == "__main__":
    main()
