"""The families of networks, by name."""

import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ratchet import kinds
from ratchet.errors import Refusal
from ratchet.recipe import FAMILIES, Recipe, Training, families

TRAINERS = {"boosting": "models.zoo.boosting:train"}
"""The families that a function trains, which ends in an ONNX file; the others are networks in Keras."""


def trainer(recipe: Recipe, training: Training) -> str:
    """The function that trains it, as `module:function`; empty for a network in Keras."""
    return recipe.train or TRAINERS.get(training.family, "")


_AUGMENTED = ("resnet",)
"""The families that see other images in every epoch."""


def augment(recipe: Recipe, training: Training, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The features [N, ...] of one epoch, changed in ways that do not change what they show."""
    if recipe.network or training.family not in _AUGMENTED:
        return features
    changed: np.ndarray = kinds.part(recipe.contract.kind, "network").augment(features, rng)
    return changed


def network(recipe: Recipe, training: Training) -> Any:
    """An uncompiled Keras model: the recipe's own network, or the network of the family in `training`.

    The initial weights that Keras draws follow from `training.seed` alone. Raises Refusal if the family does not
    accept this kind of input.
    """
    contract, answers = recipe.contract, recipe.answers
    if not recipe.network and training.family not in (accepted := families(contract.kind, answers.task)):
        what = f"the family {training.family} does not accept {contract.kind} inputs, or does not learn {answers.task}"
        raise Refusal(what, recipe.name, f"Choose from: {', '.join(accepted)}")
    with _seeds_from(training.seed):
        if recipe.network:
            return recipe.network(contract.features(contract.example()).shape[1:], answers.width)
        try:
            return family(training.family)(contract, answers, **training.parameters)
        except (TypeError, ValueError) as error:
            if not training.parameters:
                raise
            what = f"the family {training.family} cannot be built with {dict(training.parameters)} ({error})"
            raise Refusal(what, recipe.name, "Correct the recipe's `training.parameters`") from error


@contextmanager
def _seeds_from(seed: int) -> Iterator[None]:
    """Keras draws the seeds of layers from Python's global generator, as threads of Prefect and MLflow do.

    Here it draws them from a generator of its own, which gives the same seeds if no other thread draws.
    """
    from keras.src.random import seed_generator

    shared, seed_generator.python_random = seed_generator.python_random, random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = shared


def family(name: str) -> Callable[..., Any]:
    """Its function of the contract, the answers and a few parameters. Raises Refusal on an unknown name."""
    if name not in FAMILIES or name in TRAINERS:
        networks = [family for family in FAMILIES if family not in TRAINERS]
        raise Refusal("there is no such network", name, f"Choose one of: {', '.join(networks)}")
    function: Callable[..., Any] = getattr(importlib.import_module(f"models.zoo.{name}"), name)
    return function
