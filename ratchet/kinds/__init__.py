"""The kinds of input, a folder each, which owns all that is particular to it. docs/extending.md says how to add one.

A user-defined kind is a folder `kinds/<name>` in one of the recipe folders. This file travels inside every bento,
so it needs only what does so as well.
"""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ratchet.contract import Contract
from ratchet.errors import Refusal

_OWN = tuple(__path__)
_IN_BENTO = ("contract", "endpoint")


def look_outside() -> None:
    """Lets kinds be imported from the folders that RATCHET_RECIPES names now, beside the project's own."""
    folders = filter(None, os.environ.get("RATCHET_RECIPES", "").split(os.pathsep))
    __path__[:] = [*_OWN, *(str(Path(folder).expanduser().resolve() / "kinds") for folder in folders)]


def names() -> tuple[str, ...]:
    """Every kind: the project's own first."""
    look_outside()
    folders = (path.parent.name for folder in __path__ for path in sorted(Path(folder).glob("*/__init__.py")))
    return tuple(dict.fromkeys(filter(str.isidentifier, folders)))


def of(data: Mapping[str, Any]) -> Contract:
    """The contract from its JSON. Raises Refusal if there is no such kind, or it has other fields."""
    kind, fields = data["kind"], {name: value for name, value in data.items() if name != "kind"}
    try:
        contract: Contract = _package(kind).CONTRACT(**fields)
    except (AttributeError, TypeError, ValueError) as error:
        what = f"the contract cannot be read ({error})"
        raise Refusal(what, f"the kind {kind}", "Use the code of the kind that wrote it") from error
    return contract


def part(kind: str, name: str) -> Any:
    """A module of a kind, such as `records`; ratchet/kinds/parts.py says what each holds. Raises Refusal."""
    _package(kind)
    module = f"{__name__}.{kind}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise Refusal(f"the kind {kind} has no module `{name}`", module, "See docs/extending.md") from error


def bento_files(kind: str) -> Mapping[str, Path]:
    """The files of a kind that travel inside a bento, by their place there."""
    files = {f"ratchet/kinds/{kind}/{name}.py": Path(part(kind, name).__file__) for name in _IN_BENTO}
    package = Path(str(_package(kind).__file__))
    return {"ratchet/kinds/__init__.py": Path(__file__), f"ratchet/kinds/{kind}/__init__.py": package, **files}


def _package(kind: str) -> ModuleType:
    if not kind.isidentifier():
        raise Refusal("the name of the kind is not valid", kind, "Use letters, digits and underscores")
    look_outside()
    try:
        return importlib.import_module(f"{__name__}.{kind}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{kind}":
            raise
        raise Refusal("there is no such kind of input", kind, "Is its folder below one of RATCHET_RECIPES?") from error
