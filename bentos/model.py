"""The model in a bento: opened once and used by every route, or the reason why it cannot be opened."""

import logging
import math
import time
from pathlib import Path

import anyio.to_thread
import numpy as np

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.session import Session, session

log = logging.getLogger(__name__)
SMALL_BATCH = 32
"""Inputs that are answered on the event loop; more would delay health checks."""
_RETRY_SECONDS = 30.0
"""Time until a model that could not be opened is tried again: the GPU's memory may have become free."""


class Unavailable(Refusal):
    """The fault of the process and not of the caller: a 503."""


class NotFinite(Refusal):
    """The fault of the model and not of the caller: a 500 that counts against the revision."""


def require_finite(outputs: np.ndarray, name: str, version: str) -> None:
    """Raises NotFinite for outputs [N, width] of which one is not finite: no answer is better than a wrong one."""
    if math.isfinite(outputs.sum()):  # one that is not finite makes the sum so
        return
    rows = ~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    if rows.any():
        what = f"the model's output {name!r} is not finite for row {int(rows.argmax())} of the batch"
        raise NotFinite(what, version, "Trying again does not help: report the input, or roll this version back")


class Model:
    """`device` and `memory_mb` are as in `ratchet.session`. If the model cannot be opened, calls raise Unavailable."""

    def __init__(self, recipe: str, path: Path, contract: Contract, device: str, memory_mb: int) -> None:
        self.recipe, self.path, self.contract, self.device, self.memory_mb = recipe, path, contract, device, memory_mb
        self._session: Session | Unavailable = self._open()
        self._opened_at = time.monotonic()
        self.answered, self.answered_at = 0, 0.0
        """The inputs that were answered since the process started, and the time of the last one."""

    @property
    def fault(self) -> Unavailable | None:
        """Why this process must not get traffic. Reading it opens the model again after a while."""
        if isinstance(self._session, Unavailable) and time.monotonic() - self._opened_at > _RETRY_SECONDS:
            self._session, self._opened_at = self._open(), time.monotonic()
        return self._session if isinstance(self._session, Unavailable) else None

    def _open(self) -> Session | Unavailable:
        """Runs the largest batch and a single input, so that missing memory shows before a caller sends a request."""
        rng = np.random.default_rng(0)
        try:
            opened = session(self.path, self.contract, 1, self.device, self.memory_mb)
            for count in (opened.max_batch, 1):
                opened(self.contract.synthesize(count, rng))
            return opened
        except Refusal as refusal:
            return Unavailable(refusal.what, self.recipe, refusal.next)
        except Exception as error:  # ONNX Runtime has many exception types
            if self.device == "cpu":
                raise
            log.exception("the model cannot run on the %s", self.device)
            what = f"the model does not run on the {self.device} ({str(error)[:300]})"
            return Unavailable(what, self.recipe, "See its log, and memory_mb of its recipe")

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs [N, width] for inputs [N, ...]."""
        if isinstance(self._session, Unavailable):
            raise self._session
        return self._session(inputs)

    async def predict(self, inputs: np.ndarray) -> np.ndarray:
        """The same; a large batch does not block the event loop, and can be cancelled between two of its parts."""
        if len(inputs) <= SMALL_BATCH or isinstance(self._session, Unavailable):
            return self(inputs)
        size = self._session.max_batch
        parts = (inputs[at : at + size] for at in range(0, len(inputs), size))
        return np.concatenate([await anyio.to_thread.run_sync(self, part) for part in parts])

    def count(self, inputs: np.ndarray) -> None:
        """Counts inputs that were answered."""
        self.answered, self.answered_at = self.answered + len(inputs), time.time()
