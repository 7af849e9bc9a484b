"""A stage is a function of named, content-addressed inputs: run twice, it does the work once.

The key is the stage's explicit version and the fingerprint of its literal inputs. Paths, ports and
the git commit are never part of it. Source that changed under the same version is warned about,
since hashing code would retrain for a comment.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ratchet import files
from ratchet.errors import Refusal
from ratchet.settings import settings
from ratchet.words import from_json, to_json

W = TypeVar("W")
log = logging.getLogger("ratchet.stage")


def key(name: str, version: int, /, **inputs: Any) -> str:
    """SHA-256 of the stage's name, version and inputs, which must be plain data.

    Raises Refusal for an input with no stable fingerprint: a path, an object, a number that is none.
    """
    for input, value in inputs.items():
        _plain(value, f"{name}.{input}")
    text = json.dumps({"stage": name, "version": version, "inputs": inputs}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def run(
    key: str,
    word: type[W],
    work: Callable[[], W],
    source: Callable[..., Any] | None = None,
    still: Callable[[W], bool] = lambda _: True,
) -> tuple[W, bool]:
    """The word under `key`, and whether the work was done now.

    `still` says whether a kept word holds (a version may have been deleted). `source` is the
    function whose text is watched for changes under the same key.
    """
    path = settings().home / "stages" / f"{key}.json"
    text = _text(source or work)
    if (kept := _kept(path, word)) is not None and still(kept[0]):
        if kept[1] != text:
            log.warning(
                "the source of %s changed under the same version; raise it to do the work again", _named(source or work)
            )
        return kept[0], False
    made = work()
    files.keep(path, {"word": to_json(made), "source": text})
    return made, True


def _kept(path: Path, word: type[W]) -> tuple[W, str] | None:
    data = files.kept(path)
    return None if data is None else (from_json(word, data["word"]), data["source"])


def _text(function: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]


def _named(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _plain(value: Any, which: str) -> None:
    if isinstance(value, dict):
        for k, v in value.items():
            if not isinstance(k, str):
                raise Refusal(f"a key of type {type(k).__name__} has no stable fingerprint", which, "Give plain data")
            _plain(v, f"{which}.{k}")
    elif isinstance(value, list | tuple):
        for v in value:
            _plain(v, which)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Refusal(f"{value} has no stable fingerprint", which, "Give a number")
    elif not (value is None or isinstance(value, str | int | float | bool)):
        raise Refusal(f"a {type(value).__name__} has no stable fingerprint", which, "Give plain data: text and numbers")
