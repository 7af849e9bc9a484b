"""What one answer takes, warm: of the model alone, in a process of its own, so that nothing else counts.

Runs on a host, too, where there is neither Keras nor MLflow.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.export import VOCABULARY, Exported, read_words
from ratchet import contract as contracts
from ratchet.errors import Refusal

KEPT = "measured.json"
"""Where a `measure` run keeps what it found, among a version's artifacts."""
_TIMED, _WARM, _SECONDS = 100, 20, 120


@dataclass(frozen=True)
class Measured:
    milliseconds: float
    """The median of one answer alone on one thread."""
    megabytes: float
    """Of memory that a process holds which does nothing else."""


def measured(model: Exported, device: str = "cpu") -> Measured:
    """Of the model on this machine's `device`. Raises Refusal where it does not answer."""
    job = {"path": str(model.path), "contract": model.contract.to_json(), "device": device}
    try:
        done = subprocess.run([sys.executable, "-m", "models.measure"], input=json.dumps(job), text=True,
                              capture_output=True, timeout=_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        what = f"it did not answer {3 * _TIMED} times in {_SECONDS} s"
        raise Refusal(what, model.path.name, "Make it smaller") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no word"])[-1][:300]
        raise Refusal(f"it does not answer ({why})", model.path.name, f"See whether this machine has a {device}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def milliseconds(ask: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> float:
    """The median of one answer alone: the least of three, since others may be at work here."""
    medians = []
    for _ in range(3):
        took = []
        for i in range(_WARM + _TIMED):
            at = i % len(inputs)
            started = time.perf_counter()
            ask(inputs[at : at + 1])
            took.append((time.perf_counter() - started) * 1000)
        medians.append(float(np.median(took[_WARM:])))
    return min(medians)


def _main() -> None:
    import psutil

    job = json.load(sys.stdin)
    contract, path = contracts.of(job["contract"]), Path(job["path"])
    vocabulary = path.with_name(VOCABULARY)
    model = Exported(path, contract, read_words(vocabulary) if vocabulary.exists() else ())
    inputs = contract.made(20, np.random.default_rng(0))
    found = milliseconds(model.asker(threads=1, device=job["device"]), inputs)
    # Not `ru_maxrss`, which a process takes over from the one that began it.
    print(json.dumps(asdict(Measured(found, psutil.Process().memory_info().rss / 1e6))))


if __name__ == "__main__":
    _main()
