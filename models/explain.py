"""Some answers to look at, right and wrong, and what carried each. No raw input where the recipe shows none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.export import Exported
from ratchet.explain import explain
from ratchet.lake.snapshot import Split
from ratchet.recipe import Judging, Recipe
from ratchet.words import Explained

FEW = 4
"""Of each kind: right ones, wrong ones."""


def explained(recipe: Recipe, model: Exported, held: Split, mine: np.ndarray, trained: Split) -> tuple[Explained, ...]:
    """Of the benchmark `held`, answered with `mine` [N, width]; or of examples, and inputs made up like `trained` ones.

    The wrong ones are the worst: the surest of a wrong class, the forecasts that are farthest off.
    """
    if not recipe.show_inputs:
        return tuple(_strangers(recipe, model, trained))
    if recipe.classes:
        sure, right = mine.max(axis=1), mine.argmax(axis=1) == held.targets
        chosen = [("right", _apart(np.flatnonzero(right), sure, held.targets)),
                  ("wrong", _apart(np.flatnonzero(~right), sure, held.targets))]  # fmt: skip
    else:
        order = np.argsort(((mine - held.targets) ** 2).mean(axis=1), kind="stable")
        chosen = [("usual", _spread(order[len(order) // 2 :])), ("worst", _spread(order[::-1]))]
    return tuple(
        _one(recipe, model, kind, held.inputs[i : i + 1], held.targets[i]) for kind, where in chosen for i in where
    )


def _apart(where: np.ndarray, sure: np.ndarray, labels: np.ndarray) -> list[int]:
    """The surest of these records, each of another class."""
    found: dict[int, int] = {}
    for i in where[np.argsort(-sure[where], kind="stable")]:
        found.setdefault(int(labels[i]), int(i))
    return list(found.values())[:FEW]


def _spread(order: np.ndarray) -> list[int]:
    """The first of these windows, none of them next to another."""
    found: list[int] = []
    for i in map(int, order):
        if all(abs(i - j) > 24 for j in found):
            found.append(i)
    return found[: FEW // 2]


def _strangers(recipe: Recipe, model: Exported, trained: Split) -> list[Explained]:
    """The recipe's own examples, and inputs that are made up like those of each class."""
    asked = recipe.judging.examples if isinstance(recipe.judging, Judging) else {}
    examples = [(text, recipe.classes.index(wanted)) for text, wanted in asked.items()][:FEW]
    found = [_one(recipe, model, "example", recipe.contract.read([text]), number) for text, number in examples]
    chance = np.random.default_rng(0)
    for number in range(min(FEW, len(recipe.classes) or 1)):
        like = trained.inputs[trained.targets == number] if recipe.classes else trained.inputs
        found.append(_one(recipe, model, "made up", recipe.contract.made(1, chance, like), None))
    return found


def _one(recipe: Recipe, model: Exported, kind: str, one: np.ndarray, truth: Any) -> Explained:
    answer, parts = explain(recipe.contract, recipe.answers, model.asker(), one)
    if not recipe.classes:
        came = [] if truth is None else truth.tolist()
        told = {"window": one[0].tolist(), "forecast": answer.tolist(), "came": came}
        off = "" if truth is None else f"{np.sqrt(np.mean((answer - truth) ** 2)):.2f} off, as root mean square"
        return Explained(kind, json.dumps(_rounded(told)), off, "", parts)
    names: Sequence[str] = recipe.classes
    said = f"{names[int(answer.argmax())]} ({answer.max():.1%})"
    return Explained(kind, recipe.contract.show(one), said, "" if truth is None else names[int(truth)], parts)


def _rounded(told: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [round(float(v), 3) for v in values] for name, values in told.items()}
