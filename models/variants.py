"""Smaller and faster forms of an export: half precision, and eight bits calibrated on the validation side.

Which of them is packaged is decided once for a version, and kept in a tag of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models import candidate as candidates
from models import export, measure, registry
from models.export import Exported
from models.judge.variants import FULL, Took, as_good
from ratchet.errors import Refusal
from ratchet.files import FORMAT, sha256
from ratchet.lake.snapshot import benchmarked, load
from ratchet.recipe import Recipe
from ratchet.words import Candidate, Check, Variant, to_json

_CALIBRATED = 256
"""Validation inputs whose ranges the eight bits are laid over."""
_PRECISE = ("Conv", "MatMul", "Gemm")
"""What is done in eight bits: it takes the time. Softmax, norms and gates lose more than they gain."""


def kept(candidate: Candidate) -> tuple[Variant, ...] | None:
    """Those of a version, once decided; none of one that was packaged before that; None where it is still to do."""
    found = registry.version(candidate.recipe, candidate.version)
    if found and candidates.FORM in found.tags:
        return candidates.variants_of(found)
    return () if found and "ratchet.package" in found.tags else None


def keep(candidate: Candidate, variants: tuple[Variant, ...]) -> None:
    """The table beside the version, and in a tag of it the form that is packaged."""
    told = {"format": FORMAT, "variants": [to_json(v) for v in variants]}
    registry.upload(registry.beside(candidate, candidates.FORMS), json.dumps(told, indent=1))
    (best,) = [v for v in variants if v.packaged]
    form = {"name": best.name, "file": best.file, "onnx": best.onnx}
    registry.set_tag(candidate.recipe, candidate.version, candidates.FORM, json.dumps(form))


def make(recipe: Recipe, candidate: Candidate, scratch: Path) -> tuple[Variant, ...]:
    """Each beside the version in MLflow, held against the full one on the benchmark; none is measured yet.

    One that cannot be made is in the list, with the reason.
    """
    full = candidates.exported(recipe, candidate, scratch)
    held, _ = benchmarked(recipe)
    want = full.answers(held.inputs)
    exact = Check(f"no worse than {FULL}", 0.0, None, "pass", "the full one: others are held against it")
    expected = {FULL: full.answers(measure.asked(full.contract)).tolist()}
    found = [Variant(FULL, export.MODEL, candidate.onnx, full.path.stat().st_size / 1e6, exact)]
    calibration = load(recipe, candidate.snapshot)["validation"].inputs[:_CALIBRATED]
    ways: dict[str, Callable[[Path], None]] = {
        "fp16": lambda to: _half(full, to),
        "int8": lambda to: _eight(full, calibration, to),
    }
    for name, way in ways.items():
        path = full.path.with_name(f"model.{name}.onnx")
        try:
            way(path)
            form = Exported(path, full.contract)
            mine, expected[name] = form.answers(held.inputs), form.answers(measure.asked(full.contract)).tolist()
        except Exception as error:  # ONNX's tools raise whatever a graph leads them to
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
            check = Check(f"no worse than {FULL}", None, None, "error", f"it could not be made ({why})")
            found.append(Variant(name, "", "", 0.0, check))
            continue
        registry.upload(registry.beside(candidate, path.name), path)
        check = as_good(recipe.judging.margin, held.targets, mine, want)
        found.append(Variant(name, path.name, sha256(path), path.stat().st_size / 1e6, check))
    told = {"format": FORMAT, "answers": expected}
    registry.upload(registry.beside(candidate, measure.EXPECTED), json.dumps(told))
    return tuple(found)


def took(candidate: Candidate) -> tuple[str, dict[str, Took]]:
    """What the `measure` run found: the host's name, and of each form its time and how far its answers are off."""
    told = registry.read_json(registry.beside(candidate, measure.KEPT))
    return str(told["host"]), {name: Took(float(one["milliseconds"]), float(one["off"]))
                               for name, one in told["variants"].items()}  # fmt: skip


def _half(full: Exported, to: Path) -> None:
    """Weights and sums in 16 bits; what comes in and goes out stays as it was."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(full.path), keep_io_types=True), to)


def _eight(full: Exported, inputs: np.ndarray, to: Path) -> None:
    """Static, a scale a channel. Weights take seven bits of the eight, so that no processor's sums overflow.

    Source: Jacob and others, Quantization and Training of Neural Networks, 2018 (arXiv:1712.05877).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    features = full.contract.features(inputs, full.words)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = (features[i : i + 1] for i in range(len(features)))

        def get_next(self) -> dict[str, Any] | None:
            one = next(self.left, None)
            return None if one is None else {full.contract.kind: one}

    plain = full.path.with_name("plain.onnx")
    quiet = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)  # it warns of every node that it leaves alone
        quant_pre_process(str(full.path), str(plain), skip_symbolic_shape=True)
        quantize_static(
            str(plain), str(to), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=list(_PRECISE),
        )  # fmt: skip
    finally:
        logging.getLogger().setLevel(quiet)
        plain.unlink(missing_ok=True)
    if not to.exists():
        raise Refusal("no file came of it", to.name, "See the run's log")
