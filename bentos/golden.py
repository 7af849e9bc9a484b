"""The golden set: inputs with known outputs that travel inside the bento and are asked over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from ratchet import answers as answers_of
from ratchet import contract as contracts
from ratchet.answers import Answers
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.local_http import LOCAL
from ratchet.recipe import Recipe

if TYPE_CHECKING:  # a host has no pyarrow
    from ratchet.lake.snapshot import Split
    from ratchet.lake.split import Side

NAME = "golden.npz"
_FIRST = {"inputs": "images", "outputs": "probabilities"}
"""What the arrays were called while there were images alone; a bento of then may still be served."""


@dataclass(frozen=True)
class Golden:
    """Inputs [N, ...] of a contract, and what the packaged model answers to them [N, width]."""

    recipe: str
    contract: Contract
    answers: Answers
    inputs: np.ndarray
    outputs: np.ndarray


def drawn(recipe: Recipe, sides: Mapping[Side, Split]) -> np.ndarray:
    """32 inputs that may stand in an artifact: of the test side, or ones made like each class where nobody's may."""
    if recipe.show_inputs:
        return sides["test"].inputs[:32]
    chance, alike = np.random.default_rng(0), sides["train"].by_class(len(recipe.classes))
    return np.concatenate([recipe.contract.made(-(-32 // len(alike)), chance, like) for like in alike])


def write(folder: Path, inputs: np.ndarray, outputs: np.ndarray) -> None:
    """Keeps the set. Raises Refusal when it is empty."""
    if not len(inputs):
        raise Refusal("the golden set is empty", folder, "Train on a snapshot with records on its test side")
    plain = inputs.astype(str) if inputs.dtype == object else inputs
    np.savez_compressed(folder / NAME, inputs=plain, outputs=outputs)


def read(folder: Path) -> Golden:
    """The set of a bento's model folder. Raises Refusal when it is empty."""
    meta = json.loads((folder / "meta.json").read_text())
    contract = contracts.of(meta["contract"])
    with np.load(folder / NAME, allow_pickle=False) as kept:
        inputs, outputs = (kept[new if new in kept else old] for new, old in _FIRST.items())
    if not len(inputs):
        raise Refusal("the golden set is empty", folder, "Build the package anew")
    return Golden(meta["recipe"], contract, answers_of.of(meta["contract"], meta["classes"]), inputs, outputs)


def replay(url: str, folder: Path) -> int:
    """Asks every golden input at `url` and compares; returns how many there were.

    Raises Refusal on an answer that is not 200, or differs by more than the answers' tolerance.
    """
    kept = read(folder)
    with httpx.Client(base_url=url, timeout=10, **LOCAL) as client:
        for i, want in enumerate(kept.outputs):
            got = ask(client, kept, kept.inputs[i : i + 1])[0]
            worst = float(np.abs(got - want).max()) if got.shape == want.shape else np.inf
            if not worst <= kept.answers.tolerance:
                raise Refusal(
                    f"golden input {i} is answered with {kept.answers.says(got)}, not {kept.answers.says(want)}",
                    url,
                    "The package was changed or broken on its way; build and release it anew",
                )
    return len(kept.inputs)


def ask(client: httpx.Client, of: Golden, inputs: np.ndarray) -> np.ndarray:
    """Answers [N, width] to inputs [N, ...], by the binary tensor extension."""
    body = of.contract.pack(inputs)
    head = json.dumps({
        "inputs": [{"name": of.contract.kind, "datatype": of.contract.datatype,
                    "shape": [len(inputs), *of.contract.shape], "parameters": {"binary_data_size": len(body)}}],
        "outputs": [{"name": of.answers.output, "parameters": {"binary_data": True}}],
    }).encode()  # fmt: skip
    try:
        answer = client.post(
            f"/v2/models/{of.recipe}/infer",
            content=head + body,
            headers={"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"},
        )
    except httpx.HTTPError as error:
        raise Refusal(f"there was no answer ({error})", client.base_url, "See the bento's log") from error
    if answer.status_code != 200:
        raise Refusal(
            f"the answer was {answer.status_code} ({answer.text[:200]})", client.base_url, "See the bento's log"
        )
    return _outputs(answer, len(inputs), client.base_url)


def _outputs(answer: httpx.Response, count: int, url: Any) -> np.ndarray:
    try:
        told = answer.content[: int(answer.headers["inference-header-content-length"])]
        shape = json.loads(told)["outputs"][0]["shape"]
        found = np.frombuffer(answer.content[len(told) :], np.float32).reshape(shape)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Refusal(f"the answer cannot be read ({error!r})", url, "See the bento's log") from error
    if found.ndim != 2 or len(found) != count:
        raise Refusal(f"the answer has the shape {found.shape}", url, "See the bento's log")
    return found


def prove(url: str, folder: Path, wanted: str) -> int:
    """What a bento must show before it gets a request: it runs on the wanted device, and `replay` finds no fault.

    Raises Refusal where it does not; returns how many golden inputs there were.
    """
    if (found := device(url)) != wanted:
        raise Refusal(f"it runs on the {found}, not on the {wanted}", url, "Mend the host or RATCHET_DEVICE")
    return replay(url, folder)


def device(url: str) -> str:
    """What the service really runs on. Raises Refusal when it does not say."""
    try:
        return str(httpx.get(f"{url}/v2/health/ready", timeout=5, **LOCAL).json()["device"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise Refusal(f"it does not say what it runs on ({error})", url, "See the bento's log") from error


def latency(url: str, folder: Path, requests: int = 200) -> tuple[float, float]:
    """(p50, p99) in milliseconds of requests of one input, warm, one after the other."""
    kept, took = read(folder), []
    with httpx.Client(base_url=url, timeout=10, **LOCAL) as client:
        for i in range(requests + 20):
            at = i % len(kept.inputs)
            started = time.perf_counter()
            ask(client, kept, kept.inputs[at : at + 1])
            took.append((time.perf_counter() - started) * 1000)
    return float(np.quantile(took[20:], 0.5)), float(np.quantile(took[20:], 0.99))
