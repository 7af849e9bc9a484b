"""Logs what was predicted, off the request's path: a bounded queue, and a thread that writes segments.

A request only puts its arrays into the queue. What does not fit, or what the disk refuses, is lost and counted.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import uuid
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bentos.caller import CALLER, Caller
from bentos.model import Unavailable
from bentos.segments import Counts, Segments
from ratchet.contract import Contract

log = logging.getLogger(__name__)
FORMAT = 1
"""Of a line. Raise it when a field changes its meaning, and keep a reader for the format before."""
MAX_ROWS, MAX_QUEUED = 4096, 32 << 20
"""Rows and bytes of inputs that wait to be written."""
_PAUSE, _AGE = 0.03, 5.0
"""Seconds between two looks at the queue, and after which a segment is complete however small it is."""
_SLICE = 16
"""Rows that are described at a time, since requests wait for that."""


@dataclass(frozen=True)
class Rules:
    """What a recipe says about its log."""

    sample: float = 1.0
    inputs: bool = False
    redact: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Answered:
    caller: Caller
    at: float
    first: int
    inputs: np.ndarray
    outputs: np.ndarray


class PredictionLog:
    """`logged` is the module of the kind of input; `folder` is None where no log is kept."""

    def __init__(
        self, folder: Path | None, limit: int, contract: Contract, logged: Any, rules: Rules, revision: str
    ) -> None:
        self._contract, self._logged, self._rules, self._revision = contract, logged, rules, revision
        self._queue: deque[_Answered] = deque()
        self._added, self._removed = [0, 0], [0, 0]
        """Rows and bytes that were put into the queue, and those that left it."""
        self._pending: list[tuple[_Answered, slice]] = []
        self._pending_rows = 0
        self._folder, self._process, self._lock = folder, uuid.uuid4().hex[:16], threading.Lock()
        self._counts: Counts | None = None
        if folder is None:
            return
        try:
            self._counts = Counts(folder, self._process)
        except OSError as error:
            log.error("predictions and feedback are not logged in %s: %s", folder, error)
            return
        self._predictions = Segments(folder, "predictions", self._process, limit)
        self._feedback = Segments(folder, "feedback", self._process, limit)
        threading.Thread(target=self._run, name="prediction log", daemon=True).start()

    def add(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Logs the outputs [N, width] for inputs [N, ...] of the current request."""
        caller = CALLER.get()
        if self._counts is None or not caller.id or zlib.crc32(caller.id.encode()) >= self._rules.sample * (1 << 32):
            return
        rows, size = len(outputs), _size(inputs)
        first = self._counts.take(rows)
        if self._added[0] - self._removed[0] + rows > MAX_ROWS or self._added[1] - self._removed[1] + size > MAX_QUEUED:
            self._counts.lose(rows)
            return
        self._added[0] += rows
        self._added[1] += size
        self._queue.append(_Answered(caller, time.time(), first, inputs, outputs))

    def add_feedback(self, labels: Sequence[Mapping[str, Any]]) -> None:
        """Writes labels to the disk before it returns. Raises Unavailable if they cannot be kept."""
        if self._counts is None:
            raise Unavailable("this process keeps no feedback", self._revision, "Send it to the gateway")
        stamped = ({"format": FORMAT, "at": time.time(), **label} for label in labels)
        lines = b"".join(json.dumps(label).encode() + b"\n" for label in stamped)
        try:
            with self._lock:
                self._counts.save()
                self._feedback.write(lines, durable=True)
        except OSError as error:
            what = f"the feedback could not be written ({error.strerror or error})"
            raise Unavailable(what, self._revision, "Send it again later") from error

    def complete_segments(self) -> None:
        """Completes the segments that are being written, and first writes what waits."""
        if self._counts is not None:
            self._write(0.0)

    def _run(self) -> None:
        while True:
            time.sleep(_PAUSE)
            try:
                self._write(_AGE)
            except Exception:
                log.exception("the prediction log could not be written")

    def _write(self, age: float) -> None:
        assert self._counts is not None
        with self._lock:
            with suppress(OSError):  # the numbers in memory are read first
                self._counts.save()
            for _ in range(len(self._queue)):
                answered = self._queue.popleft()
                for start in range(0, len(answered.outputs), _SLICE):
                    self._pending.append((answered, slice(start, start + _SLICE)))
                    self._pending_rows += len(answered.outputs[start : start + _SLICE])
                    if self._pending_rows >= _SLICE:
                        self._write_pending()
                self._removed[0] += len(answered.outputs)
                self._removed[1] += _size(answered.inputs)
            self._write_pending()
            for segments in (self._predictions, self._feedback):
                try:
                    segments.close(age)
                except OSError as error:
                    log.warning("a segment of the log could not be completed: %s", error)

    def _write_pending(self) -> None:
        """Writes what is pending together: describing many rows at once costs little more than one."""
        assert self._counts is not None
        if not self._pending:
            return
        pending, self._pending, self._pending_rows = self._pending, [], 0
        try:
            self._predictions.write(b"".join(self._lines(pending)))
        except Exception as error:  # also of an input that cannot be described: the log goes on
            rows = sum(len(answered.outputs[part]) for answered, part in pending)
            self._counts.lose(rows)
            log.warning("%d predictions were not logged: %r", rows, error)

    def _lines(self, pending: Sequence[tuple[_Answered, slice]]) -> Iterator[bytes]:
        rules = self._rules
        inputs = np.concatenate([answered.inputs[part] for answered, part in pending])
        if rules.redact:
            inputs = self._logged.redacted(self._contract, inputs, rules.redact)
        measured = self._logged.statistics(self._contract, inputs)
        at = 0
        for answered, part in pending:
            caller = answered.caller
            whose = {"request": caller.id, "subject": caller.subject, "origin": caller.origin}
            for row, output in enumerate(answered.outputs[part].tolist(), part.start):
                number = {"row": row, "number": answered.first + row, "at": answered.at}
                line = {"format": FORMAT, **whose, **number, "revision": self._revision, "output": output}
                line["statistics"] = {name: values[at] for name, values in measured.items()}
                if rules.inputs:
                    line["input"] = base64.b64encode(self._contract.pack(inputs[at : at + 1])).decode()
                yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
                at += 1


def _size(inputs: np.ndarray) -> int:
    """Bytes that inputs [N, ...] take, at least; an array of texts holds only references."""
    return sum(len(text) for text in inputs.flat) + 64 * inputs.size if inputs.dtype == object else inputs.nbytes
