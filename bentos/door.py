"""What every request passes first: sizes bounded, content types listed, one shape of error, who answered.

BentoML picks its parser by the request's Content-Type; some unpickle, some fetch a URL named in the
body (BentoML #5641). Here each route takes the types it names, and the body is looked at before
BentoML sees it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from bentos import records
from ratchet.errors import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY = 8 << 20
_PAGE = b"default-src 'self' 'unsafe-inline' data:"
_TAKES = {"/classify": ("multipart/form-data",), "/predict": ("application/json",),
          "/explain": ("application/json",)}  # fmt: skip
_INFER = ("application/json", "application/octet-stream", "", "application/x-www-form-urlencoded")
"""What the Open Inference Protocol's clients send; curl calls any body a form. Our parser reads JSON alone."""


class Door:
    """An ASGI middleware around the whole service. `headers` go out with every answer."""

    def __init__(self, app: Any, headers: dict[str, str]) -> None:
        self.app = app
        self.headers = [(k.encode(), v.encode()) for k, v in headers.items()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        records.request.set(dict(scope["headers"]).get(b"x-request-id", b"")[:64].decode("latin-1"))
        if scope["path"] == "/v2":  # a mount would redirect to a path that callers do not know
            scope = {**scope, "path": "/v2/", "raw_path": b"/v2/"}
        # BentoML's page carries a tracker from elsewhere, which the browser must not load.
        page = [(b"content-security-policy", _PAGE)] if scope["path"] == "/" else []
        answer = _Answer(send, [*self.headers, *page], _asked(scope))
        if scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, answer)
            return
        if scope["method"] != "POST":
            await answer.refuse(405, Refusal(f"{scope['method'][:20]} is not taken", answer.path, "Use GET or POST"))
            return
        try:
            body = await self._body(scope, receive)
        except _Status as no:
            await answer.refuse(no.status, no.refusal)
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, answer)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        names, path = [k.lower() for k, _ in scope["headers"]], _asked(scope)
        if any(names.count(name) > 1 for name in (b"content-type", b"content-encoding", b"content-length")):
            # Another parser might take the one that was not looked at.
            raise _Status(400, "a header that describes the body is there twice", path, "Send it once")
        kind = headers.get("content-type", "")
        media = kind.split(";")[0].strip().lower()
        takes = _TAKES.get(scope["path"], _INFER)
        if media not in takes:
            raise _Status(415, f"the content type {media[:100]!r} is not taken", path, f"Send {takes[0]}")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise _Status(415, "the body is compressed", path, "Send it plain")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise _Status(413, f"the body is larger than {MAX_BODY >> 20} MB", path, "Send less at once")
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Status(400, "the request broke off", path, "Send it again")
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise _Status(413, f"the body is larger than {MAX_BODY >> 20} MB", path, "Send less at once")
            if not message.get("more_body"):
                break
        if media == "multipart/form-data":
            await _only_files(bytes(body), kind, path)
        return bytes(body)


class _Status(Exception):
    def __init__(self, status: int, what: str, which: str, next: str) -> None:
        self.status, self.refusal = status, Refusal(what, which, next)


async def _only_files(body: bytes, kind: str, path: str) -> None:
    """One part, `image`, that is a file: a text there would be taken for a URL and fetched."""
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def once() -> Any:
        yield body

    try:
        form = await MultiPartParser(Headers({"content-type": kind}), once(), max_files=1, max_fields=1).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise _Status(400, f"the form cannot be read ({error})", path, "Send one file in the field `image`") from error
    try:
        fields = form.multi_items()
        if [name for name, _ in fields] != ["image"] or not isinstance(fields[0][1], UploadFile):
            raise _Status(400, "the form is not one file in the field `image`", path, "Send `-F image=@FILE`")
    finally:
        await form.close()


class _Answer:
    """Sends what the service answers; an error in another shape is put into ours."""

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
                await self._mend(self.error, self.body)
            return
        await self.send(message)

    async def _mend(self, start: Message, body: bytes) -> None:
        try:
            told = json.loads(body)
            if isinstance(told, dict) and {"error", "which", "next"} <= told.keys():
                await self.send(start)
                await self.send({"type": "http.response.body", "body": body})
                return
        except ValueError:
            told = None
        status = start["status"]
        what = _reason(told) if status < 500 else ""
        what = what or HTTPStatus(status).phrase.lower()
        await self.refuse(status, Refusal(what, self.path, _next(status, self.path)))

    async def refuse(self, status: int, refusal: Refusal) -> None:
        body = json.dumps(refusal.to_json()).encode()
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", b"application/json"), length, *self.headers]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _reason(told: Any) -> str:
    """BentoML's own words: a validation error, or a list around an object with `error`."""
    told = told[0] if isinstance(told, list) and told else told
    if not isinstance(told, dict):
        return ""
    details = told.get("detail")
    if isinstance(details, list) and details and isinstance(details[0], dict):
        at = ".".join(str(p) for p in details[0].get("loc", ()))
        told = str(details[0].get("msg", "")).removeprefix("Value error, ")
        return f"{told}{f' at {at}' if at else ''}"[:300]
    return str(told.get("error", ""))[:300]


def _asked(scope: Message) -> str:
    """The path as the caller wrote it: the gateway cuts `/<recipe>` off and tells it in a header."""
    prefix = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1")[:100]
    return f"{prefix}{scope['path']}"[:300]


def _next(status: int, path: str) -> str:
    if status >= 500:
        return "Try again; the service's log says more"
    return f"See what is served at {'/v2' if path.startswith('/v2') else path.rpartition('/')[0] + '/'}"
