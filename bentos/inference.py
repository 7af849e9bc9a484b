"""The routes of the Open Inference Protocol, for a mount at `/v2`, with Triton's extensions that clients call."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bentos import protocol
from bentos.model import Model, NotFinite, Unavailable
from ratchet.answers import Answers
from ratchet.contract import Contract
from ratchet.endpoints import CONFIG, EXTENSIONS, INFER, PREDICTIONS, STATS
from ratchet.errors import Refusal

_DURATION = "bentoml_service_request_duration_seconds"
"""BentoML's histogram (1.4)."""


@dataclass(frozen=True)
class Served:
    """The one version of a model that a process serves. `model` opens it in the worker."""

    recipe: str
    version: str
    tag: str
    classes: tuple[str, ...]
    contract: Contract
    answers: Answers
    model: Callable[[], Model]
    predict: Callable[[np.ndarray], Awaitable[np.ndarray]]


def refusal_response(refusal: Refusal, status: int = 400) -> JSONResponse:
    """A refusal as an HTTP response: `status` if it is the caller's fault."""
    status = 503 if isinstance(refusal, Unavailable) else 500 if isinstance(refusal, NotFinite) else status
    return JSONResponse(refusal.to_json(), status_code=status)


def routes(served: Served) -> list[Route]:
    """The routes, without the prefix `/v2`."""
    recipe, version, contract, answers = served.recipe, served.version, served.contract, served.answers

    def unknown(request: Request) -> JSONResponse | None:
        name, requested = request.path_params.get("model", recipe), request.path_params.get("version", version)
        if name != recipe:
            return refusal_response(Refusal("there is no such model", name, f"The one served here is {recipe}"), 404)
        if requested != version:
            return refusal_response(Refusal("there is no such version", requested, f"The one served is {version}"), 404)
        return None

    async def server(_: Request) -> JSONResponse:
        """What this server speaks."""
        return JSONResponse({"name": "ratchet", "version": served.tag, "extensions": EXTENSIONS})

    async def live(_: Request) -> JSONResponse:
        """Whether the process answers."""
        return JSONResponse({"live": True})

    async def ready(request: Request) -> JSONResponse:
        """Whether predictions are answered."""
        if response := unknown(request):
            return response
        model = served.model()
        return refusal_response(model.fault) if model.fault else JSONResponse({"ready": True, "device": model.device})

    async def models(_: Request) -> JSONResponse:
        """The models that are served here."""
        return JSONResponse({"models": [recipe]})

    async def index(_: Request) -> JSONResponse:
        """The models that are served here, with their state."""
        fault = served.model().fault
        state, reason = ("UNAVAILABLE", fault.what) if fault else ("READY", "")
        return JSONResponse([{"name": recipe, "version": version, "state": state, "reason": reason}])

    async def metadata(request: Request) -> JSONResponse:
        """The inputs and outputs of the model."""
        described = protocol.metadata(recipe, version, contract, answers, served.classes)
        return unknown(request) or JSONResponse(described)

    async def config(request: Request) -> JSONResponse:
        """The configuration of the model, as Triton has it."""
        return unknown(request) or JSONResponse(protocol.config(recipe, contract, answers))

    async def statistics(request: Request) -> JSONResponse:
        """The requests so far, and how long they took."""
        if response := unknown(request):
            return response
        model = served.model()
        counted = protocol.statistics(recipe, version, _durations(), model.answered, model.answered_at)
        return JSONResponse({"model_stats": [counted]})

    async def infer(request: Request) -> Response:
        """Predictions for one tensor of inputs."""
        if response := unknown(request):
            return response
        try:
            length = request.headers.get("inference-header-content-length")
            parsed = protocol.parse(await request.body(), length, contract, answers)
            tensors = answers.tensors(await served.predict(parsed.inputs))
        except Refusal as refusal:
            return refusal_response(refusal)
        body, headers = protocol.render(parsed, tensors, recipe, version)
        return Response(body, headers=headers)

    result = [
        Route("/", server),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/models", models),
        Route(f"/models{STATS}", statistics),
        Route("/repository/index", index, methods=["POST"]),
    ]
    for base in ("/models/{model}", "/models/{model}/versions/{version}"):
        result += [Route(base, metadata), Route(f"{base}/ready", ready), Route(f"{base}{CONFIG}", config)]
        result += [Route(f"{base}{STATS}", statistics), Route(f"{base}{INFER}", infer, methods=["POST"])]
    return result


def _durations() -> protocol.Durations:
    """The predictions of this process and of those before it under the same master, from BentoML's histogram."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    totals = {"succeeded": [0.0, 0.0], "failed": [0.0, 0.0]}
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        match = re.fullmatch(rf"{_DURATION}_(count|sum)", sample.name)
        if match and sample.labels["endpoint"].endswith(PREDICTIONS):
            outcome = "succeeded" if sample.labels["http_response_code"] == "200" else "failed"
            totals[outcome][match[1] == "sum"] += sample.value
    return protocol.Durations(**{name: (int(count), total) for name, (count, total) in totals.items()})
