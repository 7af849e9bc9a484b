"""What a training receives: the sides as the network reads them, the vocabulary, and initial weights if it has any."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import registry
from models.train import InitialWeights
from ratchet.errors import Refusal
from ratchet.lake import snapshot as snapshots
from ratchet.lake.snapshot import Examples
from ratchet.lake.split import Side
from ratchet.recipe import Recipe, Training
from ratchet.session import VOCABULARY, read_vocabulary
from ratchet.types import Snapshot

TENSORS = "ratchet.tensors"
"""A tag: SHA-256 over the named weights alone."""
KERAS = "data/model.keras"
"""The Keras model among a version's artifacts, where MLflow's flavour puts it."""


@dataclass(frozen=True)
class NetworkInputs:
    sides: Mapping[Side, Examples]
    vocabulary: tuple[str, ...]
    train: tuple[np.ndarray, np.ndarray]
    """Features [N, ...] and targets."""
    validation: tuple[np.ndarray, np.ndarray]
    initial: InitialWeights | None
    """The weights that `training.initial_weights` names; None for a cold start."""
    sample_weights: tuple[np.ndarray, np.ndarray] | None = None
    """How much the records of the training side [N] and of the validation side [M] count, 1 on average in training."""


def training_inputs(recipe: Recipe, training: Training, snapshot: Snapshot, scratch: Path) -> NetworkInputs:
    """Raises Refusal if a side is empty, the records are gone, or no version has the initial weights."""
    sides = snapshots.load(recipe, snapshot, training=training)
    for side, examples in sides.items():
        if not len(examples):
            raise Refusal(f"the {side} side has no record", recipe.name, "Ingest more, and without gaps")
    if training.initial_weights:
        vocabulary, initial = _warm_start(recipe, training.initial_weights, scratch)
    else:
        vocabulary, initial = recipe.contract.learn_vocabulary(sides["train"].inputs), None
    train, validation = (
        (recipe.contract.features(sides[side].inputs, vocabulary), sides[side].targets)
        for side in ("train", "validation")
    )
    return NetworkInputs(sides, vocabulary, train, validation, initial, _sample_weights(recipe, sides))


def _sample_weights(recipe: Recipe, sides: Mapping[Side, Examples]) -> tuple[np.ndarray, np.ndarray] | None:
    """Raises Refusal if no record of a side counts."""
    train, validation = sides["train"].sample_weights, sides["validation"].sample_weights
    if train is None or validation is None:
        return None
    for side, weights in (("train", train), ("validation", validation)):
        if not weights.any():
            raise Refusal(f"the weight of every record of the {side} side is 0", recipe.name, "Ingest some that count")
    return train / train.mean(), validation / train.mean()


def _warm_start(recipe: Recipe, weights: str, scratch: Path) -> tuple[tuple[str, ...], InitialWeights]:
    """The Keras model of the version with these weights, and its vocabulary, so that a token keeps its meaning."""
    version = registry.newest_with_tag(recipe.name, "ratchet.weights", weights)
    if version is None or TENSORS not in version.tags:
        raise Refusal(f"MLflow has no version with the weights {weights[:16]}", recipe.name, "Train without warm start")
    initial = InitialWeights(scratch / "initial.keras", version.tags[TENSORS])
    registry.download(registry.path_of(version, KERAS), initial.model)
    if not version.tags.get("ratchet.vocabulary"):
        return (), initial
    registry.download(registry.path_of(version, VOCABULARY), scratch / VOCABULARY)
    return read_vocabulary(scratch / VOCABULARY), initial
