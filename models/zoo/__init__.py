"""The families, by name, and the two ends that every network has: by the kind of input and of answer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ratchet.errors import Refusal
from ratchet.recipe import FAMILIES, Recipe, Training


def network(recipe: Recipe, training: Training) -> Any:
    """An uncompiled Keras model: the recipe's own network, or that of the family which is to be trained.

    Raises Refusal where the family takes no such input.
    """
    contract, width = recipe.contract, recipe.answers.width
    if recipe.network:
        return recipe.network(contract.features(contract.example()).shape[1:], width)
    return family(training.family)(contract, width, **training.parameters)


def family(name: str) -> Callable[..., Any]:
    """Its function, of the contract, the width of an answer and a few parameters. Raises Refusal on another name."""
    if name not in FAMILIES:
        raise Refusal("there is no such family", name, f"Known are: {', '.join(FAMILIES)}")
    made: Callable[..., Any] = getattr(importlib.import_module(f"models.zoo.{name}"), name)
    return made
