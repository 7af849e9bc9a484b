"""Requests as callers send them, labels as they come back, and what is then known of a recipe that serves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from tests.stack import BIN, Running


@dataclass(frozen=True)
class Answered:
    """What a caller got for one input."""

    request: str
    row: int
    predicted: Any


def send(
    stack: Running, recipe: str, key: str, values: Sequence[Any], at_once: int = 2, subject: str = ""
) -> list[Answered]:
    """Sends inputs as JSON below `key`, some in each request."""
    answers, headers = [], {"x-subject-id": subject} if subject else {}
    with httpx.Client(base_url=stack.gateway, timeout=30) as client:
        for start in range(0, len(values), at_once):
            body = {key: list(values[start : start + at_once])}
            response = client.post(f"/{recipe}/predict", json=body, headers=headers)
            assert response.status_code == 200, response.text
            content, id = response.json(), response.headers["x-request-id"]
            answers += [Answered(id, row, predicted) for row, predicted in enumerate(content["label"])]
    return answers


def label(stack: Running, recipe: str, answers: Sequence[Answered], labels: Sequence[Any]) -> None:
    """Sends the true labels to the service, as a system does that learns them later."""
    rows = [
        {"request_id": answer.request, "row": answer.row, "label": label}
        for answer, label in zip(answers, labels, strict=True)
    ]
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        response = httpx.post(f"{stack.gateway}/{recipe}/feedback", json={"feedback": part}, timeout=30)
        assert (response.status_code, response.json()) == (202, {"accepted": len(part)})


def loss(answers: Sequence[Answered], labels: Sequence[Any]) -> float:
    """The share of wrong answers."""
    return float(np.mean([answer.predicted != label for answer, label in zip(answers, labels, strict=True)]))


def start_collecting(stack: Running) -> subprocess.Popen[str]:
    env = {**stack.env, "PREFECT_API_URL": f"{stack.prefect}/api"}
    command = [BIN / "prefect", "deployment", "run", "collect/collect", "--watch"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def collect(stack: Running, recipe: str) -> dict[str, Any]:
    """Runs the deployment; what `ratchet watch` then says."""
    process = start_collecting(stack)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    state: dict[str, Any] = json.loads(stack.ratchet("watch", recipe, "--json"))
    return state


def effects(state: dict[str, Any]) -> set[tuple[str, str]]:
    """The tier and the effect of each finding."""
    return {(finding["tier"], finding["effect"]) for finding in state["watched"]["findings"]}
