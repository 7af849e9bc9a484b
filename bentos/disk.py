"""Work on the host's disk, in a few threads of its own: a disk that stops must not take those that predict."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

_THREADS = anyio.CapacityLimiter(4)
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


async def run_on_disk(work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """What `work` returns, once one of these threads is free."""
    return await anyio.to_thread.run_sync(work, *arguments, limiter=_THREADS)
