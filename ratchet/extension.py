"""A package whose folders are found by name: the project's own, and those beside a person's recipes.

This file travels inside every bento, so it needs nothing but the standard library.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ratchet.errors import Refusal


@dataclass(frozen=True)
class Registry:
    """The folders of a package, and those of a folder of the same name in one that RATCHET_RECIPES names."""

    package: str
    own: tuple[str, ...]
    """Where the project's own are."""
    noun: str
    in_bento: tuple[str, ...]
    """The modules of each that travel inside a bento."""

    def look_outside(self) -> None:
        """Lets modules be imported from the folders that RATCHET_RECIPES names now, beside the project's own."""
        name = self.package.rpartition(".")[2]
        folders = filter(None, os.environ.get("RATCHET_RECIPES", "").split(os.pathsep))
        outside = (str(Path(folder).expanduser().resolve() / name) for folder in folders)
        sys.modules[self.package].__path__[:] = [*self.own, *outside]

    def names(self) -> tuple[str, ...]:
        """Every one: the project's own first."""
        self.look_outside()
        paths = sys.modules[self.package].__path__
        folders = (path.parent.name for folder in paths for path in sorted(Path(folder).glob("*/__init__.py")))
        return tuple(dict.fromkeys(filter(str.isidentifier, folders)))

    def read(self, name: str, type: str, fields: Mapping[str, Any]) -> Any:
        """An object of its dataclass `type`. Raises Refusal if there is no such folder, or it has other fields."""
        try:
            return getattr(self.module(name), type)(**fields)
        except (AttributeError, TypeError, ValueError) as error:
            what = f"the {self.noun} {name} cannot be read ({error})"
            raise Refusal(what, ", ".join(fields), f"Use the code of the {self.noun} that wrote it") from error

    def module(self, name: str) -> ModuleType:
        """The package of the folder. Raises Refusal if there is none."""
        if not name.isidentifier():
            raise Refusal(f"the name of the {self.noun} is not valid", name, "Use letters, digits and underscores")
        self.look_outside()
        try:
            return importlib.import_module(f"{self.package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{self.package}.{name}":
                raise
            next = "Is its folder below one of RATCHET_RECIPES?"
            raise Refusal(f"there is no such {self.noun}", name, next) from error

    def part(self, name: str, part: str) -> Any:
        """One of its modules. Raises Refusal if it has none of that name."""
        self.module(name)
        module = f"{self.package}.{name}.{part}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            what = f"the {self.noun} {name} has no module `{part}`"
            raise Refusal(what, module, "See docs/extending.md") from error

    def bento_files(self, name: str) -> Mapping[str, Path]:
        """Its files that travel inside a bento, by their place there."""
        place = self.package.replace(".", "/")
        modules = (*self.in_bento, *getattr(self.module(name), "ALSO_IN_BENTO", ()))
        files = {f"{place}/{name}/{part}.py": Path(self.part(name, part).__file__) for part in modules}
        shared = getattr(self.module(name), "SHARED_IN_BENTO", ())
        files |= {f"ratchet/{module}.py": Path(__file__).with_name(f"{module}.py") for module in shared}
        packages = {f"{place}/__init__.py": self.package, f"{place}/{name}/__init__.py": f"{self.package}.{name}"}
        return {**{file: Path(str(sys.modules[module].__file__)) for file, module in packages.items()}, **files}
