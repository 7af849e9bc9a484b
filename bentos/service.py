"""The service inside a bento: BentoML's own API, the Open Inference Protocol, health.

Runs with bentoml, onnxruntime and NumPy alone, and Pillow for images; reads `model/` beside its package.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def _die_with_master() -> None:
    """A worker lives in a session of its own and would outlive its killed master, holding the port."""
    if sys.platform == "linux" and "--worker-id" in sys.argv:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() == 1:
            sys.exit("the master is gone")


_die_with_master()
# Also where a person serves the bento from a plain shell. ONNX Runtime reports to Microsoft by default.
os.environ.update(ORT_DISABLE_TELEMETRY="1", BENTOML_DO_NOT_TRACK="True")

import gc
import json
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import bentoml
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bentos import protocol
from bentos.door import Door
from bentos.model import Model, Unable
from bentos.records import Records
from ratchet import answers, contract
from ratchet import explain as explaining
from ratchet.errors import Refusal

_MODEL = Path(__file__).resolve().parent.parent / "model"
META: dict[str, Any] = json.loads((_MODEL / "meta.json").read_text())
CONTRACT = contract.of(META["contract"])
ANSWERS = answers.of(META["contract"], META["classes"])
RECIPE, VERSION = META["recipe"], META["version"]
RECORDS = Records(CONTRACT, ANSWERS, META["record_inputs"])


@cache
def model() -> Model:
    """Opened in the worker, since the master, too, imports this file."""
    device, memory_mb = os.environ.get("RATCHET_DEVICE", "cpu"), int(os.environ.get("RATCHET_MEMORY_MB", "0"))
    return Model(RECIPE, _MODEL / "model.onnx", CONTRACT, device, memory_mb)


async def _answer(inputs: np.ndarray) -> np.ndarray:
    """Answers [N, width] to inputs [N, ...]; both are remembered.

    Raises ValueError, which is a 500, on a number that is not finite: no answer beats a wrong one.
    """
    found = await model().answer(inputs)
    _finite(found)
    RECORDS.add(inputs, found)
    return found


def _finite(numbers: Any) -> None:
    if not np.isfinite(numbers).all():
        raise ValueError("the model answered a number that is not finite")


def _refused(refusal: Refusal, status: int = 400) -> JSONResponse:
    return JSONResponse(refusal.to_json(), status_code=503 if isinstance(refusal, Unable) else status)


def _known(request: Request) -> JSONResponse | None:
    name, version = request.path_params["model"], request.path_params.get("version", VERSION)
    if name != RECIPE:
        return _refused(Refusal("there is no such model", name, f"The one served here is {RECIPE}"), 404)
    if version != VERSION:
        return _refused(Refusal("there is no such version", version, f"The one served here is {VERSION}"), 404)
    return None


async def _server(_: Request) -> JSONResponse:
    return JSONResponse({"name": "ratchet", "version": META["tag"], "extensions": ["binary_tensor_data"]})


async def _live(_: Request) -> JSONResponse:
    return JSONResponse({"live": True})


async def _ready(request: Request) -> JSONResponse:
    if "model" in request.path_params and (unknown := _known(request)):
        return unknown
    if fault := model().fault:
        return _refused(fault)
    return JSONResponse({"ready": True, "device": model().device})


async def _metadata(request: Request) -> JSONResponse:
    classes = tuple(META["classes"])
    return _known(request) or JSONResponse(protocol.metadata(RECIPE, VERSION, CONTRACT, ANSWERS, classes))


async def _infer(request: Request) -> Response:
    if unknown := _known(request):
        return unknown
    try:
        length = request.headers.get("inference-header-content-length")
        asked = protocol.parse(await request.body(), length, CONTRACT, ANSWERS)
        found = ANSWERS.tensors(await _answer(asked.inputs))
    except Refusal as refusal:
        return _refused(refusal)
    body, headers = protocol.render(asked, found, RECIPE, VERSION)
    return Response(body, headers=headers)


async def _records(request: Request) -> JSONResponse:
    after = request.query_params.get("after", "0")
    return JSONResponse(RECORDS.after(int(after) if after.isdigit() and len(after) < 20 else 0))


async def _dossier(_: Request) -> Response:
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
    return Response((_MODEL / "dossier.html").read_bytes(), media_type="text/html", headers=policy)


_ROUTES = [Route("/", _server), Route("/health/live", _live), Route("/health/ready", _ready)]
for _base in ("/models/{model}", "/models/{model}/versions/{version}"):
    _ROUTES += [
        Route(_base, _metadata),
        Route(f"{_base}/ready", _ready),
        Route(f"{_base}/infer", _infer, methods=["POST"]),
    ]


async def _predict(values: list[Any]) -> dict[str, Any]:
    try:
        # Looked at first: a long list of nothing takes long to read.
        if len(values) > protocol.MAX_BATCH:
            raise Refusal(f"there are {len(values)} inputs", CONTRACT.many, f"Send at most {protocol.MAX_BATCH}")
        found = await _answer(CONTRACT.read(values, CONTRACT.many))
    except Refusal as refusal:
        return _refused(refusal)  # type: ignore[return-value]
    return {**ANSWERS.told(found), "model_version": VERSION}


_EXPLAINING, _PATIENCE = anyio.Lock(), 10.0
"""One explanation at a time, and seconds that another waits for its turn."""


async def _explain(values: list[Any]) -> dict[str, Any]:
    """One at a time, and beside the answers: it asks the model up to 64 times."""
    try:
        if len(values) != 1:
            raise Refusal(f"there are {len(values)} inputs", CONTRACT.many, "Send exactly one to be explained")
        one = CONTRACT.read(values, CONTRACT.many)
        with anyio.fail_after(_PATIENCE):
            await _EXPLAINING.acquire()
    except Refusal as refusal:
        return _refused(refusal)  # type: ignore[return-value]
    except TimeoutError:
        busy = Refusal("other answers are being explained", RECIPE, "Try again in a while")
        return _refused(busy, 429)  # type: ignore[return-value]
    try:
        answer, parts = await anyio.to_thread.run_sync(explaining.explain, CONTRACT, ANSWERS, model(), one)
    except Unable as unable:
        return _refused(unable)  # type: ignore[return-value]
    finally:
        _EXPLAINING.release()
    _finite([*answer, *(part.weight for part in parts)])
    told = [{"at": part.at, "weight": part.weight, **_quoted(one, part.at)} for part in parts]
    return {**ANSWERS.told(answer[None]), "model_version": VERSION, "parts": told}


def _quoted(one: np.ndarray, at: tuple[int, ...]) -> dict[str, str]:
    return {"text": str(one[0])[slice(*at)]} if CONTRACT.kind == "text" else {}


@bentoml.service(
    name=RECIPE,
    http={"host": "127.0.0.1"},
    workers=1,
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    metrics={"duration": {"buckets": [0.0001 * 2 ** (n / 2) for n in range(36)]}},
    tracing={"excluded_urls": "v2"},
)
class Service:
    """Answers by the contract that the model was trained under. What `predict` takes is named after its kind."""

    def __init__(self) -> None:
        model()

    @bentoml.on_startup
    def freeze(self) -> None:
        """A full collection over a big heap is a pause of 70 ms; what is loaded stays loaded."""
        gc.collect()
        gc.freeze()

    if CONTRACT.kind == "image":

        @bentoml.api
        async def classify(self, image: Path) -> dict[str, Any]:
            """One PNG or JPEG of exactly the model's size, in the form field `image`."""
            try:
                found = await _answer(CONTRACT.unpack(CONTRACT.hold(image.read_bytes(), "the image"), 1))
            except Refusal as refusal:
                return _refused(refusal)  # type: ignore[return-value]
            told = dict(zip(META["classes"], map(float, found[0]), strict=True))
            return {"label": ANSWERS.told(found)["label"][0], "probabilities": told, "model_version": VERSION}

        @bentoml.api
        async def predict(self, images: list[Any]) -> dict[str, Any]:
            """A JSON array of images [N, height, width], whole numbers."""
            return await _predict(images)

        @bentoml.api
        async def explain(self, images: list[Any]) -> dict[str, Any]:
            """One image [1, height, width]: what each part of it (top, bottom, left, right) adds to the answer."""
            return await _explain(images)

    elif CONTRACT.kind == "text":

        @bentoml.api
        async def predict(self, texts: list[Any]) -> dict[str, Any]:
            """A JSON array of plain texts."""
            return await _predict(texts)

        @bentoml.api
        async def explain(self, texts: list[Any]) -> dict[str, Any]:
            """One text in an array: what each of its words adds to the answer."""
            return await _explain(texts)

    else:

        @bentoml.api
        async def predict(self, series: list[Any]) -> dict[str, Any]:
            """A JSON array of windows [N, window], numbers, the newest last."""
            return await _predict(series)

        @bentoml.api
        async def explain(self, series: list[Any]) -> dict[str, Any]:
            """One window [1, window]: how far each of its steps moves the forecast."""
            return await _explain(series)


_service: Any = Service  # the decorator makes a bentoml Service of the class
_service.mount_asgi_app(Starlette(routes=_ROUTES), path="/v2", name="v2")
_service.mount_asgi_app(Starlette(routes=[Route("/records", _records)]), path="/ops", name="ops")
_service.mount_asgi_app(Starlette(routes=[Route("/", _dossier)]), path="/dossier", name="dossier")
_service.add_asgi_middleware(Door, headers={"x-model-version": VERSION, "x-bento": META["tag"]})
