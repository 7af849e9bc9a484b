"""Fits a network on a snapshot, seeded and resumable, and tells how it goes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models import zoo
from ratchet.errors import Refusal
from ratchet.files import keep, kept
from ratchet.recipe import Recipe, Training

VERSION = 2
"""Raise it when the same snapshot and parameters should give other weights."""

Epoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Fitted:
    model: Any
    history: tuple[Mapping[str, float], ...]
    """One mapping an epoch: loss and the recipe's metric, and both with `val_` in front."""
    seconds: float
    """Of all epochs, those before a kill included."""
    weights: str
    tensors: str


@dataclass(frozen=True)
class Start:
    """A Keras model's file to go on from, and the digest that its weights must have."""

    model: Path
    tensors: str


def fit(
    recipe: Recipe,
    training: Training,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    folder: Path,
    tell: Epoch = lambda epoch, figures: None,
    start: Start | None = None,
) -> Fitted:
    """Trains from scratch, or goes on from the last finished epoch that `folder` holds.

    `train` and `validation` are inputs as the network takes them, and targets: labels [N], with cross-entropy
    for the loss, or values [N, horizon], with the mean squared error. The same arguments give the same weights.
    `tell` hears of every epoch, those done before a kill included. `start` has the weights that `training.start`
    names. Raises Refusal when the loss is no longer finite, or the model at `start` is another.
    """
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    history, before = _history(folder)
    keras.utils.clear_session()
    keras.utils.set_random_seed(training.seed)
    model = zoo.network(recipe, training)
    if start:
        _go_on(model, start, recipe.name)
    losses = {
        "accuracy": keras.losses.SparseCategoricalCrossentropy,
        "mean_squared_error": keras.losses.MeanSquaredError,
    }
    model.compile(
        optimizer=keras.optimizers.Adam(training.learning_rate),
        loss=losses[recipe.answers.metric](), metrics=[recipe.answers.metric],
        steps_per_execution=16,  # a seventh less time; the same weights
    )  # fmt: skip
    started = time.monotonic()
    x, y = train
    model.optimizer.build(model.trainable_variables)
    for number, figures in enumerate(history, 1):
        tell(number, figures)
    if history:
        model.load_weights(folder / f"epoch-{len(history)}.weights.h5")
        _load_optimizer(model, folder / f"epoch-{len(history)}.npz")
    for epoch in range(len(history), training.epochs):
        # An order of its own for every epoch, so that a resumed run sees what an unbroken one sees.
        order = np.random.default_rng([training.seed, epoch]).permutation(len(x))
        figures = _epoch(model, x[order], y[order], validation, training.batch_size)
        history.append(figures)
        if not all(np.isfinite(v) for v in figures.values()):
            raise Refusal(
                f"the loss is not finite any more ({figures['loss']}) after epoch {epoch + 1}",
                recipe.name,
                "Lower the learning rate, or look at the data",
            )
        _save(model, folder, history, before + time.monotonic() - started)
        tell(epoch + 1, figures)
    seconds = (kept(folder / "history.json") or {}).get("seconds", time.monotonic() - started)
    return Fitted(model, tuple(history), seconds, weights_digest(model), tensors_digest(model))


def _go_on(model: Any, start: Start, recipe: str) -> None:
    """Takes over the weights, which must be those that were named, of just this shape."""
    import keras

    try:
        model.set_weights(keras.models.load_model(start.model, compile=False, safe_mode=True).get_weights())
    except (ValueError, TypeError, OSError) as error:
        why = str(error).splitlines()[0][:200]
        raise Refusal(f"it cannot go on from the champion's weights ({why})", recipe, "Start cold") from error
    if tensors_digest(model) != start.tensors:
        raise Refusal("the champion's weights in MLflow are not those that were trained", recipe, "Start cold")


def _epoch(
    model: Any, x: np.ndarray, y: np.ndarray, held: tuple[np.ndarray, np.ndarray], batch: int
) -> dict[str, float]:
    told = model.fit(
        x, y, batch_size=batch, epochs=1, shuffle=False, validation_data=held, validation_batch_size=256, verbose=0
    )
    return {name: float(values[0]) for name, values in told.history.items()}


def _history(folder: Path) -> tuple[list[Mapping[str, float]], float]:
    """The figures of the epochs that are done, and the seconds that they took."""
    found = kept(folder / "history.json") or {"epochs": []}
    return list(found["epochs"]), float(found.get("seconds", 0.0))


def _save(model: Any, folder: Path, history: list[Mapping[str, float]], seconds: float) -> None:
    """Weights and optimizer of this epoch first, then the history that names it; older ones go last."""
    n = len(history)
    model.save_weights(folder / f"epoch-{n}.weights.h5")
    part = folder / f".epoch-{n}.npz"
    np.savez(part, *[np.asarray(v) for v in model.optimizer.variables])
    part.replace(folder / f"epoch-{n}.npz")
    keep(folder / "history.json", {"epochs": history, "seconds": seconds})
    for old in (folder / f"epoch-{n - 1}.weights.h5", folder / f"epoch-{n - 1}.npz"):
        old.unlink(missing_ok=True)


def _load_optimizer(model: Any, path: Path) -> None:
    with np.load(path, allow_pickle=False) as kept:
        for variable, name in zip(model.optimizer.variables, kept.files, strict=True):
            variable.assign(kept[name])


def weights_digest(model: Any) -> str:
    """SHA-256 over the architecture, how it was compiled and every named weight: the model's identity."""
    return _digest(model, model.to_json().encode())


def tensors_digest(model: Any) -> str:
    """SHA-256 over every named weight alone: what a warm start takes over."""
    return _digest(model, b"")


def _digest(model: Any, head: bytes) -> str:
    digest = hashlib.sha256(head)
    for weight in model.weights:
        array = np.asarray(weight)
        digest.update(f"{weight.path}|{array.dtype}|{array.shape}|".encode() + array.tobytes())
    return digest.hexdigest()
