"""The guard that every request passes first: it bounds sizes, lists content types, and gives errors one shape.

BentoML chooses its parser by the request's Content-Type; some unpickle, some fetch a URL from the body
(BentoML #5641). Here each route accepts the types that it names, and the body is checked before BentoML sees it.
"""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from bentos.caller import CALLER, caller_of
from bentos.pressure import TIME_LIMIT, Overloaded, Pressure
from bentos.protocol import decode
from ratchet.endpoints import CLASSIFY, DOCS, EXPLAIN, FEEDBACK, GRPC, INFER, MAX_BODY, PREDICT
from ratchet.errors import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_PAGE_POLICY = b"default-src 'self' 'unsafe-inline' data:"
_MOUNTS = ("/v2", DOCS, FEEDBACK)
_JSON = ("application/json",)
_CONTENT_TYPES = {CLASSIFY: ("multipart/form-data",), PREDICT: _JSON, EXPLAIN: _JSON, FEEDBACK: _JSON}
_MAX_DESCRIBING = 1024
"""Bytes of these headers, some of which are kept."""
_RPC = ("application/x-protobuf",)
_INFER_TYPES = ("application/json", "application/octet-stream", "", "application/x-www-form-urlencoded")
"""What clients of the Open Inference Protocol send; curl calls any body a form. Our parser reads JSON alone."""
COMPRESSED = ("gzip", "deflate")
"""How the body of an inference may be compressed, as Triton's clients do."""
_DESCRIBING = (b"content-type", b"content-encoding", b"content-length", b"transfer-encoding",
               b"inference-header-content-length")  # fmt: skip


class RequestGuard:
    """An ASGI middleware around the whole service. `headers` are added to every response.

    `token` marks Ratchet's own requests; `pressure` bounds the bodies that are held at once.
    """

    def __init__(
        self,
        app: App,
        recipe: str,
        headers: Mapping[str, str],
        token: str,
        pressure: Pressure,
        in_front: Callable[["RequestGuard", App], App],
    ) -> None:
        self.app, self.recipe, self.token, self.pressure, self._in_front = app, recipe, token, pressure, in_front
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            # BentoML puts its own middlewares around those that a service adds. The attribute is Starlette's.
            scope["app"].middleware_stack = self._in_front(self, scope["app"].middleware_stack)
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.note_caller(scope)
        if scope["path"] in _MOUNTS:  # it would redirect to a path that callers cannot reach
            path = scope["path"] + "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        # BentoML's page names a tracker, which the browser must not load.
        page = [(b"content-security-policy", _PAGE_POLICY)] if scope["path"] == "/" else []
        response = Response(send, [*self.headers, *page], original_path(scope))
        if scope["method"] != "POST":  # only POST has a body that is read
            await self.app(scope, receive, response)
            return
        try:
            described = describe(scope)
            with self.pressure.holding() as hold:
                body = await read_body(receive, hold)
                if described.media == "multipart/form-data":
                    await _require_one_file(body, described.content_type)
                elif accepted_types(scope["path"]) == _JSON:
                    body = _utf8(body)
                await self.app(scope, replayed(body, receive), response)
        except RefusedRequest as refused:
            await response.refuse(refused.status, refused.at(response.path))
        except Overloaded as overloaded:
            await response.refuse(503, overloaded)

    def note_caller(self, scope: Message) -> None:
        """Who sent the request, for what it is logged with."""
        CALLER.set(caller_of(dict(scope["headers"]), self.recipe, self.token))


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, as the one message that it came in; then what comes after it."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


@dataclass(frozen=True)
class Description:
    """What a request's headers say about its body."""

    content_type: str
    media: str
    encoding: str
    """How it is compressed; empty if it is not."""
    header_length: str | None
    """Of an inference: the bytes before the binary tensors."""


