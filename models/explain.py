"""Some answers to look at, right and wrong, and what carried each. No raw input where the recipe shows none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models import registry
from models.export import Exported
from ratchet.explain import Part, explain
from ratchet.files import FORMAT
from ratchet.lake.snapshot import Split
from ratchet.recipe import Judging, Recipe
from ratchet.words import Candidate

Ask = Callable[[np.ndarray], np.ndarray]
FEW = 4
"""Of each kind: right ones, wrong ones."""
KEPT = "explained.json"
"""Among a version's artifacts."""


@dataclass(frozen=True)
class Explained:
    """One answer to look at, and what carried it."""

    kind: str
    """`right`, `wrong`, `usual`, `worst`; or `example`, `made up` where no raw input may be shown."""
    shown: str
    """A PNG as a data URI, a text, or JSON of a window, its forecast and what came."""
    answer: str
    truth: str
    """Empty where nobody knows."""
    parts: tuple[Part, ...]


def keep(candidate: Candidate, found: tuple[Explained, ...]) -> None:
    told = {"format": FORMAT, "explained": [asdict(one) for one in found]}
    registry.upload(registry.beside(candidate, KEPT), json.dumps(told))


def read(candidate: Candidate) -> list[dict[str, Any]]:
    """As `keep` was given them; none of a version that was judged before there were any."""
    path = registry.beside(candidate, KEPT)
    return list(registry.read_json(path)["explained"]) if registry.has(path) else []


def explained(recipe: Recipe, model: Exported, held: Split, mine: np.ndarray, trained: Split) -> tuple[Explained, ...]:
    """Of the benchmark `held`, answered with `mine` [N, width]; or of examples, and inputs made up like `trained` ones.

    The wrong ones are the worst: the surest of a wrong class, the forecasts that are farthest off.
    """
    ask = model.asker()
    if not recipe.show_inputs:
        return tuple(_strangers(recipe, ask, trained))
    if recipe.classes:
        sure, right = mine.max(axis=1), mine.argmax(axis=1) == held.targets
        chosen = [("right", _apart(np.flatnonzero(right), sure, held.targets)),
                  ("wrong", _apart(np.flatnonzero(~right), sure, held.targets))]  # fmt: skip
    else:
        order = np.argsort(((mine - held.targets) ** 2).mean(axis=1), kind="stable")
        chosen = [
            ("usual", _spread(order[len(order) // 2 :], mine.shape[1])),
            ("worst", _spread(order[::-1], mine.shape[1])),
        ]
    return tuple(
        _one(recipe, ask, kind, held.inputs[i : i + 1], held.targets[i]) for kind, where in chosen for i in where
    )


def _apart(where: np.ndarray, sure: np.ndarray, labels: np.ndarray) -> list[int]:
    """The surest of these records, each of another class."""
    found: dict[int, int] = {}
    for i in where[np.argsort(-sure[where], kind="stable")]:
        found.setdefault(int(labels[i]), int(i))
    return list(found.values())[:FEW]


def _spread(order: np.ndarray, apart: int) -> list[int]:
    """The first of these windows, all of them so many steps apart."""
    found: list[int] = []
    for i in map(int, order):
        if all(abs(i - j) > apart for j in found):
            found.append(i)
    return found[: FEW // 2]


def _strangers(recipe: Recipe, ask: Ask, trained: Split) -> list[Explained]:
    """The recipe's own examples, and inputs that are made up like those of each class."""
    asked = recipe.judging.examples if isinstance(recipe.judging, Judging) else {}
    examples = [(text, recipe.classes.index(wanted)) for text, wanted in asked.items()][:FEW]
    found = [_one(recipe, ask, "example", recipe.contract.read([text]), number) for text, number in examples]
    chance = np.random.default_rng(0)
    for like in trained.by_class(len(recipe.classes))[:FEW]:
        found.append(_one(recipe, ask, "made up", recipe.contract.made(1, chance, like), None))
    return found


def _one(recipe: Recipe, ask: Ask, kind: str, one: np.ndarray, truth: Any) -> Explained:
    answer, parts = explain(recipe.contract, recipe.answers, ask, one)
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
