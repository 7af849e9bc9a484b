"""The model in a bento: opened once, asked by every route, or the reason why it cannot be."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import anyio.to_thread
import numpy as np

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.session import Session, session

log = logging.getLogger(__name__)
_SMALL = 32
"""Inputs that are answered where they came in; more would keep health checks waiting."""
_AGAIN = 30.0
"""Seconds until a model that could not be opened is tried once more: what held the GPU's memory may have gone."""


class Unable(Refusal):
    """Of the process, not of who asks it: a 503."""


class Model:
    """`device` and `memory_mb` as in `ratchet.session`. Where it cannot be opened, each call raises Unable."""

    def __init__(self, recipe: str, path: Path, contract: Contract, device: str, memory_mb: int) -> None:
        self.recipe, self.path, self.contract, self.device, self.memory_mb = recipe, path, contract, device, memory_mb
        self._found: Session | Unable = self._opened()
        self._tried = time.monotonic()

    @property
    def fault(self) -> Unable | None:
        """Why this process must not get traffic; asked again, it is tried again after a while."""
        if isinstance(self._found, Unable) and time.monotonic() - self._tried > _AGAIN:
            self._found, self._tried = self._opened(), time.monotonic()
        return self._found if isinstance(self._found, Unable) else None

    def _opened(self) -> Session | Unable:
        """Asked as many inputs as it ever is at once, and one: what does not fit is known before a caller asks."""
        chance = np.random.default_rng(0)
        try:
            found = session(self.path, self.contract, 1, self.device, self.memory_mb)
            for count in (found.at_once, 1):
                found(self.contract.made(count, chance))
            return found
        except Refusal as refusal:
            return Unable(refusal.what, self.recipe, refusal.next)
        except Exception as error:  # ONNX Runtime has a class for each of its own
            if self.device == "cpu":
                raise
            log.exception("the model cannot be asked on the %s", self.device)
            what = f"the model does not run on the {self.device} ({str(error)[:300]})"
            return Unable(what, self.recipe, "See its log, and memory_mb of its recipe")

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Answers [N, width] to inputs [N, ...]."""
        if isinstance(self._found, Unable):
            raise self._found
        return self._found(inputs)

    async def answer(self, inputs: np.ndarray) -> np.ndarray:
        """The same; a large batch leaves the event loop free for health checks."""
        return self(inputs) if len(inputs) <= _SMALL else await anyio.to_thread.run_sync(self, inputs)
