"""The way of a prediction: around BentoML's middlewares and its router, which cost more than a small model does.

BentoML's `TimeoutMiddleware` (1.4) starts a timer for each request and never cancels it, so all requests of the last 30
seconds stay in memory, and every garbage collection walks through them; see docs/serving.md.
"""

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio.to_thread
import orjson

from bentos import protocol, rpc
from bentos.admission import Admission, CallerGone
from bentos.inference import Served, status_of
from bentos.model import SMALL_BATCH
from bentos.protocol import InferenceRequest
from bentos.request_body import (
    App,
    Description,
    Message,
    Receive,
    RefusedRequest,
    Send,
    describe,
    read_body,
    replayed,
    unpacked,
)
from bentos.request_guard import RequestGuard, original_path, refusal_messages
from ratchet.endpoints import BENTOML, CLASSIFY, GRPC, INFER, LARGE_BODY, MAX_BODY, PREDICT, PREDICTIONS
from ratchet.endpoints import model as path_of
from ratchet.errors import Refusal

log = logging.getLogger(__name__)
Record = Callable[[str, int, float], None]
"""Takes the path, the status and the seconds of a prediction."""
_JSON = [(b"content-type", b"application/json")]
_PROTOBUF = [(b"content-type", rpc.CONTENT_TYPE.encode())]


