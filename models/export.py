"""Keras to ONNX, with plain names and its answers compared. Made once and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.errors import Refusal

PARITY = 1e-4
"""Largest difference of a probability between Keras and the export."""


def export(model: Any, images: np.ndarray, path: Path) -> str:
    """Writes the model as ONNX with input `image` and output `probabilities`; returns the file's SHA-256.

    Raises Refusal when its answers to `images` [N, height, width, 1] differ by more than `PARITY`.
    """
    import onnx

    want = model.predict(images, verbose=0)  # also the call that an export needs to have happened
    model.export(str(path), format="onnx", verbose=False)
    graph = onnx.load(path)
    _rename(graph, graph.graph.input[0].name, "image")
    _rename(graph, graph.graph.output[0].name, "probabilities")
    onnx.checker.check_model(graph)
    onnx.save(graph, path)
    got = scores(path, images[..., 0])
    worst = float(np.abs(got - want).max())
    if not worst <= PARITY:
        raise Refusal(
            f"the export answers differently by {worst:.2g}", path.name, "Change the layers that do not export"
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scores(path: Path, images: np.ndarray, batch: int = 256) -> np.ndarray:
    """Probabilities [N, classes] of an exported model for images [N, height, width]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = (images[i : i + batch].astype(np.float32)[..., None] for i in range(0, len(images), batch))
    return np.concatenate([session.run(None, {"image": part})[0] for part in parts])


def _rename(graph: Any, old: str, new: str) -> None:
    if any(new in (*node.input, *node.output) for node in graph.graph.node) and old != new:
        raise Refusal(f"the export already uses the name {new!r}", old, "Rename that layer")
    for value in (*graph.graph.input, *graph.graph.output):
        if value.name == old:
            value.name = new
    for node in graph.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
