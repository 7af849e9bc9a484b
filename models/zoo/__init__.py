"""The families of networks, by name."""

import importlib
from collections.abc import Callable
from typing import Any

from ratchet.errors import Refusal
from ratchet.recipe import FAMILIES, Recipe, Training


def network(recipe: Recipe, training: Training) -> Any:
    """An uncompiled Keras model: the recipe's own network, or the network of the family in `training`.

    Raises Refusal if the family does not accept this kind of input.
    """
    contract, width = recipe.contract, recipe.answers.width
    if recipe.network:
        return recipe.network(contract.features(contract.example()).shape[1:], width)
    return family(training.family)(contract, width, **training.parameters)


def family(name: str) -> Callable[..., Any]:
    """Its function of the contract, the number of outputs and a few parameters. Raises Refusal on an unknown name."""
    if name not in FAMILIES:
        raise Refusal("there is no such family", name, f"Choose one of: {', '.join(FAMILIES)}")
    function: Callable[..., Any] = getattr(importlib.import_module(f"models.zoo.{name}"), name)
    return function