class Predictions:
    """An ASGI application in front of BentoML's own, `app`. `guard` is the innermost of BentoML's middlewares.

    `predict_json` is the function of the path `/predict`, whose parameters are the keys of the body; it raises Refusal.
    """

    def __init__(
        self,
        guard: RequestGuard,
        app: App,
        served: Served,
        predict_json: Callable[..., Awaitable[Mapping[str, Any]]],
        admission: Admission,
        record: Record,
    ) -> None:
        self.app, self.guard, self.served, self.admission, self.record = app, guard, served, admission, record
        models = path_of(served.recipe), path_of(served.recipe, served.version)
        infer: dict[str, _Answer] = {f"{path}{INFER}": self._infer for path in models}
        self.answers = {**infer, PREDICT: self._predict, **self._rpcs()}
        """What answers a path; the other predictions are BentoML's."""
        self.recorded = {*(path for path in self.answers if path.endswith(PREDICTIONS)), CLASSIFY}
        self.predict_json = predict_json
        self.too_many = {
            is_rpc: self._refusal(503, admission.too_many, GRPC if is_rpc else "") for is_rpc in (False, True)
        }
        """The prepared messages of a refusal, by gRPC or not."""
        self.keys = list(inspect.signature(predict_json).parameters)[1:]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if not path or path in BENTOML:
            await self.app(scope, receive, send)
        elif scope["method"] == "POST" and (path in self.recorded or path in self.answers):
            if self.admission.admit():
                await self._recorded(path, scope, receive, send)
            else:
                for message in self.too_many[GRPC in path]:
                    await send(message)
                if path in self.recorded:
                    self.record(path, 503, 0.0)
        else:  # BentoML would keep counters of every path that a caller invents
            await self.guard(scope, receive, send)

    async def _recorded(self, path: str, scope: Message, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if answer := self.answers.get(path):
                await self._answered(answer, scope, receive, noting_status)
            else:
                await self.guard(scope, receive, noting_status)
        except Exception:
            log.exception("%s could not be answered", path)
            if not status:
                failed = Refusal("the service failed", original_path(scope), "Try again; the service's log has more")
                await self._refuse(500, failed, scope, noting_status)
        if status and path in self.recorded:
            self.record(path, status, time.perf_counter() - started)

    async def _answered(self, answer: "_Answer", scope: Message, receive: Receive, send: Send) -> None:
        self.guard.note_caller(scope)
        try:
            described = describe(scope)
            with self.admission.holding() as hold:
                body = await read_body(receive, hold)
                if described.encoding:
                    try:
                        body = unpacked(body, described.encoding, LARGE_BODY - 1)
                        described = replace(described, encoding="")
                    except RefusedRequest as refused:
                        if refused.status != 413:
                            raise
                        hold(MAX_BODY)  # what it may unfold to, in its turn
                response = await answer(body, described, receive)
            if response is None:
                await self.guard(scope, replayed(body, receive), send)
                return
        except CallerGone:
            return
        except RefusedRequest as refused:
            await self._refuse(refused.status, refused.at(original_path(scope)), scope, send)
            return
        except Refusal as refusal:
            await self._refuse(404 if isinstance(refusal, rpc.Unknown) else status_of(refusal), refusal, scope, send)
            return
        content, headers = response
        length = (b"content-length", b"%d" % len(content))
        await send({"type": "http.response.start", "status": 200, "headers": [length, *headers, *self.guard.headers]})
        await send({"type": "http.response.body", "body": content})

    async def _refuse(self, status: int, refusal: Refusal, scope: Message, send: Send) -> None:
        for message in self._refusal(status, refusal, scope["path"]):
            await send(message)

    def _refusal(self, status: int, refusal: Refusal, path: str) -> Sequence[Message]:
        refuse = rpc.refusal_messages if GRPC in path else refusal_messages
        return refuse(status, refusal, self.guard.headers)

    async def _infer(self, body: bytes, described: Description, receive: Receive) -> "_Response":
        """By the Open Inference Protocol."""
        served, encoding = self.served, described.encoding

        def parse() -> InferenceRequest:
            content = unpacked(body, encoding) if encoding else body
            return protocol.parse(content, described.header_length, served.contract, served.answers)

        return await self._inferred(parse, self._rendered, not encoding and len(body) < LARGE_BODY, receive)

    async def _inferred(
        self,
        parse: Callable[[], InferenceRequest],
        rendered: Callable[[InferenceRequest, Any], "_Response"],
        at_once: bool,
        receive: Receive,
    ) -> "_Response":
        """The response to what `parse` returns: at once if it is little, else in its turn."""
        small = parse() if at_once else None
        if small is not None and len(small.inputs) <= SMALL_BATCH:
            return rendered(small, await self.served.predict(small.inputs))

        async def answer() -> "_Response":
            request = small if small is not None else await anyio.to_thread.run_sync(parse)
            outputs = await self.served.predict(request.inputs)
            return await anyio.to_thread.run_sync(rendered, request, outputs)

        return await self.admission.take_turn(answer, partial(_gone, receive))

    def _rpcs(self) -> "dict[str, _Answer]":
        """What answers a method of the gRPC service, by its path."""
        served, own = self.served, f"{path_of(self.served.recipe)}{GRPC}"

        def of(method: str, respond: Callable[[Any], bytes]) -> _Answer:
            async def answer(body: bytes, described: Description, receive: Receive) -> _Response:
                return respond(rpc.parse_message(method, body)), _PROTOBUF

            return answer

        def metadata(message: Any) -> bytes:
            rpc.require_version(message.version, served.version)
            return rpc.model_metadata(served.recipe, served.version, served.contract, served.answers)

        def ready(message: Any) -> bytes:
            rpc.require_version(message.version, served.version)
            return rpc.message_of("ModelReady", ready=not served.model().fault)

        return {
            f"/v2{GRPC}/ServerLive": of("ServerLive", lambda _: rpc.message_of("ServerLive", live=True)),
            f"/v2{GRPC}/ServerReady": of("ServerReady", lambda _: rpc.message_of("ServerReady", ready=True)),
            f"/v2{GRPC}/ServerMetadata": of("ServerMetadata", lambda _: rpc.server_metadata()),
            f"{own}/ModelReady": of("ModelReady", ready),
            f"{own}/ModelMetadata": of("ModelMetadata", metadata),
            f"{own}/ModelInfer": self._infer_rpc,
        }

    async def _infer_rpc(self, body: bytes, described: Description, receive: Receive) -> "_Response":
        """By the protocol's gRPC service."""
        served = self.served
        parse = partial(rpc.parse, body, served.contract, served.answers, served.version)

        def rendered(request: InferenceRequest, outputs: Any) -> _Response:
            return rpc.render(request, served.answers.tensors(outputs), served.recipe, served.version), _PROTOBUF

        return await self._inferred(parse, rendered, len(body) < LARGE_BODY, receive)

    def _rendered(self, request: InferenceRequest, outputs: Any) -> "_Response":
        served = self.served
        content, headers = protocol.render(request, served.answers.tensors(outputs), served.recipe, served.version)
        return content, [(name.encode(), value.encode()) for name, value in headers.items()]

    async def _predict(self, body: bytes, described: Description, receive: Receive) -> "_Response | None":
        """By BentoML's own API; None for a body that BentoML can refuse better."""
        read = partial(_content, body, self.keys)
        small = read() if len(body) < LARGE_BODY else None
        if len(body) < LARGE_BODY and (small is None or _length(small) <= SMALL_BATCH):
            return None if small is None else (orjson.dumps(await self.predict_json(None, **small)), _JSON)

        async def answer() -> "_Response | None":
            content = small if small is not None else await anyio.to_thread.run_sync(read)
            if content is None:
                return None
            predictions = await self.predict_json(None, **content)
            return await anyio.to_thread.run_sync(orjson.dumps, predictions), _JSON

        return await self.admission.take_turn(answer, partial(_gone, receive))


_Response = tuple[bytes, Sequence[tuple[bytes, bytes]]]
"""The body and the headers of an answer."""
_Answer = Callable[[bytes, Description, Receive], Awaitable[_Response | None]]


def _content(body: bytes, keys: Sequence[str]) -> dict[str, Any] | None:
    """A JSON object with no other keys than these, and lists or objects as values; None if it is anything else."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    is_right = isinstance(content, dict) and content and content.keys() <= set(keys)
    return content if is_right and all(isinstance(value, list | dict) for value in content.values()) else None


def _length(content: Mapping[str, Any]) -> int:
    """The inputs of such an object, at most: of a list, or of the longest of an object's lists."""
    parts = (part for value in content.values() for part in ([value] if isinstance(value, list) else value.values()))
    return max((len(part) for part in parts if isinstance(part, list)), default=0)


async def _gone(receive: Receive) -> None:
    """Returns when the caller closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
