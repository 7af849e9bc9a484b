"""Asks a candidate what the benchmark alone does not tell, and brings the judge the figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.export import Exported
from models.judge import behaviour, calibration, cost, fairness, leakage, privacy, slices
from models.measure import measured
from ratchet.lake.snapshot import Split
from ratchet.lake.split import Side
from ratchet.recipe import ForecastJudging, Judging, Recipe
from ratchet.series import SeriesContract
from ratchet.texts import TextContract
from ratchet.words import Check

_MOST = 2000
"""Records that are asked again, changed; and of each side of the attack."""


def probe(
    recipe: Recipe, asked: Judging, model: Exported, held: Split, sides: Mapping[Side, Split], mine: np.ndarray,
    champions: np.ndarray | None,
) -> list[Check]:  # fmt: skip
    """The checks beyond floors and champion: parts, calibration, behaviour, fairness, leakage, privacy, cost.

    `mine` and `champions` are answers [N, classes] to the benchmark `held`; `sides` are of the candidate's snapshot.
    """
    labels = held.targets
    masks = slices.parts(asked.slices, held.inputs, labels, recipe.classes)
    theirs = None if champions is None else champions.argmax(axis=1) == labels
    answered = mine.argmax(axis=1)
    return [
        *slices.checks(masks, mine.argmax(axis=1) == labels, theirs, asked.slice_margin),
        calibration.check(labels, mine, asked.calibration),
        *_behaviour(recipe, asked, model, held, mine),
        *fairness.checks(asked.fairness, recipe.groups, recipe.classes, labels, answered, held.groups),
        _duplicates(recipe, asked, held, sides["train"], answered == labels),
        leakage.noise(labels, mine, held.records, asked.disputed),
        _membership(asked, model, sides),
        *costs(asked, model, recipe.memory_mb),
    ]


def costs(asked: Judging | ForecastJudging, model: Exported, memory_mb: int) -> list[Check]:
    """What one answer takes, alone and warm, and how large the model's files are and the process that serves them."""
    took = measured(model)
    size = sum(file.stat().st_size for file in model.path.parent.iterdir()) / 1e6
    bounds = asked.milliseconds, size, asked.megabytes
    return cost.checks(took.milliseconds, *bounds, took.megabytes, memory_mb)


def _behaviour(recipe: Recipe, asked: Judging, model: Exported, held: Split, mine: np.ndarray) -> list[Check]:
    if not (asked.stays or asked.drifts or asked.raises or asked.examples):
        return [Check("behaviour", None, None, "not asked", "the recipe names no change and no example")]
    drawn = _drawn(len(held))
    part, before = held.inputs[drawn], mine[drawn]
    changed = {name: model.answers(behaviour.CHANGES[name](part)) for name in {**asked.stays, **asked.drifts}}
    found = [behaviour.check(name, before, changed[name], least) for name, least in asked.stays.items()]
    found += [
        behaviour.drift(name, held.targets[drawn], before, changed[name], most) for name, most in asked.drifts.items()
    ]
    longest = recipe.contract.longest if isinstance(recipe.contract, TextContract) else 0
    for added, wanted in asked.raises.items():
        after = model.answers(recipe.contract.read([f"{added} {text}"[:longest] for text in part]))
        column = recipe.classes.index(wanted)
        found.append(behaviour.raised(added, wanted, before[:, column], after[:, column]))
    for text, wanted in asked.examples.items():
        (answer,) = model.answers(recipe.contract.read([text]))
        found.append(behaviour.example(text, wanted, recipe.classes[int(answer.argmax())], float(answer.max())))
    return found


def _duplicates(recipe: Recipe, asked: Judging, held: Split, trained: Split, right: np.ndarray) -> Check:
    if asked.near_duplicates is None:
        return leakage.duplicates(np.zeros(1, bool), right, None)
    drawn = _drawn(len(held))
    near = leakage.NEAR[recipe.contract.kind](held.inputs[drawn], trained.inputs)
    return leakage.duplicates(near, right[drawn], asked.near_duplicates)


def follows(recipe: Recipe, asked: ForecastJudging, model: Exported, inputs: np.ndarray, mine: np.ndarray) -> Check:
    """Whether forecasts [N, horizon] lie higher where their windows [N, window] all do, by a twentieth of the range."""
    contract = recipe.contract
    assert isinstance(contract, SeriesContract)
    if asked.follows is None:
        return Check("follows the level", None, None, "not asked", "the recipe does not ask for it")
    by = (contract.high - contract.low) / 20
    room = inputs.max(axis=1) + by <= contract.high
    if not room.any():
        return Check("follows the level", None, asked.follows, "inconclusive", "no window has room above it")
    after = model.answers((inputs[room] + by).astype(inputs.dtype))
    return behaviour.follows(mine[room], after, by, asked.follows)


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
