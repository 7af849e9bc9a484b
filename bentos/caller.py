"""Who sent the current request."""

import hashlib
import hmac
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from ratchet.endpoints import MAX_ID, OWN, SUBJECT

GOLDEN = "golden.npz"
_SUBJECT, _OWN = SUBJECT.encode(), OWN.encode()
_SHADOW = b"-shadow"
"""With which Envoy ends the `Host` of a request that it mirrors."""


@dataclass(frozen=True)
class Caller:
    id: str = ""
    """The request's id, which the gateway sets; empty if there is none, or none that a label could name."""
    subject: str = ""
    """The digest of the subject's id, if the caller sent one."""
    origin: str = "caller"
    """`caller`, `shadow` if the response is discarded, or `own` if Ratchet sent the request."""


_NOBODY = Caller()
CALLER: ContextVar[Caller] = ContextVar("caller", default=_NOBODY)


def caller_of(headers: Mapping[bytes, bytes], recipe: str, token: str) -> Caller:
    """From a request's headers, whose names are in lower case. Whoever knows the token is Ratchet itself."""
    sent = _text(headers.get(b"x-request-id", b""))
    id = sent if is_request_id(sent) else ""
    subject = subject_digest(recipe, _text(headers.get(_SUBJECT, b"")))
    own = headers.get(_OWN)
    if own is not None and hmac.compare_digest(own, token.encode()):
        return Caller(id, subject, "own")
    host = headers.get(b"host", b"").partition(b":")[0]
    return Caller(id, subject, "shadow" if host.endswith(_SHADOW) else "caller")


def _text(value: bytes) -> str:
    """A header's value, which clients write in UTF-8, or in the encoding of HTTP/1.0."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def own_token(folder: Path) -> str:
    """What Ratchet marks its own requests by: only who has the package, whose `model/` this is, can compute it."""
    return hashlib.blake2b((folder / GOLDEN).read_bytes(), digest_size=16).hexdigest()


def is_request_id(text: str) -> bool:
    """Whether a label can name a request by it."""
    return 0 < len(text) <= MAX_ID and text.isprintable()


def subject_digest(recipe: str, subject: str) -> str:
    """What is kept of a subject's id, by which what is theirs is found again."""
    return hashlib.blake2b(f"{recipe}:{subject}".encode(), digest_size=16).hexdigest() if subject else ""