def describe(scope: Message) -> Description:
    """Raises RefusedRequest if the path does not take such a body."""
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        names = [name for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in _DESCRIBING):  # another parser might read the other one
            what = "a header that describes the body occurs twice"
            raise RefusedRequest(400, what, "Send it once")
    values = [headers.get(name) for name in _DESCRIBING]
    if sum(len(value) for value in values if value) > _MAX_DESCRIBING:
        raise RefusedRequest(431, "the headers that describe the body are too long", "Send shorter ones")
    return _described(scope["path"], *values)


@lru_cache(maxsize=64)
def _described(
    path: str, type: bytes | None, compression: bytes | None, size: bytes | None, transfer: bytes | None,
    header_length: bytes | None,
) -> Description:  # fmt: skip
    """From the headers that `_DESCRIBING` lists; a caller's are mostly the same."""
    content_type = (type or b"").decode("latin-1")
    media = content_type.partition(";")[0].strip().lower()
    accepted = accepted_types(path)
    if media not in accepted:
        next = f"Send {accepted[0]}" + (f", or JSON to {PREDICT}" if path == CLASSIFY else "")
        raise RefusedRequest(415, f"the content type {media[:100]!r} is not supported", next)
    encoding = (compression or b"").decode("latin-1").lower()
    encoding = "" if encoding == "identity" else encoding
    compressed = COMPRESSED if path.endswith(INFER) else ()
    if encoding and encoding not in compressed:
        next = f"Send it uncompressed{', or as ' if compressed else ''}{' or '.join(compressed)}"
        raise RefusedRequest(415, f"the body is compressed ({encoding[:40]!r})", next)
    length = (size or (b"" if transfer else b"0")).decode("latin-1")
    if length and (not length.isdecimal() or int(length) > MAX_BODY):
        raise _too_large()
    return Description(content_type, media, encoding, _text(header_length))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def accepted_types(path: str) -> Sequence[str]:
    """The content types of the bodies that a path takes."""
    return _RPC if GRPC in path else _CONTENT_TYPES.get(path, _INFER_TYPES)


async def read_body(receive: Receive, hold: Callable[[int], None]) -> bytes:
    """The body as it was sent. `hold` counts its bytes.

    Raises RefusedRequest if it is too large or does not end in time, and Overloaded if others' are in the way.
    """
    parts, size, more = list[bytes](), 0, True
    try:
        async with asyncio.timeout(TIME_LIMIT):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    what = "the connection closed before the end of the request"
                    raise RefusedRequest(400, what, "Send it again")
                part, more = message.get("body", b""), message.get("more_body", False)
                size += len(part)
                if size > MAX_BODY:
                    raise _too_large()
                hold(len(part))
                parts.append(part)
    except TimeoutError:
        raise RefusedRequest(408, "the request did not arrive completely in time", "Send it again, at once") from None
    return b"".join(parts)


def unpacked(body: bytes, encoding: str, most: int = MAX_BODY) -> bytes:
    """The body without its compression. Raises RefusedRequest if it has more bytes than `most`, or is damaged."""
    # `deflate` is zlib's format (RFC 9110, section 8.4.1.2), which some clients send without its header.
    raw = encoding == "deflate" and (body[:1] or b"\0")[0] & 0x0F != zlib.DEFLATED
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32)
    try:
        content = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        what = f"the body cannot be unpacked ({error})"
        raise RefusedRequest(400, what, f"Send it as {encoding}, or uncompressed") from error
    if len(content) > most:
        raise _too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise RefusedRequest(400, "the compressed body does not end where it should", "Send it whole")
    return content


def _too_large() -> "RefusedRequest":
    return RefusedRequest(413, f"the body is larger than {MAX_BODY >> 20} MB", "Send less at once")


class RefusedRequest(Exception):
    """A request that is refused before it is read, or while."""

    def __init__(self, status: int, what: str, next: str) -> None:
        self.status, self.what, self.next = status, what, next

    def at(self, path: str) -> Refusal:
        """The refusal of a request to this path."""
        return Refusal(self.what, path, self.next)


