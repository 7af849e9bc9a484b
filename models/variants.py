"""Makes variants of an export: half precision, and eight bits calibrated on the validation side.

The packaged variant is chosen once for a version, and kept in a tag.
"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models import candidate as candidates
from models import export, latency, registry
from models.evaluate import compare_variant
from models.export import Exported
from ratchet.errors import Refusal
from ratchet.evaluation.variants import FULL, NO_WORSE, Timing
from ratchet.files import FORMAT, sha256
from ratchet.lake.snapshot import load, load_benchmark
from ratchet.recipe import Recipe
from ratchet.types import Candidate, Check, Variant, to_json

_CALIBRATION_INPUTS = 256
"""Validation inputs whose ranges decide the scales of the eight bits."""
_QUANTIZED = ("Conv", "MatMul", "Gemm")
"""The operators that take the time. Softmax, normalisation and gates lose more precision than they gain speed."""


def chosen(candidate: Candidate) -> tuple[Variant, ...] | None:
    """The variants of a version, or None if none was chosen yet."""
    version = registry.version(candidate.recipe, candidate.version)
    return candidates.variants_of(version) if version and candidates.VARIANT in version.tags else None


def save(candidate: Candidate, variants: tuple[Variant, ...]) -> None:
    """Keeps the variants with the version, and the packaged one in a tag."""
    content = {"format": FORMAT, "variants": [to_json(variant) for variant in variants]}
    registry.upload(registry.path_of(candidate, candidates.VARIANTS), json.dumps(content, indent=1))
    (best,) = [variant for variant in variants if variant.packaged]
    tag = {"name": best.name, "file": best.file, "onnx": best.onnx}
    registry.set_tag(candidate.recipe, candidate.version, candidates.VARIANT, json.dumps(tag))


def _refuse_trees(path: Path) -> None:
    """Raises Refusal for a model of trees, which ONNX's tools cannot convert."""
    import onnx

    if any(node.op_type.startswith("TreeEnsemble") for node in onnx.load(path).graph.node):
        raise Refusal("trees have no smaller form", path.name, "Nothing: fp32 is packaged")


def make(recipe: Recipe, candidate: Candidate, scratch: Path) -> tuple[Variant, ...]:
    """Makes the variants, uploads them to MLflow and compares them with fp32 on the benchmark; measures no latency.

    They are fp32 and those of the recipe. One that cannot be made is in the result with the reason.
    """
    full = candidates.exported(recipe, candidate, scratch)
    benchmark, _ = load_benchmark(recipe)
    outputs = full.predict(benchmark.inputs)
    sample = latency.sample_inputs(full.contract)
    reference = Check(NO_WORSE, 0.0, None, "passed", "the reference for the other variants")
    variants = [Variant(FULL, export.MODEL, candidate.onnx, full.path.stat().st_size / 1e6, reference)]
    expected = {FULL: full.predict(sample).tolist()}
    calibration = _calibration_inputs(recipe, candidate) if "int8" in recipe.variants else np.empty(0)
    conversions: dict[str, Callable[[Path], None]] = {
        "fp16": lambda path: _to_fp16(full, path),
        "int8": lambda path: _to_int8(full, calibration, path),
    }
    for name in recipe.variants:
        path = full.path.with_name(f"model.{name}.onnx")
        try:
            _refuse_trees(full.path)
            conversions[name](path)
            variant = Exported(path, full.contract)
            own, expected[name] = variant.predict(benchmark.inputs), variant.predict(sample).tolist()
        except Exception as error:  # ONNX's tools raise many types, depending on the graph
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
            check = Check(NO_WORSE, None, None, "error", f"it could not be made ({why})")
            variants.append(Variant(name, "", "", 0.0, check))
            continue
        registry.upload(registry.path_of(candidate, path.name), path)
        check = compare_variant(recipe, benchmark.targets, own, outputs)
        variants.append(Variant(name, path.name, sha256(path), path.stat().st_size / 1e6, check))
    content = {"format": FORMAT, "outputs": expected}
    registry.upload(registry.path_of(candidate, latency.EXPECTED), json.dumps(content))
    return tuple(variants)


def _calibration_inputs(recipe: Recipe, candidate: Candidate) -> np.ndarray:
    return load(recipe, candidate.snapshot)["validation"].inputs[:_CALIBRATION_INPUTS]


def timings(candidate: Candidate) -> tuple[str, dict[str, Timing]]:
    """The result of the latency benchmark: the host's name, and the timing of each variant."""
    result = registry.read_json(registry.path_of(candidate, latency.RESULT))
    return str(result["host"]), {
        name: Timing(float(variant["latency_ms"]), float(variant["difference"]))
        for name, variant in result["variants"].items()
    }


def _to_fp16(full: Exported, path: Path) -> None:
    """Weights and sums in 16 bits; input and output keep their types."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(full.path), keep_io_types=True), path)


def _to_int8(full: Exported, inputs: np.ndarray, path: Path) -> None:
    """Static, with a scale per channel. Weights use seven of the eight bits, so that no processor's sums overflow.

    Source: Jacob and others, Quantization and Training of Neural Networks, 2018 (arXiv:1712.05877).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not any(node.op_type in _QUANTIZED for node in onnx.load(full.path).graph.node):
        raise Refusal("it has no layer to quantize", full.path.name, "Nothing: fp32 is packaged")
    features = full.contract.features(inputs, full.vocabulary)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[np.ndarray] = (features[i : i + 1] for i in range(len(features)))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {full.contract.kind: batch}

    prepared = full.path.with_name("prepared.onnx")
    level = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)  # it warns of every node that is not quantized
        quant_pre_process(str(full.path), str(prepared), skip_symbolic_shape=True)
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "quant_format": QuantFormat.QDQ}
        options = {"per_channel": True, "reduce_range": True, "op_types_to_quantize": list(_QUANTIZED)}
        quantize_static(str(prepared), str(path), Reader(), **types, **options)
    finally:
        logging.getLogger().setLevel(level)
        prepared.unlink(missing_ok=True)
    if not path.exists():
        raise Refusal("the quantization wrote no file", path.name, "See the run's log")
