"""Detectors of a larger loss on simulated years: those of `expectations/`, and what others use, on the same streams."""

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from expectations import estimated, measured, triggers
from expectations.triggers import Past
from expectations.watch import limit_of
from ratchet.types import Finding, Promise, Watched
from ratchet.watch_plan import Watch


def streams(rate: float, count: int, labels: int, seed: int) -> np.ndarray:
    """Years [count, labels] of losses that are 0 or 1, with this mean."""
    return np.random.default_rng(seed).random((count, labels), np.float32) < rate


@dataclass(frozen=True)
class Setting:
    """What a detector knows of a revision."""

    promised: float
    limit: float
    threshold: float
    since: int = 0
    """The label before which an alarm does not count: the loss changes there."""


Detector = Callable[[np.ndarray, Setting], np.ndarray]
"""The number of the label [N] at which each of the years [N, L] alarms first; L if none does."""


def e_detector(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """Ratchet's: `expectations/measured.py` for arrays."""
    count, labels = losses.shape
    sums, first = np.zeros((count, len(measured.BETS))), np.full(count, labels)
    for number in range(labels):
        step = measured.BETS / setting.limit * (losses[:, number, None] - setting.limit)
        sums = np.minimum((1 + sums) * (1 + step), measured.MANY)
        first = np.where(
            (first == labels) & (number >= setting.since) & (sums.mean(axis=1) >= setting.threshold), number, first
        )
    return first


def index_rule(losses: np.ndarray, setting: Setting, above: float) -> np.ndarray:
    """The population stability index of each hundred answers, right and wrong, where more are wrong than promised."""
    means = losses[:, : losses.shape[1] // _WINDOW * _WINDOW].reshape(len(losses), -1, _WINDOW).mean(axis=2)
    means, promised = np.clip(means, 1e-4, 1 - 1e-4), setting.promised
    index = (means - promised) * np.log(means / promised) + (promised - means) * np.log((1 - means) / (1 - promised))
    return _first((index > above) & (means > promised), losses.shape[1], setting.since)


def always(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """After every hundred answers."""
    return _first(np.ones((len(losses), losses.shape[1] // _WINDOW), bool), losses.shape[1], setting.since)


_WINDOW = 100


def _first(alarms: np.ndarray, labels: int, since: int) -> np.ndarray:
    """From the alarms [N, W] of windows, of which those that end after `since` count."""
    alarms = alarms & (np.arange(alarms.shape[1]) >= since // _WINDOW)
    return np.where(alarms.any(axis=1), (alarms.argmax(axis=1) + 1) * _WINDOW - 1, labels)


def adwin(losses: np.ndarray, setting: Setting) -> np.ndarray:
    """river's, with its defaults, in an environment of its own."""
    uv = str(Path(sys.executable).with_name("uv"))
    options = ["--no-project", "--isolated", "--quiet", "--python", sys.executable, "--with", "river==0.26.1"]
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "losses.npy", Path(folder) / "first.npy"
        np.save(given, losses)
        script = str(Path(__file__).with_name("adwin.py"))
        subprocess.run(
            [uv, "run", *options, "python", "-P", script, str(given), str(result), str(setting.since)], check=True
        )
        first: np.ndarray = np.load(result)
    return first


RATCHET = "Ratchet's e-detector"
DETECTORS: dict[str, Detector] = {
    RATCHET: e_detector,
    "river's ADWIN": adwin,
    "stability index above 0.1": partial(index_rule, above=0.1),
    "stability index above 0.25": partial(index_rule, above=0.25),
    "always": always,
}


def retrainings(losses: np.ndarray, setting: Setting, first: int) -> int:
    """How many the loop starts in a year [L] whose first alarm is that of label `first`, with a look every week.

    No candidate is any better, so that the alarm stands as long as labels let it.
    """
    labels, past, week = len(losses), list[Past](), triggers.WEEK
    for look in range(1, _WEEKS + 1):
        known, now = labels * look // _WEEKS, look * week
        alarm = measured.alarm(losses[:known], setting.limit, setting.threshold) if known > first else None
        if alarm is None:
            continue
        harm = Finding("measured", "the loss is larger", "harmful", alarm.since / labels * _WEEKS * week, "")
        state = Watched("simulated", "v1", setting.promised, setting.limit, known, None, None, (harm,))
        possible = triggers.causes(state, Watch(), known, 0, (), past)
        for decision in triggers.decisions("simulated", Watch(), possible, past, known - alarm.since, now):
            if decision.start:
                cause = decision.cause
                past.append(Past(cause.id, cause.kind, now, now, now, "rejected", "simulated", attempts=1))
    return len(past)


_WEEKS, _BINS, BENCHMARK = 52, 10, 1000


def estimates(years: int, windows: int, promised: float, at_limit: bool, seed: int) -> np.ndarray:
    """Whether the estimate of `expectations/estimated.py` is above the limit [years] in any of so many windows.

    The certainties are calibrated. Each year has a promise of its own, from a benchmark of 1,000 records. With
    `at_limit` less certain answers are so frequent that the loss is at the limit.
    """
    chance, centres = np.random.default_rng(seed), np.linspace(0.05, 0.95, _BINS)
    truth = np.clip(0.5 * (1 - centres) ** 1.5, 0.001, 1)
    fired = np.zeros(years, bool)
    for year in range(years):
        shares = _tilted(truth, promised)
        counts = np.maximum(chance.multinomial(BENCHMARK, shares), 1)
        losses = chance.binomial(counts, truth) / counts
        loss = float(counts @ losses / counts.sum())
        deviation = math.sqrt(loss * (1 - loss))
        limit = limit_of(loss, deviation, BENCHMARK, Watch().tolerance)
        shares = _tilted(truth, limit) if at_limit else shares
        promise = Promise(
            loss, deviation, BENCHMARK, 1.0, tuple(centres), tuple(losses), tuple(map(int, counts)), (), {}
        )
        for own in chance.multinomial(Watch().window, shares, windows):
            if estimated.level(promise, np.repeat(centres, own)).low > limit:
                fired[year] = True
                break
    return fired


def _tilted(losses: np.ndarray, mean: float) -> np.ndarray:
    """Shares of bins with these losses [K], exponentially tilted so that their mean is this one."""
    low, high = -100.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        weights = np.exp(middle * (losses - losses.max() if middle > 0 else losses))
        shares: np.ndarray = weights / weights.sum()
        low, high = (middle, high) if shares @ losses < mean else (low, middle)
    return shares
