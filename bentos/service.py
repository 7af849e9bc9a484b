"""The service inside a bento: BentoML's own API, the Open Inference Protocol, health.

It needs the packages of the group `bento` alone; it reads `model/` beside its package.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def _die_with_master() -> None:
    """A worker has a session of its own and would outlive its killed master, holding the port."""
    if sys.platform == "linux" and "--worker-id" in sys.argv:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() == 1:
            sys.exit("the master is gone")


_die_with_master()
# Set here for a person who serves the bento from a shell. ONNX Runtime reports to Microsoft by default.
os.environ.update(ORT_DISABLE_TELEMETRY="1", BENTOML_DO_NOT_TRACK="True")

import gc
import json
from collections.abc import Awaitable, Callable
from functools import cache, partial
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

from bentos import openapi
from bentos.admission import Admission
from bentos.caller import own_token
from bentos.feedback import Feedback
from bentos.inference import Served, refusal_response, routes
from bentos.model import SMALL_BATCH, Model, require_finite
from bentos.operations import Operations
from bentos.prediction_log import PredictionLog, Rules
from bentos.predictions import Predictions
from bentos.recent_answers import RecentAnswers
from bentos.request_body import App
from bentos.request_guard import RequestGuard
from ratchet import attribution, kinds, tasks
from ratchet.endpoints import CARD, DOCS, DURATION, FEEDBACK, MAX_BATCH, OPERATIONS
from ratchet.errors import Refusal

_MODEL = Path(__file__).resolve().parent.parent / "model"
META: dict[str, Any] = json.loads((_MODEL / "meta.json").read_text(encoding="utf-8"))
CONTRACT = kinds.of(META["contract"])
ANSWERS = tasks.served(META)
RECIPE, VERSION = META["recipe"], META["version"]
RECENT_ANSWERS = RecentAnswers(CONTRACT, ANSWERS, META["record_inputs"])
_LOG_FOLDER = Path(os.environ["RATCHET_LOG"]) if os.environ.get("RATCHET_LOG") else None
_WORKER = "--worker-id" in sys.argv
"""The master imports this file as well, and serves nobody."""
PREDICTIONS = PredictionLog(
    _LOG_FOLDER if _WORKER else None,
    int(os.environ.get("RATCHET_LOG_MB", "0")) << 20,
    CONTRACT,
    kinds.part(CONTRACT.kind, "logged"),
    Rules(**META.get("log", {})),
    META["tag"].partition(":")[2],
)


@cache
def model() -> Model:
    """Opened in the worker, since the master imports this file as well."""
    device, memory_mb = os.environ.get("RATCHET_DEVICE", "cpu"), int(os.environ.get("RATCHET_MEMORY_MB", "0"))
    return Model(RECIPE, _MODEL / "model.onnx", CONTRACT, device, memory_mb)


async def _predict(inputs: np.ndarray) -> np.ndarray:
    """Outputs [N, width] for inputs [N, ...], which are kept among the recent answers. Raises NotFinite."""
    outputs = await model().predict(inputs)
    require_finite(outputs, ANSWERS.output, META["tag"])
    model().count(inputs)
    RECENT_ANSWERS.add(inputs, outputs)
    PREDICTIONS.add(inputs, outputs)
    return outputs


async def _card(_: Request) -> Response:
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
    return Response((_MODEL / "model_card.html").read_bytes(), media_type="text/html", headers=policy)


_SERVED = Served(RECIPE, VERSION, META["tag"], CONTRACT, ANSWERS, model, _predict)
_ROUTES = routes(_SERVED)


async def _docs(_: Request) -> JSONResponse:
    return JSONResponse(openapi.describe(_service.openapi_spec.asdict(), _ROUTES, RECIPE, VERSION))


def _read(values: list[Any]) -> np.ndarray:
    return CONTRACT.read(values, CONTRACT.json_key)


def _read_in_parts(values: list[Any]) -> np.ndarray:
    """The same for many inputs: NumPy holds Python's lock while it reads a list, and requests wait for that."""
    try:
        return np.concatenate([_read(values[at : at + SMALL_BATCH]) for at in range(0, len(values), SMALL_BATCH)])
    except Refusal:
        return _read(values)  # which names the row as the caller counts it


async def _predict_json(values: list[Any] | Callable[[], list[Any]]) -> dict[str, Any]:
    """Predictions for inputs as JSON, or for those that a function reads. Raises Refusal."""
    values = values() if callable(values) else values
    if not isinstance(values, list):
        raise Refusal("it is no list", CONTRACT.json_key, "Send a list of inputs")
    # Checked first, since a long list of nothing takes long to read.
    if len(values) > MAX_BATCH:
        raise Refusal(f"there are {len(values)} inputs", CONTRACT.json_key, f"Send at most {MAX_BATCH}")
    inputs = _read(values) if len(values) <= SMALL_BATCH else await anyio.to_thread.run_sync(_read_in_parts, values)
    return {**ANSWERS.predictions(await _predict(inputs)), "model_version": VERSION}


