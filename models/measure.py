"""What one answer takes, warm: of the model alone, in a process of its own, so that nothing else counts.

Runs on a host, too, where there is neither Keras nor MLflow.
"""

from __future__ import annotations

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
from ratchet import contract as contracts
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.session import session
from ratchet.words import from_json, to_json

EXPECTED, KEPT = "expected.json", "measured.json"
"""Artifacts of a version: what each form answered where it was made, and what a `measure` run found."""
_TIMED, _WARM, _LEAST, _PATIENCE, _SECONDS = 100, 20, 3, 10.0, 120
_REFUSED = 3
"""How a process ends that refused; its reason is what it printed."""


@dataclass(frozen=True)
class Measured:
    milliseconds: float
    """The median of one answer alone on one thread."""
    megabytes: float
    """Of memory that a process holds which does nothing else: Python, ONNX Runtime, and the model when it was asked as
    many inputs as it ever is at once."""
    answers: tuple[tuple[float, ...], ...]
    """To `asked`, to be held against another machine's."""


def asked(contract: Contract) -> np.ndarray:
    """The made-up inputs, the same everywhere."""
    return contract.made(20, np.random.default_rng(0))


def measured(model: Exported, device: str = "cpu", gpu: str = "", memory_mb: int = 0) -> Measured:
    """Of the model on this machine's `device`, of which it takes no more than so much; 0 is no limit.

    Raises Refusal where it does not answer.
    """
    job = {"path": str(model.path), "contract": model.contract.to_json(), "device": device, "memory_mb": memory_mb}
    env = {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}
    try:
        done = subprocess.run([sys.executable, "-m", "models.measure"], input=json.dumps(job), text=True, env=env,
                              capture_output=True, timeout=_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refusal(f"it did not answer a few times in {_SECONDS} s", model.path.name, "Make it smaller") from None
    if done.returncode == _REFUSED:
        told = json.loads(done.stdout.splitlines()[-1])
        raise Refusal(told["error"], told["which"], told["next"])
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no word"])[-1][:300]
        raise Refusal(f"it does not answer ({why})", model.path.name, "See memory_mb of its recipe")
    return from_json(Measured, done.stdout.splitlines()[-1])


def milliseconds(ask: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> float:
    """The median of one answer alone: the least of three, since others may be at work here."""
    return min(_median(ask, inputs) for _ in range(3))


def _median(ask: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> float:
    """Of a hundred answers after twenty; of fewer where they are slow, but never of less than three after one."""
    began, took = time.perf_counter(), []
    for i in range(_WARM + _TIMED):
        started = time.perf_counter()
        if started - began > _PATIENCE and i > _LEAST:
            break
        ask(inputs[i % len(inputs) : i % len(inputs) + 1])
        took.append((time.perf_counter() - started) * 1000)
    return float(np.median(took[min(_WARM, len(took) - _LEAST) :]))


def _answered(job: Mapping[str, Any]) -> Measured:
    import psutil

    contract = contracts.of(job["contract"])
    ask, inputs = session(Path(job["path"]), contract, 1, job["device"], job["memory_mb"]), asked(contract)
    found, answers = milliseconds(ask, inputs), np.concatenate([ask(inputs[i : i + 1]) for i in range(len(inputs))])
    ask(contract.made(ask.at_once, np.random.default_rng(0)))
    # Not `ru_maxrss`, which a process takes over from the one that began it.
    return Measured(found, psutil.Process().memory_info().rss / 1e6, tuple(map(tuple, answers.tolist())))


if __name__ == "__main__":
    try:
        print(json.dumps(to_json(_answered(json.load(sys.stdin)))))
    except Refusal as refusal:
        print(json.dumps(refusal.to_json()))
        sys.exit(_REFUSED)
