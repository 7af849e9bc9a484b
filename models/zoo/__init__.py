"""The families of networks, by name."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ratchet.errors import Refusal
from ratchet.recipe import FAMILIES, Recipe, Training


def network(recipe: Recipe, training: Training) -> Any:
    """An uncompiled Keras model: the recipe's own network, or the network of the family in `training`.

    Its initial weights follow from `training.seed` alone. Without seeds of their own, its layers would take them from
    Python's global generator, from which threads of Prefect and MLflow draw at the same time.

    Raises Refusal if the family does not accept this kind of input, or Keras cannot build the network from its config.
    """
    contract, width = recipe.contract, recipe.answers.width
    if recipe.network:
        model = recipe.network(contract.features(contract.example()).shape[1:], width)
    else:
        model = family(training.family)(contract, width, **training.parameters)
    config = _with_seeds(model.get_config(), np.random.default_rng(training.seed))
    try:
        return type(model).from_config(config)
    except (TypeError, ValueError) as error:
        what = f"Keras cannot build the network from its config ({str(error).splitlines()[0]})"
        raise Refusal(
            what, recipe.name, "Register its own layers: `keras.saving.register_keras_serializable`"
        ) from error


def _with_seeds(config: Any, rng: np.random.Generator) -> Any:
    """A Keras config with a number in place of every seed that is None."""
    if isinstance(config, dict):
        return {
            name: int(rng.integers(1, 1 << 31)) if name == "seed" and value is None else _with_seeds(value, rng)
            for name, value in config.items()
        }
    return type(config)(_with_seeds(item, rng) for item in config) if isinstance(config, list | tuple) else config


def family(name: str) -> Callable[..., Any]:
    """Its function of the contract, the number of outputs and a few parameters. Raises Refusal on an unknown name."""
    if name not in FAMILIES:
        raise Refusal("there is no such family", name, f"Choose one of: {', '.join(FAMILIES)}")
    function: Callable[..., Any] = getattr(importlib.import_module(f"models.zoo.{name}"), name)
    return function
