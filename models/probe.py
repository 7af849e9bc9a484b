"""Asks a candidate what the benchmark alone does not tell, and brings the judge the figures."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from models.export import Exported
from models.judge import behaviour, calibration, cost, privacy, slices
from ratchet.lake.snapshot import Split
from ratchet.lake.split import Side
from ratchet.recipe import ForecastJudging, Judging, Recipe
from ratchet.words import Check

_MOST = 2000
"""Records that are asked again, changed; and of each side of the attack."""
_TIMED = 100


def probe(
    recipe: Recipe, asked: Judging, model: Exported, held: Split, sides: Mapping[Side, Split], mine: np.ndarray,
    champions: np.ndarray | None,
) -> list[Check]:  # fmt: skip
    """The checks beyond floors and champion: parts, calibration, behaviour, privacy, cost.

    `mine` and `champions` are answers [N, classes] to the benchmark `held`; `sides` are of the candidate's snapshot.
    """
    labels = held.targets
    masks = slices.parts(asked.slices, held.inputs, labels, recipe.classes)
    theirs = None if champions is None else champions.argmax(axis=1) == labels
    return [
        *slices.checks(masks, mine.argmax(axis=1) == labels, theirs, asked.slice_margin),
        calibration.check(labels, mine, asked.calibration),
        *_behaviour(recipe, asked, model, held, mine),
        _membership(asked, model, sides),
        *costs(asked, model, held.inputs),
    ]


def costs(asked: Judging | ForecastJudging, model: Exported, inputs: np.ndarray) -> list[Check]:
    """What one answer takes, alone and warm, and how large the model's files are."""
    size = sum(file.stat().st_size for file in model.path.parent.iterdir()) / 1e6
    return cost.checks(milliseconds(model, inputs), asked.milliseconds, size, asked.megabytes)


def milliseconds(model: Exported, inputs: np.ndarray) -> float:
    """The median of one answer alone on one thread, warm: the least of three, since others may be at work here."""
    ask, medians = model.asker(threads=1), []
    for _ in range(3):
        took = []
        for i in range(_TIMED):
            at = i % len(inputs)
            started = time.perf_counter()
            ask(inputs[at : at + 1])
            took.append((time.perf_counter() - started) * 1000)
        medians.append(float(np.median(took)))
    return min(medians)


def _behaviour(recipe: Recipe, asked: Judging, model: Exported, held: Split, mine: np.ndarray) -> list[Check]:
    if not asked.stays and not asked.examples:
        return [Check("behaviour", None, None, "not asked", "the recipe names no change and no example")]
    drawn = _drawn(len(held))
    part = held.inputs[drawn]
    found = [behaviour.check(name, mine[drawn], model.answers(behaviour.CHANGES[name](part)), least)
             for name, least in asked.stays.items()]  # fmt: skip
    for text, wanted in asked.examples.items():
        (answer,) = model.answers(recipe.contract.read([text]))
        found.append(behaviour.example(text, wanted, recipe.classes[int(answer.argmax())], float(answer.max())))
    return found


def _membership(asked: Judging, model: Exported, sides: Mapping[Side, Split]) -> Check:
    """Against the sides held out of the same snapshot: other data would be told apart by its age, too."""
    if asked.membership is None:
        return privacy.check(np.zeros(0), np.zeros(0), None)
    inside, outside = sides["train"], (sides["validation"], sides["test"])
    return privacy.check(
        _likelihood(model, inside), np.concatenate([_likelihood(model, side) for side in outside]), asked.membership
    )


def _likelihood(model: Exported, side: Split) -> np.ndarray:
    """What the model gives to the true label of some of the side's records, [M]."""
    drawn = _drawn(len(side))
    return model.answers(side.inputs[drawn])[np.arange(len(drawn)), side.targets[drawn]]


def _drawn(count: int) -> np.ndarray:
    """Numbers of up to `_MOST` records, drawn at random, and always the same."""
    return np.random.default_rng(0).permutation(count)[:_MOST]
