"""The families, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ratchet.errors import Refusal
from ratchet.recipe import FAMILIES, Recipe, Training


def network(recipe: Recipe, training: Training) -> Any:
    """An uncompiled Keras model: the recipe's own network, or that of the family which is to be trained."""
    shape, classes = (*recipe.contract.shape, 1), len(recipe.classes)
    if recipe.network:
        return recipe.network(shape, classes)
    return family(training.family)(shape, classes, **training.parameters)


def family(name: str) -> Callable[..., Any]:
    """Its function, of input shape, number of classes and a few parameters. Raises Refusal on another name."""
    if name not in FAMILIES:
        raise Refusal("there is no such family", name, f"Known are: {', '.join(FAMILIES)}")
    made: Callable[..., Any] = getattr(importlib.import_module(f"models.zoo.{name}"), name)
    return made
