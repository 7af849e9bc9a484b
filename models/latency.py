"""The latency benchmark: measures the model alone, warm, in a process of its own.

It also runs on a host, which has neither Keras nor MLflow installed.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.export import Exported
from ratchet import kinds
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.session import session
from ratchet.types import from_json, to_json

EXPECTED, RESULT = "expected_outputs.json", "latency.json"
"""Artifacts of a version: each variant's outputs where it was made, and the result of the latency benchmark."""
_RUNS, _WARM_UP, _MIN_RUNS, _PATIENCE, _TIMEOUT = 100, 20, 3, 10.0, 120
_REFUSED = 3
"""The exit status of a process that printed a refusal."""


@dataclass(frozen=True)
class Measurement:
    latency_ms: float
    """The median of one prediction on one thread."""
    memory_mb: float
    """Memory of a process with Python, ONNX Runtime and the model, after a batch of the largest size."""
    outputs: tuple[tuple[float, ...], ...]
    """Those for `sample_inputs`, to be compared with another machine's."""


def sample_inputs(contract: Contract) -> np.ndarray:
    """Synthetic inputs, the same on every machine."""
    return contract.synthesize(20, np.random.default_rng(0))


def measure(model: Exported, device: str = "cpu", gpu: str = "", memory_mb: int = 0) -> Measurement:
    """Measures the model on this machine's `device`, with a limit for the memory of a GPU; 0 is no limit.

    Raises Refusal if the model does not answer.
    """
    job = {"path": str(model.path), "contract": model.contract.to_json(), "device": device, "memory_mb": memory_mb}
    env = {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}
    command, text = [sys.executable, "-m", "models.latency"], json.dumps(job)
    try:
        process = subprocess.run(command, input=text, text=True, env=env, capture_output=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        what = f"the latency measurement did not end in {_TIMEOUT} s"
        raise Refusal(what, model.path.name, "Use a smaller model") from None
    if process.returncode == _REFUSED:
        refusal = json.loads(process.stdout.splitlines()[-1])
        raise Refusal(refusal["error"], refusal["which"], refusal["next"])
    if process.returncode:
        why = (process.stderr.strip().splitlines() or ["no output"])[-1][:300]
        raise Refusal(f"the measuring process failed ({why})", model.path.name, "See memory_mb of its recipe")
    return from_json(Measurement, process.stdout.splitlines()[-1])


def latency_ms(predict: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> float:
    """The median latency of one prediction: the least of three, since the machine may be busy."""
    return min(_median(predict, inputs) for _ in range(3))


def _median(predict: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> float:
    """Of a hundred runs after a warm-up; of fewer runs if they are slow."""
    start, times = time.perf_counter(), []
    for i in range(_WARM_UP + _RUNS):
        before = time.perf_counter()
        if before - start > _PATIENCE and i > _MIN_RUNS:
            break
        predict(inputs[i % len(inputs) : i % len(inputs) + 1])
        times.append((time.perf_counter() - before) * 1000)
    return float(np.median(times[min(_WARM_UP, len(times) - _MIN_RUNS) :]))


def _measure(job: Mapping[str, Any]) -> Measurement:
    import psutil

    contract = kinds.of(job["contract"])
    predict = session(Path(job["path"]), contract, 1, job["device"], job["memory_mb"])
    inputs = sample_inputs(contract)
    latency = latency_ms(predict, inputs)
    outputs = np.concatenate([predict(inputs[i : i + 1]) for i in range(len(inputs))])
    predict(contract.synthesize(predict.max_batch, np.random.default_rng(0)))
    # Not `ru_maxrss`, which a process inherits from its parent.
    memory = psutil.Process().memory_info().rss / 1e6
    return Measurement(latency, memory, tuple(map(tuple, outputs.tolist())))


if __name__ == "__main__":
    try:
        print(json.dumps(to_json(_measure(json.load(sys.stdin)))))
    except Refusal as refusal:
        print(json.dumps(refusal.to_json()))
        sys.exit(_REFUSED)
