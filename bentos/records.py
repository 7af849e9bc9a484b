"""A small bounded record of what was asked and answered, by request id, for a release to compare arms with.

Raw inputs are kept where the recipe allows it, and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from contextvars import ContextVar
from typing import Any

import numpy as np

from ratchet.answers import Answers
from ratchet.contract import Contract

KEPT, BYTES = 4096, 16 << 10
"""Requests that are remembered, and the largest input that is kept raw."""

request: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that is being answered. The gateway gives one to each; what has none is not recorded."""


class Records:
    def __init__(self, contract: Contract, answers: Answers, keep_inputs: bool) -> None:
        self.contract, self.answers, self.keep_inputs = contract, answers, keep_inputs
        self.seen = 0
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def add(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Remembers the first of the answers [N, width] to inputs [N, ...], in short."""
        if not request.get():
            return
        self.seen += 1
        first = self.contract.pack(inputs[:1])
        raw = base64.b64encode(first).decode() if self.keep_inputs and len(first) <= BYTES else ""
        # A caller may send one id twice: what was asked is part of what names a request.
        whole = first if len(inputs) == 1 else self.contract.pack(inputs)
        asked = hashlib.blake2b(whole, digest_size=8).hexdigest()
        answered = self.answers.short(outputs[0])
        self._kept.append({"id": f"{request.get()} {asked}", "answer": answered, "input": raw})

    def after(self, seen: int, limit: int = 512) -> dict[str, Any]:
        """Up to `limit` records that came after the first `seen`, oldest first, and where to go on."""
        first = self.seen - len(self._kept)
        start = min(max(seen, first), self.seen)
        part = [self._kept[i - first] for i in range(start, min(start + limit, self.seen))]
        return {"next": start + len(part), "records": part}
