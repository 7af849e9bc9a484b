"""Keeps the recent answers by request id, bounded, so that a release can compare two revisions.

Raw inputs are kept only if the recipe allows it.
"""

import base64
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from bentos.caller import CALLER
from ratchet.answers import Answers
from ratchet.contract import Contract

MAX_ANSWERS, MAX_INPUT = 4096, 16 << 10
"""The number of answers that are kept, and the size in bytes of the largest raw input that is kept."""


@dataclass(frozen=True)
class _Kept:
    request: str
    digest: bytes
    """Of all inputs of the request: a caller may use an id twice, so they are part of the key."""
    input: bytes
    """The first, if it is kept."""
    output: np.ndarray
    """The first [width]."""


class RecentAnswers:
    def __init__(self, contract: Contract, answers: Answers, keep_inputs: bool) -> None:
        self.contract, self.answers, self.keep_inputs = contract, answers, keep_inputs
        self.total = 0
        self._kept: deque[_Kept] = deque(maxlen=MAX_ANSWERS)

    def add(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Keeps the first of the outputs [N, width] for inputs [N, ...], if the request has an id."""
        request = CALLER.get().id
        if not request:
            return
        self.total += 1
        first = whole = self.contract.pack(inputs[:1])
        if len(inputs) > 1:
            whole, outputs = self.contract.pack(inputs), outputs[:1].copy()  # the others are not kept
        kept = first if self.keep_inputs and len(first) <= MAX_INPUT else b""
        self._kept.append(_Kept(request, hashlib.blake2b(whole, digest_size=8).digest(), kept, outputs[0]))

    def after(self, number: int, limit: int = 512) -> dict[str, Any]:
        """Up to `limit` answers after the first `number`, oldest first, and the number to continue with."""
        first = self.total - len(self._kept)
        start = min(max(number, first), self.total)
        answers = [self._described(self._kept[i - first]) for i in range(start, min(start + limit, self.total))]
        return {"next": start + len(answers), "answers": answers}

    def _described(self, kept: _Kept) -> dict[str, Any]:
        answer, input = self.answers.compact(kept.output), base64.b64encode(kept.input).decode()
        return {"id": f"{kept.request} {kept.digest.hex()}", "answer": answer, "input": input}