async def _predict_one(read: Callable[[], np.ndarray]) -> dict[str, Any]:
    """A prediction for the one input that `read` returns. Raises Refusal."""
    outputs = await _predict(read())
    return {**ANSWERS.prediction(outputs[0]), "model_version": VERSION}


def _refusing(function: Callable[[Any], Awaitable[dict[str, Any]]]) -> Callable[[Any], Awaitable[dict[str, Any]]]:
    """The function for BentoML's API, which gets a response in place of a refusal."""

    async def respond(values: Any) -> dict[str, Any]:
        try:
            return await function(values)
        except Refusal as refusal:
            return refusal_response(refusal)  # type: ignore[return-value]

    return respond


_EXPLAIN_LOCK, _EXPLAIN_PATIENCE = anyio.Lock(), 10.0
"""One explanation at a time, and the seconds that another request waits for its turn."""


async def _explain_json(values: list[Any]) -> dict[str, Any]:
    """One at a time and beside the predictions, since it runs the model up to 65 times."""
    try:
        if len(values) != 1:
            raise Refusal(f"there are {len(values)} inputs", CONTRACT.json_key, "Send exactly one to be explained")
        input = CONTRACT.read(values, CONTRACT.json_key)
        with anyio.fail_after(_EXPLAIN_PATIENCE):
            await _EXPLAIN_LOCK.acquire()
    except Refusal as refusal:
        return refusal_response(refusal)  # type: ignore[return-value]
    except TimeoutError:
        busy = Refusal("another explanation is being computed", RECIPE, "Try again in a few seconds")
        return refusal_response(busy, 429)  # type: ignore[return-value]
    try:
        attribute = partial(attribution.attribute, CONTRACT, ANSWERS, model(), input)
        output, attributions = await anyio.to_thread.run_sync(attribute)
        weights = [each.weight for each in attributions]
        require_finite(np.array([[*output, *weights]]), ANSWERS.output, META["tag"])
    except Refusal as refusal:
        return refusal_response(refusal)  # type: ignore[return-value]
    finally:
        _EXPLAIN_LOCK.release()
    regions = []
    for each in attributions:
        quote = CONTRACT.quote(input, each.region)
        regions.append({"region": each.region, "weight": each.weight, **({"text": quote} if quote else {})})
    return {**ANSWERS.predictions(output[None]), "model_version": VERSION, "attributions": regions}


_SWITCH_SECONDS = 0.0005
"""After which a thread that reads a large batch lets the event loop go on. Python's default is 5 ms."""


class Service:
    """Predictions for inputs that satisfy the model's contract. The parameter is named after the kind of input."""

    def __init__(self) -> None:
        model()

    @bentoml.on_startup
    def freeze(self) -> None:
        """A full collection over a big heap is a pause of 70 ms; what is loaded now stays loaded."""
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(_SWITCH_SECONDS)


_apis = kinds.part(CONTRACT.kind, "endpoint").apis
for _name, _function in _apis(CONTRACT, _refusing(_predict_one), _refusing(_predict_json), _explain_json).items():
    setattr(Service, _name, bentoml.api(_function))

_decorate = bentoml.service(
    name=RECIPE,
    http={"host": "127.0.0.1"},
    workers=1,
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": "v2"},
)
Service = _decorate(Service)  # type: ignore[misc,assignment]
_service: Any = Service
_operations = Operations(RECENT_ANSWERS, PREDICTIONS, _LOG_FOLDER)
_feedback = Feedback(RECIPE, ANSWERS, PREDICTIONS)
_service.mount_asgi_app(Starlette(routes=_ROUTES), path="/v2", name="v2")
_service.mount_asgi_app(Starlette(routes=_operations.routes()), path=OPERATIONS, name="ops")
_service.mount_asgi_app(
    Starlette(routes=[Route("/", _feedback.accept, methods=["POST"])]), path=FEEDBACK, name="feedback"
)
_service.mount_asgi_app(Starlette(routes=[Route("/", _card)]), path=CARD, name="card")
_service.mount_asgi_app(Starlette(routes=[Route("/", _docs)]), path=DOCS, name="docs")


@cache
def _duration(path: str, status: int) -> Any:
    """The part of the histogram for a path and a status; looked up once."""
    return _histogram().labels(endpoint=path, http_response_code=status)


@cache
def _histogram() -> Any:
    return bentoml.metrics.Histogram(
        name=DURATION,
        documentation="The seconds that a prediction took",
        labelnames=["endpoint", "http_response_code"],
        buckets=[0.0001 * 2 ** (n / 2) for n in range(36)],
    )


def _record(path: str, status: int, seconds: float) -> None:
    _duration(path, status).observe(seconds)


_ADMISSION = Admission(META["tag"])
_predict_api = _apis(CONTRACT, _predict_one, _predict_json, _explain_json)["predict"]


def _in_front(guard: RequestGuard, app: App) -> Predictions:
    return Predictions(guard, app, _SERVED, _predict_api, _ADMISSION, _record)


_service.add_asgi_middleware(
    RequestGuard,
    recipe=RECIPE,
    headers={"x-model-version": VERSION, "x-bento": META["tag"]},
    token=own_token(_MODEL),
    admission=_ADMISSION,
    in_front=_in_front,
)
