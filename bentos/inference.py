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
from ratchet.endpoints import CONFIG, DURATION, EXTENSIONS, INFER, STATS
from ratchet.errors import Refusal


@dataclass(frozen=True)
class Served:
    """The one version of a model that a process serves. `model` opens it in the worker."""

    recipe: str
    version: str
    tag: str
    contract: Contract
    answers: Answers
    model: Callable[[], Model]
    predict: Callable[[np.ndarray], Awaitable[np.ndarray]]


def refusal_response(refusal: Refusal, status: int = 400) -> JSONResponse:
    """A refusal as an HTTP response: `status` if it is the caller's fault."""
    return JSONResponse(refusal.to_json(), status_code=status_of(refusal, status))


def status_of(refusal: Refusal, status: int = 400) -> int:
    """`status` if it is the caller's fault."""
    return 503 if isinstance(refusal, Unavailable) else 500 if isinstance(refusal, NotFinite) else status


def routes(served: Served) -> list[Route]:
    """The routes, without the prefix `/v2`."""
    handlers = _Handlers(served)
    result = [
        Route("/", handlers.server),
        Route("/health/live", handlers.live),
        Route("/health/ready", handlers.ready),
        Route("/models", handlers.models),
        Route(f"/models{STATS}", handlers.statistics),
        Route("/repository/index", handlers.index, methods=["POST"]),
    ]
    for base in ("/models/{model}", "/models/{model}/versions/{version}"):
        result += [
            Route(base, handlers.metadata),
            Route(f"{base}/ready", handlers.ready),
            Route(f"{base}{CONFIG}", handlers.config),
            Route(f"{base}{STATS}", handlers.statistics),
            Route(f"{base}{INFER}", handlers.infer, methods=["POST"]),
        ]
    return result


@dataclass(frozen=True)
class _Handlers:
    """The docstrings are what the OpenAPI page says of each route."""

    served: Served

    async def server(self, _: Request) -> JSONResponse:
        """What this server speaks."""
        return JSONResponse({"name": "ratchet", "version": self.served.tag, "extensions": EXTENSIONS})

    async def live(self, _: Request) -> JSONResponse:
        """Whether the process answers."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> JSONResponse:
        """Whether predictions are answered."""
        if response := self._unknown(request):
            return response
        model = self.served.model()
        return refusal_response(model.fault) if model.fault else JSONResponse({"ready": True, "device": model.device})

    async def models(self, _: Request) -> JSONResponse:
        """The models that are served here."""
        return JSONResponse({"models": [self.served.recipe]})

    async def index(self, _: Request) -> JSONResponse:
        """The models that are served here, with their state."""
        fault = self.served.model().fault
        state, reason = ("UNAVAILABLE", fault.what) if fault else ("READY", "")
        model = {"name": self.served.recipe, "version": self.served.version, "state": state, "reason": reason}
        return JSONResponse([model])

    async def metadata(self, request: Request) -> JSONResponse:
        """The inputs and outputs of the model."""
        served = self.served
        described = protocol.metadata(served.recipe, served.version, served.contract, served.answers)
        return self._unknown(request) or JSONResponse(described)

    async def config(self, request: Request) -> JSONResponse:
        """The configuration of the model, as Triton has it."""
        described = protocol.config(self.served.recipe, self.served.contract, self.served.answers)
        return self._unknown(request) or JSONResponse(described)

    async def statistics(self, request: Request) -> JSONResponse:
        """The requests so far, and how long they took."""
        if response := self._unknown(request):
            return response
        model, durations = self.served.model(), _durations()
        counts = protocol.statistics(
            self.served.recipe, self.served.version, durations, model.answered, model.answered_at
        )
        return JSONResponse({"model_stats": [counts]})

    async def infer(self, request: Request) -> Response:
        """Predictions for one tensor of inputs."""
        # `bentos.predictions` answers this path before any route, but for another model or version than this.
        return self._unknown(request) or refusal_response(
            Refusal("nothing is served here", request.url.path, "See /v2"), 404
        )

    def _unknown(self, request: Request) -> JSONResponse | None:
        """The response to a path with another model or version than the one that is served."""
        recipe, version = self.served.recipe, self.served.version
        name, requested = request.path_params.get("model", recipe), request.path_params.get("version", version)
        if name != recipe:
            return refusal_response(Refusal("there is no such model", name, f"The one served here is {recipe}"), 404)
        if requested != version:
            return refusal_response(Refusal("there is no such version", requested, f"The one served is {version}"), 404)
        return None


def _durations() -> protocol.Durations:
    """The predictions of this process and of those before it under the same master."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    totals = {"succeeded": [0.0, 0.0], "failed": [0.0, 0.0]}
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        if match := re.fullmatch(rf"{DURATION}_(count|sum)", sample.name):
            outcome = "succeeded" if sample.labels["http_response_code"] == "200" else "failed"
            totals[outcome][match[1] == "sum"] += sample.value
    return protocol.Durations(**{name: (int(count), total) for name, (count, total) in totals.items()})
