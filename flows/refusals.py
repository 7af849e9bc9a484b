"""A refusal as a flow's state: the sentence is what one reads, the stack trace is for the log."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from prefect.states import Failed

from ratchet.errors import Refusal


def refusals_are_states(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except Refusal as refusal:
            return Failed(message=str(refusal))

    return wrapped
