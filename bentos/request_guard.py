"""The guard that every request passes first: it bounds sizes, lists content types, and gives errors one shape.

BentoML chooses its parser by the request's Content-Type; some unpickle, some fetch a URL from the body
(BentoML #5641). Here each route accepts the types that it names, and the body is checked before BentoML sees it.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from bentos.caller import CALLER, caller_of
from bentos.protocol import decode
from ratchet.endpoints import CLASSIFY, DOCS, EXPLAIN, FEEDBACK, MAX_BODY, PREDICT
from ratchet.errors import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PAGE_POLICY = b"default-src 'self' 'unsafe-inline' data:"
_MOUNTS = ("/v2", DOCS, FEEDBACK)
_JSON = ("application/json",)
_CONTENT_TYPES = {CLASSIFY: ("multipart/form-data",), PREDICT: _JSON, EXPLAIN: _JSON, FEEDBACK: _JSON}
_INFER_TYPES = ("application/json", "application/octet-stream", "", "application/x-www-form-urlencoded")
"""What clients of the Open Inference Protocol send; curl calls any body a form. Our parser reads JSON alone."""


class RequestGuard:
    """An ASGI middleware around the whole service. `headers` are added to every response.

    `token` marks Ratchet's own requests.
    """

    def __init__(self, app: Any, recipe: str, headers: dict[str, str], token: str) -> None:
        self.app, self.recipe, self.token = app, recipe, token
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        CALLER.set(caller_of(dict(scope["headers"]), self.recipe, self.token))
        if scope["path"] in _MOUNTS:  # it would redirect to a path that callers cannot reach
            path = scope["path"] + "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        # BentoML's page names a tracker, which the browser must not load.
        page = [(b"content-security-policy", _PAGE_POLICY)] if scope["path"] == "/" else []
        response = _Response(send, [*self.headers, *page], _original_path(scope))
        if scope["method"] != "POST":  # only POST has a body that is read
            await self.app(scope, receive, response)
            return
        try:
            body = await self._body(scope, receive)
        except _Status as status:
            await response.refuse(status.code, status.refusal)
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, response)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        names, path = [name.lower() for name, _ in scope["headers"]], _original_path(scope)
        if any(names.count(name) > 1 for name in (b"content-type", b"content-encoding", b"content-length")):
            # Another parser might read the one that was not checked.
            raise _Status(400, "a header that describes the body occurs twice", path, "Send it once")
        content_type = headers.get("content-type", "")
        media = content_type.split(";")[0].strip().lower()
        accepted = _CONTENT_TYPES.get(scope["path"], _INFER_TYPES)
        if media not in accepted:
            next = f"Send {accepted[0]}" + (f", or JSON to {PREDICT}" if scope["path"] == CLASSIFY else "")
            raise _Status(415, f"the content type {media[:100]!r} is not supported", path, next)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise _Status(415, "the body is compressed", path, "Send it uncompressed")
        too_large = _Status(413, f"the body is larger than {MAX_BODY >> 20} MB", path, "Send less at once")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise too_large
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Status(400, "the connection closed before the end of the request", path, "Send it again")
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise too_large
            if not message.get("more_body"):
                break
        if media == "multipart/form-data":
            await _require_one_file(bytes(body), content_type, path)
        if accepted == _JSON:
            return _utf8(bytes(body), path)
        return bytes(body)


class _Status(Exception):
    def __init__(self, code: int, what: str, which: str, next: str) -> None:
        self.code, self.refusal = code, Refusal(what, which, next)


def _utf8(body: bytes, path: str) -> bytes:
    """A JSON body without a byte order mark, by the rule that holds for an inference, too."""
    try:
        return decode(body, path).encode()
    except Refusal as refusal:
        raise _Status(400, refusal.what, refusal.which, refusal.next) from None


async def _require_one_file(body: bytes, content_type: str, path: str) -> None:
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
        raise _Status(400, what, path, "Send one file in the field `image`") from error
    try:
        fields = parts.multi_items()
        if [name for name, _ in fields] != ["image"] or not isinstance(fields[0][1], UploadFile):
            raise _Status(400, "the form is not one file in the field `image`", path, "Send `-F image=@FILE`")
    finally:
        await parts.close()


class _Response:
    """Sends the service's response; an error in another shape is rewritten in ours."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], path: str) -> None:
        self.send, self.headers, self.path = send, headers, path
        self.error: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *self.headers]}
            if message["status"] >= 400:
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
        body = json.dumps(refusal.to_json()).encode()
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", b"application/json"), length, *self.headers, *more]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


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


def _original_path(scope: Message) -> str:
    """The path as the caller wrote it: the gateway removes `/<recipe>` and puts it into a header."""
    prefix = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1")[:100]
    return f"{prefix}{scope['path']}"[:300]


def _next(status: int, path: str) -> str:
    if status >= 500:
        return "Try again; the service's log has more"
    return f"See what is served at {'/v2' if path.startswith('/v2') else path.rpartition('/')[0] + '/'}"
