"""What a training is given: the sides as the network takes them, the words, and weights where it starts warm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import registry
from models.train import Start
from ratchet.errors import Refusal
from ratchet.lake import snapshot as snapshots
from ratchet.lake.snapshot import Split
from ratchet.lake.split import Side
from ratchet.recipe import Recipe, Training
from ratchet.session import VOCABULARY, read_words
from ratchet.words import Snapshot

TENSORS = "ratchet.tensors"
"""A tag: SHA-256 over the named weights alone."""
KERAS = "data/model.keras"
"""Where MLflow's flavour keeps the Keras model, among a version's artifacts."""


@dataclass(frozen=True)
class Ready:
    sides: Mapping[Side, Split]
    words: tuple[str, ...]
    train: tuple[np.ndarray, np.ndarray]
    """Features [N, ...] and targets."""
    held: tuple[np.ndarray, np.ndarray]
    start: Start | None
    """The weights that `training.start` names; None where training starts cold."""


def ready(recipe: Recipe, training: Training, snapshot: Snapshot, scratch: Path) -> Ready:
    """Raises Refusal where a side is empty, the records are gone, or nobody has the weights to start from."""
    sides = snapshots.load(recipe, snapshot)
    for side, part in sides.items():
        if not len(part):
            raise Refusal(f"no record stands on the {side} side", recipe.name, "Ingest more, and without gaps")
    if training.start:
        words, start = _warm(recipe, training.start, scratch)
    else:
        words, start = recipe.contract.learn(sides["train"].inputs), None
    pairs = [(recipe.contract.features(sides[s].inputs, words), sides[s].targets) for s in ("train", "validation")]
    return Ready(sides, words, pairs[0], pairs[1], start)


def _warm(recipe: Recipe, weights: str, scratch: Path) -> tuple[tuple[str, ...], Start]:
    """The words and the Keras model of the version with these weights; a token keeps its meaning."""
    found = registry.find(recipe.name, "ratchet.weights", weights)
    if found is None or TENSORS not in found.tags:
        raise Refusal(f"MLflow has no version with the weights {weights[:16]} to go on from", recipe.name, "Start cold")
    start = Start(scratch / "start.keras", found.tags[TENSORS])
    registry.download(registry.beside(found, KERAS), start.model)
    if not found.tags.get("ratchet.vocabulary"):
        return (), start
    registry.download(registry.beside(found, VOCABULARY), scratch / VOCABULARY)
    return read_words(scratch / VOCABULARY), start
