"""The httpx options for requests to the stack's own servers: `httpx.get(url, timeout=2, **LOCAL)`."""

import ssl
from typing import Any

LOCAL: dict[str, Any] = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
"""No proxy, and no certificates: httpx loads those again for every client, which takes 28 ms."""
