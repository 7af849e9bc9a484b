"""Fits a network on a snapshot, seeded and resumable."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models import zoo
from ratchet import backbone as backbones
from ratchet.errors import Refusal
from ratchet.files import load, save
from ratchet.recipe import Recipe, Training
from ratchet.tasks import parts

VERSION = 3
"""Raise it when the same snapshot and parameters should give other weights."""

Epoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Fitted:
    model: Any
    history: tuple[Mapping[str, float], ...]
    """One mapping per epoch: loss and the recipe's metric, and both with the prefix `val_`."""
    seconds: float
    """Time of all epochs, including those before a kill."""
    weights: str
    tensors: str


@dataclass(frozen=True)
class InitialWeights:
    """The file of a Keras model, and the digest that its weights must have."""

    model: Path
    tensors: str


def fit(
    recipe: Recipe,
    training: Training,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    folder: Path,
    on_epoch: Epoch = lambda epoch, metrics: None,
    initial: InitialWeights | None = None,
    sample_weights: tuple[np.ndarray, np.ndarray] | None = None,
) -> Fitted:
    """Trains the network, or resumes after the last finished epoch in `folder`.

    `train` and `validation` are features [N, ...] and targets, as the recipe's task has them, which also has the loss.
    The same arguments give the same weights. `on_epoch` is called for every epoch, including those before a kill.
    `initial` holds the weights that `training.initial_weights` names, and `sample_weights` how much each record of
    the two sides counts in the loss; metrics count all alike. Raises Refusal if the loss is no longer finite, or the
    initial weights do not have their digest.
    """
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    history, before = _history(folder)
    keras.utils.clear_session()
    keras.utils.set_random_seed(training.seed)
    model = zoo.network(recipe, training)
    if initial:
        _take_over(model, initial, recipe.name)
    task = parts.training(recipe.answers.task)
    if not initial:
        task.adapt(model, train[1])
    _compile(model, recipe, training, frozen=max(len(history) - 1, 0) < training.frozen_epochs)
    started = time.monotonic()
    x, y = train
    for number, earlier in enumerate(history, 1):
        on_epoch(number, earlier)
    if history:
        model.load_weights(folder / f"epoch-{len(history)}.weights.h5")
        _load_state(model, folder / f"epoch-{len(history)}.npz")
    for epoch in range(len(history), training.epochs):
        if epoch and epoch == training.frozen_epochs:
            _compile(model, recipe, training, frozen=False)
        # Every epoch has an order of its own, so that a resumed run sees the same batches as an uninterrupted one.
        rng = np.random.default_rng([training.seed, epoch])
        order = rng.permutation(len(x))
        features = zoo.augment(recipe, training, x[order], rng)
        weights = sample_weights[0][order] if sample_weights else None
        held_out = (*validation, sample_weights[1]) if sample_weights else validation
        metrics = _epoch(model, (features, y[order], weights), held_out, training.batch_size)
        history.append(metrics)
        if not all(np.isfinite(v) for v in metrics.values()):
            what = f"the loss is no longer finite ({metrics['loss']}) after epoch {epoch + 1}"
            raise Refusal(what, recipe.name, "Lower the learning rate, or inspect the data")
        _save(model, folder, history, before + time.monotonic() - started)
        on_epoch(epoch + 1, metrics)
    seconds = (load(folder / "history.json") or {}).get("seconds", time.monotonic() - started)
    return Fitted(model, tuple(history), seconds, weights_digest(model), tensors_digest(model))


