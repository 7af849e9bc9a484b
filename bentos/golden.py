"""The golden set: inputs with known outputs that travel inside the bento and are sent to it over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from bentos.caller import GOLDEN, own_token
from ratchet import kinds, tasks
from ratchet.answers import Answers
from ratchet.contract import Contract
from ratchet.endpoints import INFER, OWN, READY, model
from ratchet.errors import Refusal
from ratchet.local_http import LOCAL
from ratchet.recipe import Recipe

if TYPE_CHECKING:  # a host has no pyarrow
    from ratchet.lake.snapshot import Examples
    from ratchet.lake.split import Side

SIZE = 32
_SEE_LOG = "See the bento's log"


@dataclass(frozen=True)
class Golden:
    """Inputs [N, ...] of a contract, and the packaged model's outputs [N, width]."""

    recipe: str
    contract: Contract
    answers: Answers
    inputs: np.ndarray
    outputs: np.ndarray
    token: str
    """With which Ratchet's own requests to the bento are marked."""


@dataclass(frozen=True)
class Verification:
    """A golden set that was answered as expected: its size, and the latencies of its requests."""

    count: int
    p50_ms: float


def choose_inputs(recipe: Recipe, sides: Mapping[Side, Examples]) -> np.ndarray:
    """Inputs that may appear in an artifact: from the test side, or synthetic ones if raw inputs may not."""
    if recipe.show_inputs:
        return sides["test"].inputs[:SIZE]
    rng, train = np.random.default_rng(0), sides["train"]
    strata = [train.inputs[mask] for mask in recipe.answers.strata(train.targets)]
    each = -(-SIZE // len(strata))
    return np.concatenate([recipe.contract.synthesize(each, rng, like) for like in strata])


def write(folder: Path, inputs: np.ndarray, outputs: np.ndarray) -> None:
    """Writes the set. Raises Refusal if it is empty."""
    if not len(inputs):
        raise Refusal("the golden set is empty", folder, "Train on a snapshot with records on its test side")
    plain = inputs.astype(str) if inputs.dtype == object else inputs
    np.savez_compressed(folder / GOLDEN, inputs=plain, outputs=outputs)


def read(folder: Path) -> Golden:
    """The set in a bento's model folder. Raises Refusal if it is empty."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    contract = kinds.of(meta["contract"])
    with np.load(folder / GOLDEN, allow_pickle=False) as arrays:
        inputs, outputs = arrays["inputs"], arrays["outputs"]
    if not len(inputs):
        raise Refusal("the golden set is empty", folder, "Build the package again")
    return Golden(meta["recipe"], contract, tasks.served(meta), inputs, outputs, own_token(folder))


def replay(url: str, folder: Path) -> Verification:
    """Sends every golden input to `url` and compares the outputs.

    Raises Refusal on a status other than 200, or an output that differs by more than the tolerance.
    """
    golden, times = read(folder), []
    with httpx.Client(base_url=url, timeout=10, **LOCAL) as client:
        for i, expected in enumerate(golden.outputs):
            start = time.perf_counter()
            output = infer(client, golden, golden.inputs[i : i + 1])[0]
            times.append((time.perf_counter() - start) * 1000)
            worst = float(np.abs(output - expected).max()) if output.shape == expected.shape else np.inf
            if not worst <= golden.answers.tolerance:
                described = golden.answers.describe(output), golden.answers.describe(expected)
                what = f"golden input {i} is answered with {described[0]}, not {described[1]}"
                raise Refusal(what, url, "The package was changed or damaged; build and release it again")
    return Verification(len(golden.inputs), float(np.median(times)))


def infer(client: httpx.Client, golden: Golden, inputs: np.ndarray) -> np.ndarray:
    """Outputs [N, width] for inputs [N, ...], by the binary tensor extension. Raises Refusal if there are none."""
    tensors = golden.contract.to_tensors(inputs)
    described = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
            "parameters": {"binary_data_size": len(tensor.raw or b"")},
        }
        for tensor in tensors
    ]
    body = b"".join(tensor.raw or b"" for tensor in tensors)
    outputs = [{"name": golden.answers.output, "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": described, "outputs": outputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    headers[OWN] = golden.token
    try:
        response = client.post(f"{model(golden.recipe)}{INFER}", content=head + body, headers=headers)
    except httpx.HTTPError as error:
        raise Refusal(f"there was no response ({error})", client.base_url, _SEE_LOG) from error
    if response.status_code != 200:
        what = f"the response was {response.status_code} ({response.text[:200]})"
        raise Refusal(what, client.base_url, _SEE_LOG)
    return _outputs(response, len(inputs), client.base_url)


def _outputs(response: httpx.Response, count: int, url: Any) -> np.ndarray:
    try:
        head = response.content[: int(response.headers["inference-header-content-length"])]
        shape = json.loads(head)["outputs"][0]["shape"]
        outputs = np.frombuffer(response.content[len(head) :], np.float32).reshape(shape)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Refusal(f"the response cannot be read ({error!r})", url, _SEE_LOG) from error
    if outputs.ndim != 2 or len(outputs) != count:
        raise Refusal(f"the output has the shape {outputs.shape}", url, _SEE_LOG)
    return outputs


def verify(url: str, folder: Path, device: str) -> Verification:
    """What a bento must show before it gets a request: it runs on the device, and answers its golden set.

    Raises Refusal if it does not.
    """
    actual = device_of(url)
    if actual != device:
        raise Refusal(f"it runs on the {actual}, not on the {device}", url, "Correct the host or RATCHET_DEVICE")
    return replay(url, folder)


def device_of(url: str) -> str:
    """The device that the service runs on. Raises Refusal if it does not say."""
    try:
        return str(httpx.get(f"{url}{READY}", timeout=5, **LOCAL).json()["device"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise Refusal(f"it does not say which device it runs on ({error})", url, _SEE_LOG) from error
