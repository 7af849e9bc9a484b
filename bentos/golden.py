"""The golden set: inputs with known outputs that travel inside the bento and are asked over HTTP."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import numpy as np

from ratchet.errors import Refusal
from ratchet.local_http import LOCAL

TOLERANCE = 1e-3
"""Largest difference of a probability: another machine may add in another order."""


def write(folder: Path, images: np.ndarray, probabilities: np.ndarray) -> None:
    """Keeps images [N, height, width] and what the packaged model answers to them [N, classes]."""
    if not len(images):
        raise Refusal("the golden set is empty", folder, "Train on a snapshot with records on its test side")
    np.savez_compressed(folder / "golden.npz", images=images, probabilities=probabilities)


def replay(url: str, recipe: str, folder: Path) -> int:
    """Asks every golden input at `url` and compares; returns how many there were.

    Raises Refusal on an answer that is not 200, or differs by more than `TOLERANCE`.
    """
    with np.load(folder / "golden.npz", allow_pickle=False) as kept:
        images, expected = kept["images"], kept["probabilities"]
    if not len(images):
        raise Refusal("the golden set is empty", folder, "Build the package anew")
    with httpx.Client(base_url=url, timeout=10, **LOCAL) as client:
        for i, (image, want) in enumerate(zip(images, expected, strict=True)):
            got = ask(client, recipe, image[None])[0]
            worst = float(np.abs(got - want).max()) if got.shape == want.shape else np.inf
            if not worst <= TOLERANCE:
                raise Refusal(
                    f"golden input {i} is answered with class {int(got.argmax())} ({got.max():.3f}), "
                    f"not {int(want.argmax())} ({want.max():.3f})",
                    url,
                    "The package was changed or broken on its way; build and release it anew",
                )
    return len(images)


def ask(client: httpx.Client, recipe: str, images: np.ndarray) -> np.ndarray:
    """Probabilities [N, classes] for images [N, height, width], by the binary tensor extension."""
    head = json.dumps({
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": list(images.shape),
                    "parameters": {"binary_data_size": images.nbytes}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }).encode()  # fmt: skip
    try:
        answer = client.post(
            f"/v2/models/{recipe}/infer",
            content=head + images.tobytes(),
            headers={"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"},
        )
    except httpx.HTTPError as error:
        raise Refusal(f"there was no answer ({error})", client.base_url, "See the bento's log") from error
    if answer.status_code != 200:
        raise Refusal(
            f"the answer was {answer.status_code} ({answer.text[:200]})", client.base_url, "See the bento's log"
        )
    try:
        told = answer.content[: int(answer.headers["inference-header-content-length"])]
        shape = json.loads(told)["outputs"][0]["shape"]
        found = np.frombuffer(answer.content[len(told) :], np.float32).reshape(shape)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Refusal(f"the answer cannot be read ({error!r})", client.base_url, "See the bento's log") from error
    if found.ndim != 2 or len(found) != len(images):
        raise Refusal(f"the answer has the shape {found.shape}", client.base_url, "See the bento's log")
    return found


def prove(url: str, recipe: str, folder: Path, wanted: str) -> int:
    """What a bento must show before it gets a request: it runs on the wanted device, and `replay` finds no fault.

    Raises Refusal where it does not; returns how many golden inputs there were.
    """
    if (found := device(url)) != wanted:
        raise Refusal(f"it runs on the {found}, not on the {wanted}", url, "Mend the host or RATCHET_DEVICE")
    return replay(url, recipe, folder)


def device(url: str) -> str:
    """What the service really runs on. Raises Refusal when it does not say."""
    try:
        return str(httpx.get(f"{url}/v2/health/ready", timeout=5, **LOCAL).json()["device"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise Refusal(f"it does not say what it runs on ({error})", url, "See the bento's log") from error


def latency(url: str, recipe: str, folder: Path, requests: int = 200) -> tuple[float, float]:
    """(p50, p99) in milliseconds of one-image requests, warm, one after the other."""
    with np.load(folder / "golden.npz", allow_pickle=False) as kept:
        images = kept["images"]
    took = []
    with httpx.Client(base_url=url, timeout=10, **LOCAL) as client:
        for i in range(requests + 20):
            started = time.perf_counter()
            ask(client, recipe, images[i % len(images)][None])
            took.append((time.perf_counter() - started) * 1000)
    return float(np.quantile(took[20:], 0.5)), float(np.quantile(took[20:], 0.99))
