"""The tasks, a folder each, which owns all that is particular to an answer. docs/extending.md says how to add one.

A user-defined task is a folder `tasks/<name>` in one of the recipe folders. This file travels inside every bento.
"""

from collections.abc import Mapping
from typing import Any

from ratchet.answers import Answers
from ratchet.extension import Registry

_REGISTRY = Registry(__name__, tuple(__path__), "task", in_bento=("answers",))
look_outside, names, part = _REGISTRY.look_outside, _REGISTRY.names, _REGISTRY.part
bento_files = _REGISTRY.bento_files


def of(data: Mapping[str, Any]) -> Answers:
    """The answers from their JSON. Raises Refusal if there is no such task, or it has other fields."""
    fields = {name: value for name, value in data.items() if name != "task"}
    answers: Answers = _REGISTRY.read(data["task"], "ANSWERS", fields)
    return answers


def served(meta: Mapping[str, Any]) -> Answers:
    """The answers of a bento, from its `meta.json`."""
    if "task" in meta:
        return of(meta["task"])
    # A bento of 0.1.0 names its classes; without any it forecasts.
    if meta["classes"]:
        return of({"task": "classification", "classes": meta["classes"]})
    return of({"task": "forecast", **{name: meta["contract"][name] for name in ("horizon", "close", "unit")}})
