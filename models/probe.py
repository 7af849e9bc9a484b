"""Asks a candidate what the benchmark alone does not tell, and brings the judge the figures."""

from __future__ import annotations

import time

import numpy as np

from models.export import Exported
from models.judge import behaviour, calibration, cost, privacy, slices
from ratchet.lake.snapshot import Split
from ratchet.recipe import ForecastJudging, Judging, Recipe
from ratchet.words import Check

_MOST = 2000
"""Records that are asked again, changed; and of each side of the attack."""
_TIMED = 200


def probe(
    recipe: Recipe, asked: Judging, model: Exported, held: Split, trained: Split, mine: np.ndarray,
    champions: np.ndarray | None,
) -> list[Check]:  # fmt: skip
    """The checks beyond floors and champion: parts, calibration, behaviour, privacy, cost.

    `mine` and `champions` are answers [N, classes] to the benchmark `held`; `trained` is the training side.
    """
    labels = held.targets
    masks = slices.parts(asked.slices, held.inputs, labels, recipe.classes)
    theirs = None if champions is None else champions.argmax(axis=1) == labels
    return [
        *slices.checks(masks, mine.argmax(axis=1) == labels, theirs, asked.slice_margin),
        calibration.check(labels, mine, asked.calibration),
        *_behaviour(recipe, asked, model, held, mine),
        _membership(asked, model, held, trained, mine),
        *costs(asked, model, held.inputs),
    ]


def costs(asked: Judging | ForecastJudging, model: Exported, inputs: np.ndarray) -> list[Check]:
    """What one answer takes, alone and warm, and how large the model's files are."""
    took = []
    ask = model.asker(threads=1)
    for i in range(_TIMED + 20):
        at = i % len(inputs)
        started = time.perf_counter()
        ask(inputs[at : at + 1])
        took.append((time.perf_counter() - started) * 1000)
    size = sum(file.stat().st_size for file in model.path.parent.iterdir()) / 1e6
    return cost.checks(float(np.median(took[20:])), asked.milliseconds, size, asked.megabytes)


def _behaviour(recipe: Recipe, asked: Judging, model: Exported, held: Split, mine: np.ndarray) -> list[Check]:
    if not asked.stays and not asked.examples:
        return [Check("behaviour", None, None, "not asked", "the recipe names no change and no example")]
    part = held.inputs[:_MOST]
    found = [behaviour.check(name, mine[:_MOST], model.answers(behaviour.CHANGES[name](part)), least)
             for name, least in asked.stays.items()]  # fmt: skip
    for text, wanted in asked.examples.items():
        (answer,) = model.answers(recipe.contract.read([text]))
        found.append(behaviour.example(text, wanted, recipe.classes[int(answer.argmax())], float(answer.max())))
    return found


def _membership(asked: Judging, model: Exported, held: Split, trained: Split, mine: np.ndarray) -> Check:
    chance = np.random.default_rng(0)
    inside = chance.choice(len(trained), size=min(_MOST, len(trained)), replace=False)
    members = model.answers(trained.inputs[inside]) if asked.membership is not None else np.zeros((0, mine.shape[1]))
    return privacy.check(
        _likelihood(members, trained.targets[inside]), _likelihood(mine[:_MOST], held.targets[:_MOST]), asked.membership
    )


def _likelihood(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return answers[np.arange(len(answers)), labels[: len(answers)]]