def _compile(model: Any, recipe: Recipe, training: Training, frozen: bool) -> None:
    """Makes the model trainable: all of it, or while it is frozen all but its backbone."""
    import keras

    task = parts.training(recipe.answers.task)
    loss, metric = getattr(keras.losses, task.loss(recipe.answers))(), recipe.answers.metric
    rate = training.learning_rate
    if training.frozen_epochs:
        backbone = next((layer for layer in model.layers if layer.name == backbones.NAME), None)
        if backbone is None:
            what = "the network has no backbone that could be frozen"
            raise Refusal(what, recipe.name, "Leave `frozen_epochs` out, or give `network=Backbone(...)`")
        backbone.trainable = not frozen
        for layer in backbones.normalizations(backbone):
            layer.trainable = False
        rate = rate if frozen else rate / 10
    # Sixteen steps per execution take a seventh less time and give the same weights.
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer=optimizer, loss=loss, metrics=[metric], steps_per_execution=16)
    model.optimizer.build(model.trainable_variables)


def _take_over(model: Any, initial: InitialWeights, recipe: str) -> None:
    """Sets the initial weights, which must fit the model and have their digest."""
    import keras

    try:
        model.set_weights(keras.models.load_model(initial.model, compile=False, safe_mode=True).get_weights())
    except (ValueError, TypeError, OSError) as error:
        why = str(error).splitlines()[0][:200]
        what = f"the champion's weights do not fit the network ({why})"
        raise Refusal(what, recipe, "Train without warm start") from error
    if tensors_digest(model) != initial.tensors:
        what = "the champion's weights in MLflow are not those that were trained"
        raise Refusal(what, recipe, "Train without warm start")


def _epoch(
    model: Any, train: tuple[np.ndarray, np.ndarray, np.ndarray | None], validation: tuple[np.ndarray, ...], batch: int
) -> dict[str, float]:
    x, y, sample_weights = train
    options = {"epochs": 1, "shuffle": False, "validation_batch_size": 256, "verbose": 0}
    result = model.fit(x, y, sample_weight=sample_weights, batch_size=batch, validation_data=validation, **options)
    return {name: float(values[0]) for name, values in result.history.items()}


def _history(folder: Path) -> tuple[list[Mapping[str, float]], float]:
    """The metrics of the finished epochs, and the seconds that they took."""
    content = load(folder / "history.json") or {"epochs": []}
    return list(content["epochs"]), float(content.get("seconds", 0.0))


def _save(model: Any, folder: Path, history: list[Mapping[str, float]], seconds: float) -> None:
    """Writes weights and optimizer of this epoch, then the history that names it; removes older files last."""
    n = len(history)
    model.save_weights(folder / f"epoch-{n}.weights.h5")
    part = folder / f".epoch-{n}.npz"
    np.savez(part, *[np.asarray(v) for v in _state(model)])
    part.replace(folder / f"epoch-{n}.npz")
    save(folder / "history.json", {"epochs": history, "seconds": seconds})
    for old in (folder / f"epoch-{n - 1}.weights.h5", folder / f"epoch-{n - 1}.npz"):
        old.unlink(missing_ok=True)


def _state(model: Any) -> list[Any]:
    """What a resumed training needs beside the weights: the optimizer's variables, and the seeds of dropout.

    Keras does not write the latter into a file of weights.
    """
    seeds = [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]
    return [*model.optimizer.variables, *seeds]


def _load_state(model: Any, path: Path) -> None:
    state = _state(model)
    with np.load(path, allow_pickle=False) as saved:
        if len(saved.files) == len(model.optimizer.variables):  # 0.1.0 kept no seeds
            state = model.optimizer.variables
        for variable, name in zip(state, saved.files, strict=True):
            variable.assign(saved[name])


def weights_digest(model: Any) -> str:
    """SHA-256 over the architecture, its compilation and every named weight: the model's identity."""
    return _digest(model, model.to_json().encode())


def tensors_digest(model: Any) -> str:
    """SHA-256 over every named weight alone, which a warm start takes over."""
    return _digest(model, b"")


def _digest(model: Any, head: bytes) -> str:
    digest = hashlib.sha256(head)
    for weight in model.weights:
        array = np.asarray(weight)
        digest.update(f"{weight.path}|{array.dtype}|{array.shape}|".encode() + array.tobytes())
    return digest.hexdigest()
