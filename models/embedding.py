"""Compares what a layer makes of inputs that were served with what it makes of those of training."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import registry
from models.export import MODEL as FILE
from ratchet import kinds, memo
from ratchet.errors import Refusal
from ratchet.evaluation.two_sample import p_value
from ratchet.fleet.package_cache import MODEL, PackageCache
from ratchet.lake import served, snapshot
from ratchet.recipe import Recipe
from ratchet.scratch import scratch_folder
from ratchet.session import VOCABULARY, session
from ratchet.settings import settings
from ratchet.types import Package

VERSION = 1
"""Raise it when the same inputs should compare otherwise."""
_MOST, _LEAST, _WIDTH = 400, 100, 32
"""Inputs of either sample, and the width from which on an embedding is projected."""


@dataclass(frozen=True)
class Compared:
    p_value: float
    served: int
    trained: int


def compare(recipe: Recipe, champion: Package, batches: list[str], since: float, until: float) -> Compared | None:
    """The outputs of the layer that the recipe names, for the inputs of a window and for those of the batches.

    Once for each window. None if too few inputs are kept. Raises Refusal if the package has no such layer.
    """
    layer = recipe.watch.layer
    key = memo.key(
        "embedding", VERSION, package=champion.digest, layer=layer, batches=sorted(batches), window=[since, until]
    )
    own = served.kept_inputs(recipe, champion.revision, since, until, _MOST)
    if own is None or len(own) < _LEAST:
        return None

    def work() -> Compared:
        trained = snapshot.sample(recipe, batches, _MOST)
        ours, theirs = (embed(champion, layer, inputs) for inputs in (own, trained))
        return Compared(p_value(ours, theirs), len(ours), len(theirs))

    result, _ = memo.run(key, Compared, work, source=p_value)
    return result


def embed(package: Package, layer: str, inputs: np.ndarray) -> np.ndarray:
    """The outputs [N, d] of a layer of the package's model for inputs [N, ...].

    A wide one is projected at random, which keeps distances (Johnson and Lindenstrauss 1984). Raises Refusal if the
    model has no such layer.
    """
    with PackageCache(settings()).using(package, registry.fetch_package) as folder, scratch_folder() as scratch:
        own = folder / MODEL
        contract = kinds.of(json.loads((own / "meta.json").read_text(encoding="utf-8"))["contract"])
        _write_until(own / FILE, layer, scratch / FILE)
        if (own / VOCABULARY).exists():
            shutil.copyfile(own / VOCABULARY, scratch / VOCABULARY)
        outputs = session(scratch / FILE, contract, threads=1)(inputs).reshape(len(inputs), -1).astype(np.float64)
    if outputs.shape[1] <= _WIDTH:
        return outputs
    return outputs @ np.random.default_rng(0).normal(size=(outputs.shape[1], _WIDTH)) / np.sqrt(_WIDTH)


def _write_until(model: Path, layer: str, to: Path) -> None:
    """Writes the model with the last output of the layer as its only one."""
    import onnx

    graph = onnx.load(model)
    outputs = {part: node.output[0] for node in graph.graph.node for part in node.name.split("/")[:-1]}
    if layer not in outputs:
        next = f"Name one of these in `watch.layer`: {', '.join(sorted(outputs)) or 'none, as its format has no names'}"
        raise Refusal(f"the model has no layer {layer!r}", model.parent.name, next)
    del graph.graph.output[:]
    graph.graph.output.append(onnx.ValueInfoProto(name=outputs[layer]))
    onnx.save(graph, to)
