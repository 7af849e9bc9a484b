"""Turns a refusal into the state of a flow: people read the sentence, and the stack trace is for the log."""

import functools
from collections.abc import Callable
from typing import Any

from prefect.states import Failed

from ratchet.errors import Refusal


def refusals_are_states(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Refusal as refusal:
            return Failed(message=str(refusal))

    return wrapped
