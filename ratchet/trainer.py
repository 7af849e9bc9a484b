"""A trainer of one's own: a function of the training data that ends in an ONNX file, whatever it trains with.

A recipe names it as `train="package.module:function"`. It runs in a process of its own, which needs this file and NumPy
beside its own libraries: `python -m ratchet.trainer JOB`.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

_PARITY, _RESULT = "outputs.npy", "result.json"


@dataclass(frozen=True)
class Side:
    """The records of one side."""

    inputs: np.ndarray
    """Inputs [N, ...] as the contract has them: a structured array for a table, of which pandas makes a frame.

    A value of a series that is missing is NaN.
    """
    features: np.ndarray
    """The same as a network receives them, [N, ...]."""
    targets: np.ndarray
    """The numbers of classes [N], or values [N, width]."""
    sample_weights: np.ndarray | None = None
    """How much each record [N] counts, 1 on average on the training side; None if all count alike."""


@dataclass(frozen=True)
class TrainingInputs:
    train: Side
    validation: Side
    classes: tuple[str, ...]
    """Their names; empty if answers are numbers."""
    loss: str
    """The loss that is to be small, by the name of Keras's class, such as `MeanAbsoluteError`."""
    categories: tuple[int, ...]
    """Which of the columns of the features are places of categories."""


@dataclass(frozen=True)
class TrainingContext:
    seed: int
    folder: Path
    """For files of its own, the ONNX file among them."""
    checkpoints: Path
    """The same folder in every try, if the training is killed and called again."""
    deadline: float
    """When it is stopped, in seconds after 1970."""
    parameters: Mapping[str, int | float]
    """Those of the recipe's `Training`."""
    epochs: int
    batch_size: int
    learning_rate: float

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs metrics to MLflow and to the flow's log; `val_` begins the name of one on the validation side."""
        print(
            json.dumps({"step": step, "metrics": {name: float(value) for name, value in metrics.items()}}), flush=True
        )

    def expect(self, outputs: np.ndarray) -> None:
        """Keeps the framework's own outputs [N, width] for the validation side; those of the file must equal them."""
        np.save(self.folder / _PARITY, np.asarray(outputs, np.float32))


def write(folder: Path, train: Side, validation: Side, job: Mapping[str, Any]) -> Path:
    """Writes what such a process reads into an empty folder; returns the path of its job."""
    folder.mkdir(parents=True)
    for name, side in (("train", train), ("validation", validation)):
        texts = side.inputs.dtype == object
        inputs = np.zeros(0) if texts else side.inputs
        arrays: dict[str, Any] = {"inputs": inputs, "features": side.features, "targets": side.targets}
        if side.sample_weights is not None:
            arrays["sample_weights"] = side.sample_weights
        np.savez(folder / f"{name}.npz", **arrays)
        if texts:
            (folder / f"{name}.json").write_text(json.dumps(side.inputs.tolist()), encoding="utf-8")
    path = folder / "job.json"
    path.write_text(json.dumps({**job, "folder": str(folder)}), encoding="utf-8")
    return path


def result(folder: Path) -> Path | None:
    """The path that the function returned; None if it did not."""
    path = folder / _RESULT
    return folder / json.loads(path.read_text(encoding="utf-8"))["onnx"] if path.exists() else None


def expected(folder: Path) -> np.ndarray | None:
    """What the trainer said its outputs are, or None."""
    path = folder / _PARITY
    return np.load(path, allow_pickle=False) if path.exists() else None


def _side(folder: Path, name: str) -> Side:
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        side = Side(arrays["inputs"], arrays["features"], arrays["targets"], arrays.get("sample_weights"))
    texts = folder / f"{name}.json"
    if not texts.exists():
        return side
    inputs = np.array(json.loads(texts.read_text(encoding="utf-8")), object)
    return replace(side, inputs=inputs)


def _end_with_parent() -> None:
    """Standard input ends when the run that started this process does, however it ends: then so does all of it."""
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def _main(path: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads(path.read_text(encoding="utf-8"))
    folder = Path(job["folder"])
    sides = _side(folder, "train"), _side(folder, "validation")
    inputs = TrainingInputs(*sides, tuple(job["classes"]), job["loss"], tuple(job["categories"]))
    sizes = job["epochs"], job["batch_size"], job["learning_rate"]
    deadline = time.time() + job["seconds"]
    context = TrainingContext(job["seed"], folder, Path(job["checkpoints"]), deadline, job["parameters"], *sizes)
    module, _, name = job["train"].partition(":")
    onnx = getattr(importlib.import_module(module), name)(inputs, context)
    (folder / _RESULT).write_text(json.dumps({"onnx": str(onnx)}), encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
