"""What the headers of a request say about its body, and the body itself, within bounds.

An ASGI application receives it in parts; the types of what it is called with are here as well.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bentos.admission import TIME_LIMIT
from ratchet.endpoints import CLASSIFY, EXPLAIN, FEEDBACK, GRPC, INFER, MAX_BODY, PREDICT
from ratchet.errors import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

JSON = ("application/json",)
_CONTENT_TYPES = {CLASSIFY: ("multipart/form-data",), PREDICT: JSON, EXPLAIN: JSON, FEEDBACK: JSON}
_MAX_DESCRIBING = 1024
"""Bytes of these headers and of the path, some of which are kept."""
_RPC = ("application/x-protobuf",)
_INFER_TYPES = ("application/json", "application/octet-stream", "", "application/x-www-form-urlencoded")
"""What clients of the Open Inference Protocol send; curl calls any body a form. Our parser reads JSON alone."""
_COMPRESSED = ("gzip", "deflate")
"""How the body of an inference may be compressed, as Triton's clients do."""
_DESCRIBING = (b"content-type", b"content-encoding", b"content-length", b"transfer-encoding",
               b"inference-header-content-length")  # fmt: skip


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
    if sum(len(value) for value in (scope["path"], *values) if value) > _MAX_DESCRIBING:
        raise RefusedRequest(431, "the path or the headers that describe the body are too long", "Send shorter ones")
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
    compressed = _COMPRESSED if path.endswith(INFER) else ()
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
