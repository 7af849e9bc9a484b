"""A year in which everything happens once: what changes in each month, and what people do at its beginning."""

from collections.abc import Mapping

import numpy as np

from ratchet.errors import Refusal
from ratchet.recipe import Recipe
from replays import faults, scenarios
from replays.driver import Done, Driver
from replays.play import Act
from replays.stream import YEAR, Part, Stream, periods

NAME = "year"
MONTHS = 12
_MONTH = YEAR / MONTHS
_FLOOD = 5
"""How many times as many requests come in the month of poisoned labels."""


def _withdraw(driver: Driver) -> Done:
    return driver.withdraw_newest("its labels were poisoned")


ACTS: Mapping[int, Act] = {
    1: Act("a person retrains", Driver.loop),
    7: Act("a person withdraws the poisoned batch", _withdraw),
    8: faults.act(faults.SLOW),
    9: faults.act(faults.FAILING),
}
"""By the number of the month, counted from 0."""
BENIGN, HARMFUL, POISONED = 2, 3, 6
"""The month of the benign change; the first of the harmful one, which stays; and that of the poisoned labels."""


def stream(recipe: Recipe, whole: Stream, seed: int) -> Stream:
    """A year of twelve months from these records. Raises Refusal for a kind or a task that has no such year."""
    chance = np.random.default_rng(seed)
    benign, harmful = (scenarios.in_a_year(effect, recipe) for effect in ("benign", "harmful"))
    scenarios.require_classes(recipe, whole)
    weights = np.ones(MONTHS)
    weights[POISONED] = _FLOOD
    bounds = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    begins = whole.at[0]
    months = []
    for month in range(MONTHS):
        rows = np.arange(*(bounds[month : month + 2] * len(whole)).astype(int))
        first = 0.5 if month else 0.0  # clearly after the end of the month before
        at = begins + _MONTH * (month + np.maximum(np.arange(len(rows)), first) / len(rows))
        part = whole.part(rows).moved_to(at)
        if month == BENIGN:
            part = benign.change(recipe, part, chance)
        if month >= HARMFUL and month != POISONED:  # a flood of what everybody knows, or the benchmark could not tell
            part = harmful.change(recipe, part, chance)
        if month == POISONED:
            part = _poisoned(recipe, part)
        months.append(part)
    result = months[0]
    for part in months[1:]:
        result = result.followed_by(part)
    return result


def marks(recipe: Recipe, records: Stream) -> tuple[tuple[float, str], ...]:
    """What changes in a year and when, for people."""
    benign, harmful = (scenarios.in_a_year(effect, recipe).what for effect in ("benign", "harmful"))
    texts = {
        BENIGN: f"for a month: {benign}",
        HARMFUL: f"from here on: {harmful}",
        POISONED: "for a month: a flood of requests without that change, and every label that comes back is wrong",
    }
    return tuple((float(records.at[0]) + month * _MONTH, text) for month, text in texts.items())


def months(recipe: Recipe, records: Stream) -> list[Part]:
    """What is sent in each month. Raises Refusal if in one of them nothing is."""
    parts = periods(records, _MONTH)
    if len(parts) != MONTHS:
        raise Refusal(f"{len(records)} records are too few for {MONTHS} months", recipe.name, "Send more (`--rows`)")
    return parts


def _poisoned(recipe: Recipe, part: Stream) -> Stream:
    """Every label that comes back is that of the next class."""
    classes = len(recipe.answers.classes)
    return part.with_labels([(label + 1) % classes for label in part.labels])
