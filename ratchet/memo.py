"""Memoizes stages: a stage is a function of named, content-addressed inputs, and its work is done once.

The key is the stage's explicit version and the fingerprint of its literal inputs. Paths, ports and
the git commit are never part of it. If the source of a stage changed under the same version, a
warning says so; hashing the code instead would retrain a model because of a comment.
"""

import hashlib
import inspect
import json
import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

from ratchet import files
from ratchet.errors import Refusal
from ratchet.settings import settings
from ratchet.types import from_json, to_json

T = TypeVar("T")
log = logging.getLogger("ratchet.memo")


def key(name: str, version: int, /, **inputs: Any) -> str:
    """SHA-256 of the stage's name, version and inputs, which must be plain data.

    Raises Refusal for an input without a stable fingerprint: a path, an object, a number that is not finite.
    """
    for input, value in inputs.items():
        _check_plain(value, f"{name}.{input}")
    text = json.dumps({"stage": name, "version": version, "inputs": inputs}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def run(
    key: str,
    type_: type[T],
    work: Callable[[], T],
    source: Callable[..., Any] | None = None,
    valid: Callable[[T], bool] = lambda _: True,
) -> tuple[T, bool]:
    """The result under `key`, and whether the work was done now.

    `valid` says whether a kept result still holds; a version may have been deleted. `source` is the
    function whose text is compared with the one that made the kept result.
    """
    path = settings().home / "stages" / f"{key}.json"
    function = source or work
    text = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]
    saved = files.load(path)
    if saved is not None:
        result = from_json(type_, saved["result"])
        if valid(result):
            if saved["source"] != text:
                named = f"{function.__module__}.{function.__qualname__}"
                log.warning("the source of %s changed under the same version; raise it to do the work again", named)
            return result, False
    result = work()
    files.save(path, {"result": to_json(result), "source": text})
    return result, True


def _check_plain(value: Any, which: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                what = f"a key of type {type(name).__name__} has no stable fingerprint"
                raise Refusal(what, which, "Give plain data: text and numbers")
            _check_plain(item, f"{which}.{name}")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, which)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Refusal(f"{value} has no stable fingerprint", which, "Give a finite number")
    elif not (value is None or isinstance(value, str | int | float | bool)):
        what = f"a value of type {type(value).__name__} has no stable fingerprint"
        raise Refusal(what, which, "Give plain data: text and numbers")
