"""How the stack's own servers are reached: without a proxy. `httpx.get(url, timeout=2, **LOCAL)`."""

import os
import ssl
from typing import Any

LOCAL: dict[str, Any] = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
"""No proxy, and no certificates: httpx loads those again for every client, which takes 28 ms."""

_PROXIES = tuple(each for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY") for each in (name, name.lower()))


def unusable_proxies() -> list[str]:
    """The variables that name a proxy of another kind than HTTP: httpx, and so Prefect, does not start with one."""
    kinds = {name: os.environ.get(name, "").rpartition("://")[0] for name in _PROXIES}
    return [name for name, kind in kinds.items() if kind not in ("", "http", "https")]