def _utf8(body: bytes) -> bytes:
    """A JSON body without a byte order mark, by the rule that holds for an inference, too."""
    try:
        return decode(body, "the body").encode()
    except Refusal as refusal:
        raise RefusedRequest(400, refusal.what, refusal.next) from None


async def _require_one_file(body: bytes, content_type: str) -> None:
    """One part, `image`, that is a file: BentoML would take a text for a URL and fetch it."""
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def once() -> Any:
        yield body

    headers = Headers({"content-type": content_type})
    try:
        parts = await MultiPartParser(headers, once(), max_files=1, max_fields=1).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        what = f"the form cannot be read ({error})"
        raise RefusedRequest(400, what, "Send one file in the field `image`") from error
    try:
        fields = parts.multi_items()
        if [name for name, _ in fields] != ["image"] or not isinstance(fields[0][1], UploadFile):
            raise RefusedRequest(400, "the form is not one file in the field `image`", "Send `-F image=@FILE`")
    finally:
        await parts.close()


class Response:
    """Sends the service's response; an error in another shape is rewritten in ours."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], path: str) -> None:
        self.send, self.headers, self.path = send, headers, path
        self.error: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            message = {**message, "headers": [*message["headers"], *self.headers, *_again(status)]}
            if status >= 400:
                self.error = message
                return
        elif self.error is not None:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_error(self.error, self.body)
            return
        await self.send(message)

    async def _send_error(self, start: Message, body: bytes) -> None:
        try:
            content = json.loads(body)
            if isinstance(content, dict) and {"error", "which", "next"} <= content.keys():
                await self.send(start)
                await self.send({"type": "http.response.body", "body": body})
                return
        except ValueError:
            content = None
        status = start["status"]
        allow = [value for name, value in start["headers"] if name.lower() == b"allow"]
        if status == 405 and allow:
            refusal = Refusal("the method is not supported here", self.path, f"Use {allow[0].decode('latin-1')}")
            await self.refuse(status, refusal, [(b"allow", allow[0])])
            return
        what = _reason(content) if status < 500 else ""
        what = what or HTTPStatus(status).phrase.lower()
        await self.refuse(status, Refusal(what, self.path, _next(status, self.path)))

    async def refuse(self, status: int, refusal: Refusal, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
        for message in refusal_messages(status, refusal, [*self.headers, *more]):
            await self.send(message)


def refusal_messages(status: int, refusal: Refusal, headers: Sequence[tuple[bytes, bytes]]) -> Sequence[Message]:
    """The two messages of a response that refuses."""
    body = json.dumps(refusal.to_json()).encode()
    length = (b"content-length", str(len(body)).encode())
    all_headers = [(b"content-type", b"application/json"), length, *_again(status), *headers]
    start = {"type": "http.response.start", "status": status, "headers": all_headers}
    return start, {"type": "http.response.body", "body": body}


def _again(status: int) -> list[tuple[bytes, bytes]]:
    """The header that says when to try again, in seconds, where that may help."""
    return [(b"retry-after", b"1")] if status in (429, 503) else []


def _reason(content: Any) -> str:
    """BentoML's own message: of a validation error, or of a list around an object with `error`."""
    content = content[0] if isinstance(content, list) and content else content
    if not isinstance(content, dict):
        return ""
    details = content.get("detail")
    if isinstance(details, list) and details and isinstance(details[0], dict):
        location = ".".join(str(part) for part in details[0].get("loc", ()))
        message = str(details[0].get("msg", "")).removeprefix("Value error, ")
        return f"{message}{f' at {location}' if location else ''}"[:300]
    return str(content.get("error", ""))[:300]


def original_path(scope: Message) -> str:
    """The path as the caller wrote it: the gateway removes `/<recipe>` and puts it into a header."""
    prefix = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1")[:100]
    return f"{prefix}{scope['path']}"[:300]


def _next(status: int, path: str) -> str:
    if status >= 500:
        return "Try again; the service's log has more"
    return f"See what is served at {'/v2' if path.startswith('/v2') else path.rpartition('/')[0] + '/'}"
