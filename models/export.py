"""Exports a Keras model to ONNX with plain names, and compares the outputs. An export is made once and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.evaluation.calibration import MIN_PROBABILITY, apply_temperature
from ratchet.files import sha256
from ratchet.recipe import Recipe
from ratchet.session import Session, read_vocabulary, session, write_vocabulary

MODEL = "model.onnx"


@dataclass(frozen=True)
class Exported:
    """A model that needs no Keras: the ONNX file, with its vocabulary beside it."""

    path: Path
    contract: Contract

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return read_vocabulary(self.path)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs [N, width] for inputs [N, ...]. Raises Refusal if the inputs have another shape."""
        if not len(inputs) or inputs.shape[1:] != self.contract.shape:
            what = f"inputs of shape {list(inputs.shape)} do not fit a model of {self.contract.describe()}"
            raise Refusal(what, self.path.parent.name, "If the contract changed, give the recipe another name")
        return self.session()(inputs)

    def session(self, threads: int = 0, device: str = "cpu", memory_mb: int = 0) -> Session:
        """An open model; see `ratchet.session`."""
        return session(self.path, self.contract, threads, device, memory_mb)


def export(
    recipe: Recipe, model: Any, vocabulary: Sequence[str], inputs: np.ndarray, folder: Path, temperature: float = 1.0
) -> Exported:
    """Writes the model as ONNX with the vocabulary beside it; input and output are named after their kinds.

    Probabilities are scaled by the temperature inside the graph. Raises Refusal if the outputs for `inputs` differ
    from Keras's scaled outputs by more than a tenth of the tolerance.
    """
    import onnx

    path = folder / MODEL
    # An export also needs the model to have been called once.
    expected = model.predict(recipe.contract.features(inputs, vocabulary), verbose=0)
    expected = apply_temperature(expected, temperature) if temperature != 1.0 else expected
    model.export(str(path), format="onnx", verbose=False)
    graph = onnx.load(path)
    rename(graph, graph.graph.input[0].name, recipe.contract.kind)
    if temperature != 1.0:
        scale(graph, temperature)
    rename(graph, graph.graph.output[0].name, recipe.answers.output)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)
    if vocabulary:
        write_vocabulary(path, vocabulary)
    exported = Exported(path, recipe.contract)
    worst = float(np.abs(exported.predict(inputs) - expected).max())
    if not worst <= recipe.answers.tolerance / 10:
        what = f"the export's outputs differ by {worst:.2g}"
        raise Refusal(what, path.name, "Replace the layers that do not export")
    return exported


def digest(path: Path) -> str:
    """SHA-256 of a file; empty if there is none."""
    return sha256(path) if path.exists() else ""


def scale(graph: Any, temperature: float) -> None:
    """Appends the softmax of the logits divided by a temperature, like `calibration.apply_temperature`."""
    from onnx import helper, numpy_helper

    output = graph.graph.output[0]
    constants = {"minimum": np.float32(MIN_PROBABILITY), "temperature": np.float32(temperature)}
    graph.graph.initializer.extend(
        numpy_helper.from_array(value, f"scaled_{name}") for name, value in constants.items()
    )
    graph.graph.node.extend(
        [
            helper.make_node("Max", [output.name, "scaled_minimum"], ["scaled_positive"]),
            helper.make_node("Log", ["scaled_positive"], ["scaled_log"]),
            helper.make_node("Div", ["scaled_log", "scaled_temperature"], ["scaled_logits"]),
            helper.make_node("Softmax", ["scaled_logits"], ["scaled"], axis=-1),
        ]
    )
    output.name = "scaled"


def rename(graph: Any, old: str, new: str) -> None:
    """Gives a tensor of a graph another name."""
    if any(new in (*node.input, *node.output) for node in graph.graph.node) and old != new:
        raise Refusal(f"the export already uses the name {new!r}", old, "Rename that layer")
    for value in (*graph.graph.input, *graph.graph.output):
        if value.name == old:
            value.name = new
    for node in graph.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
