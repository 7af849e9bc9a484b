"""Keras to ONNX, with plain names and its answers compared. Made once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.judge.calibration import LEAST, scaled
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.recipe import Recipe
from ratchet.session import Session, read_words, session, write_words

MODEL = "model.onnx"


@dataclass(frozen=True)
class Exported:
    """What answers without Keras: the ONNX file, and beside it the words that the contract's features need."""

    path: Path
    contract: Contract

    @property
    def words(self) -> tuple[str, ...]:
        return read_words(self.path)

    def answers(self, inputs: np.ndarray) -> np.ndarray:
        """Answers [N, width] to inputs [N, ...] as the contract has them. Raises Refusal where they are others."""
        if not len(inputs) or inputs.shape[1:] != self.contract.shape:
            what = (
                f"inputs of shape {list(inputs.shape)} cannot be asked of a model that takes {self.contract.describe()}"
            )
            raise Refusal(what, self.path.parent.name, "Where the contract changed, give the recipe another name")
        return self.asker()(inputs)

    def asker(self, threads: int = 0, device: str = "cpu", memory_mb: int = 0) -> Session:
        """One that is kept; see `ratchet.session`."""
        return session(self.path, self.contract, threads, device, memory_mb)


def export(
    recipe: Recipe, model: Any, words: Sequence[str], inputs: np.ndarray, folder: Path, temperature: float = 1.0
) -> Exported:
    """Writes the model as ONNX, its input and output named after their kinds, and the vocabulary beside it.

    Its probabilities are scaled by the temperature, inside. Raises Refusal when its answers to `inputs` differ from
    Keras's, scaled, by more than a tenth of the answers' tolerance.
    """
    import onnx

    path = folder / MODEL
    # Also the call that an export needs to have happened.
    want = model.predict(recipe.contract.features(inputs, words), verbose=0)
    want = scaled(want, temperature) if temperature != 1.0 else want
    model.export(str(path), format="onnx", verbose=False)
    graph = onnx.load(path)
    _rename(graph, graph.graph.input[0].name, recipe.contract.kind)
    if temperature != 1.0:
        _scale(graph, temperature)
    _rename(graph, graph.graph.output[0].name, recipe.answers.output)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)
    if words:
        write_words(path, words)
    made = Exported(path, recipe.contract)
    worst = float(np.abs(made.answers(inputs) - want).max())
    if not worst <= recipe.answers.tolerance / 10:
        raise Refusal(
            f"the export answers differently by {worst:.2g}", path.name, "Change the layers that do not export"
        )
    return made


def digest(path: Path) -> str:
    """SHA-256 of a file that may not be there: empty where it is not."""
    return sha256(path) if path.exists() else ""


def _scale(graph: Any, temperature: float) -> None:
    """Puts the softmax of the logits over a temperature behind the output, like `calibration.scaled`."""
    from onnx import helper, numpy_helper

    output = graph.graph.output[0]
    constants = {"least": np.float32(LEAST), "temperature": np.float32(temperature)}
    graph.graph.initializer.extend(numpy_helper.from_array(v, f"scaled_{k}") for k, v in constants.items())
    graph.graph.node.extend([
        helper.make_node("Max", [output.name, "scaled_least"], ["scaled_positive"]),
        helper.make_node("Log", ["scaled_positive"], ["scaled_log"]),
        helper.make_node("Div", ["scaled_log", "scaled_temperature"], ["scaled_logits"]),
        helper.make_node("Softmax", ["scaled_logits"], ["scaled"], axis=-1),
    ])  # fmt: skip
    output.name = "scaled"


def _rename(graph: Any, old: str, new: str) -> None:
    if any(new in (*node.input, *node.output) for node in graph.graph.node) and old != new:
        raise Refusal(f"the export already uses the name {new!r}", old, "Rename that layer")
    for value in (*graph.graph.input, *graph.graph.output):
        if value.name == old:
            value.name = new
    for node in graph.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
