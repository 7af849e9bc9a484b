"""Keeps the recent answers by request id, bounded, so that a release can compare two revisions.

Raw inputs are kept only if the recipe allows it.
"""

import base64
import hashlib
from collections import deque
from typing import Any

import numpy as np

from bentos.caller import CALLER
from ratchet.answers import Answers
from ratchet.contract import Contract

MAX_ANSWERS, MAX_INPUT = 4096, 16 << 10
"""The number of answers that are kept, and the size in bytes of the largest raw input that is kept."""


class RecentAnswers:
    def __init__(self, contract: Contract, answers: Answers, keep_inputs: bool) -> None:
        self.contract, self.answers, self.keep_inputs = contract, answers, keep_inputs
        self.total = 0
        self._kept: deque[dict[str, Any]] = deque(maxlen=MAX_ANSWERS)

    def add(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Keeps the first of the outputs [N, width] for inputs [N, ...] in compact form, if the request has an id."""
        request = CALLER.get().id
        if not request:
            return
        self.total += 1
        first = self.contract.pack(inputs[:1])
        raw = base64.b64encode(first).decode() if self.keep_inputs and len(first) <= MAX_INPUT else ""
        # A caller may use an id twice, so the input is part of the key.
        whole = first if len(inputs) == 1 else self.contract.pack(inputs)
        digest = hashlib.blake2b(whole, digest_size=8).hexdigest()
        answer = self.answers.compact(outputs[0])
        self._kept.append({"id": f"{request} {digest}", "answer": answer, "input": raw})

    def after(self, number: int, limit: int = 512) -> dict[str, Any]:
        """Up to `limit` answers after the first `number`, oldest first, and the number to continue with."""
        first = self.total - len(self._kept)
        start = min(max(number, first), self.total)
        answers = [self._kept[i - first] for i in range(start, min(start + limit, self.total))]
        return {"next": start + len(answers), "answers": answers}
