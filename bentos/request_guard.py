"""The guard that every request passes first: it bounds sizes, lists content types, and gives errors one shape.

BentoML chooses its parser by the request's Content-Type; some unpickle, some fetch a URL from the body
(BentoML #5641). Here each route accepts the types that it names, and the body is checked before BentoML sees it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from bentos.admission import Admission, Overloaded
from bentos.caller import CALLER, caller_of
from bentos.protocol import decode
from bentos.request_body import (
    JSON,
    App,
    Message,
    Receive,
    RefusedRequest,
    Send,
    accepted_types,
    describe,
    read_body,
    replayed,
)
from ratchet.endpoints import DOCS, FEEDBACK
from ratchet.errors import Refusal

_PAGE_POLICY = b"default-src 'self' 'unsafe-inline' data:"
_MOUNTS = ("/v2", DOCS, FEEDBACK)


class RequestGuard:
    """An ASGI middleware around the whole service. `headers` are added to every response.

    `token` marks Ratchet's own requests; `admission` bounds the bodies that are held at once.
    """

    def __init__(
        self,
        app: App,
        recipe: str,
        headers: Mapping[str, str],
        token: str,
        admission: Admission,
        in_front: Callable[["RequestGuard", App], App],
    ) -> None:
        self.app, self.recipe, self.token, self.admission, self._in_front = app, recipe, token, admission, in_front
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
        response = _Response(send, [*self.headers, *page], original_path(scope))
        if scope["method"] != "POST":  # only POST has a body that is read
            await self.app(scope, receive, response)
            return
        try:
            described = describe(scope)
            with self.admission.holding() as hold:
                body = await read_body(receive, hold)
                if described.media == "multipart/form-data":
                    await _require_one_file(body, described.content_type)
                elif accepted_types(scope["path"]) == JSON:
                    body = _utf8(body)
                await self.app(scope, replayed(body, receive), response)
        except RefusedRequest as refused:
            await response.refuse(refused.status, refused.at(response.path))
        except Overloaded as overloaded:
            await response.refuse(503, overloaded)

    def note_caller(self, scope: Message) -> None:
        """Who sent the request, for what it is logged with."""
        CALLER.set(caller_of(dict(scope["headers"]), self.recipe, self.token))


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


class _Response:
    """Sends the service's response; an error in another shape is rewritten in ours."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], path: str) -> None:
        self.send, self.headers, self.path = send, headers, path
        self.error: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            message = {**message, "headers": [*message["headers"], *self.headers, *_retry_after(status)]}
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
    all_headers = [(b"content-type", b"application/json"), length, *_retry_after(status), *headers]
    start = {"type": "http.response.start", "status": status, "headers": all_headers}
    return start, {"type": "http.response.body", "body": body}


def _retry_after(status: int) -> list[tuple[bytes, bytes]]:
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
