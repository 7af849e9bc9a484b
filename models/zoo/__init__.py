"""The families, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ratchet.errors import Refusal
from ratchet.recipe import Recipe


def network(recipe: Recipe) -> Any:
    """An uncompiled Keras model of the recipe: its own network, or its family's."""
    shape, classes = (*recipe.contract.shape, 1), len(recipe.classes)
    if recipe.network:
        return recipe.network(shape, classes)
    return family(recipe.training.family)(shape, classes, **recipe.training.parameters)


def family(name: str) -> Callable[..., Any]:
    if name == "cnn":
        from models.zoo.cnn import cnn

        return cnn
    raise Refusal("there is no such family", name, "Known are: cnn")
