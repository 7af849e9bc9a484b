"""Checks every field of a recipe when it is read: its type, and the bounds that its annotation names.

The bounds are for people who write a recipe. What was once recorded is read back without them, so that an entry of
the ledger stays readable.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ratchet.settings import is_printable


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, or strictly between them."""

    low: float = -math.inf
    high: float = math.inf
    strict: bool = False

    def __str__(self) -> str:
        above, below = ("above", "below") if self.strict else ("at least", "at most")
        parts = [f"{above} {self.low:g}"] * (self.low > -math.inf) + [f"{below} {self.high:g}"] * (self.high < math.inf)
        return " and ".join(parts)

    def holds(self, number: float) -> bool:
        return self.low < number < self.high if self.strict else self.low <= number <= self.high


Percent = Annotated[int, Between(0, 100)]
Share = Annotated[float, Between(0, 1)]
Count = Annotated[int, Between(1)]
Index = Annotated[int, Between(0)]
NotNegative = Annotated[float, Between(0)]
Positive = Annotated[float, Between(0, strict=True)]
Probability = Annotated[float, Between(0, 1, strict=True)]


_MAX_INT = 2**63 - 1


MAX_NAME = 200
"""Characters of the name of a class or a group."""


def known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError naming the first of the given names that is none of the known ones."""
    known = tuple(known)
    for name in given:
        if name not in known:
            raise ValueError(f"there is no {what} {name!r}; choose from: {', '.join(known) or 'none'}")


def require_names(where: str, names: Sequence[str]) -> None:
    """Raises ValueError if a name stands twice, or is no printable text of a sensible length."""
    if len(set(names)) != len(names):
        raise ValueError(f"a name stands twice in {where}: {names!r}")
    for name in names:
        if not name.strip() or len(name) > MAX_NAME or not is_printable(name):
            limit = f"1 to {MAX_NAME} printable characters"
            raise ValueError(f"a name in {where} does not have {limit}: {name[:MAX_NAME]!r}")


class _WrongType(ValueError):
    """A value that is not of its type at all: of several types, another one was meant."""


def check(value: Any, where: str) -> None:
    """Raises ValueError naming the first field of a dataclass, or of one inside it, that is not as declared."""
    hints = get_type_hints(type(value), include_extras=True)
    for each in fields(value):
        _check(getattr(value, each.name), hints[each.name], f"{where}.{each.name}")


def _check(value: Any, hint: Any, where: str) -> None:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        _check(value, arguments[0], where)
        for bound in arguments[1:]:
            if not bound.holds(value):
                raise ValueError(f"{where} must be {bound}, not {value!r}")
    elif origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where} must be one of {', '.join(map(repr, arguments))}, not {value!r}")
    elif origin in (Union, UnionType):
        _check_any(value, arguments, where)
    elif origin is tuple and isinstance(value, tuple) and arguments[1:] == (Ellipsis,):
        for index, item in enumerate(value):
            _check(item, arguments[0], f"{where}[{index}]")
    elif isinstance(value, Mapping) and origin is Mapping:
        for key, item in value.items():
            _check(key, arguments[0], f"a key of {where}")
            _check(item, arguments[1], f"{where}[{key!r}]")
    elif is_dataclass(value) and not isinstance(value, type) and (hint is type(value) or _is_protocol(hint)):
        check(value, where)
    elif not _is(value, hint):
        is_number = hint is float and type(value) in (int, float)
        expected = "a finite number" if is_number else f"of the type {getattr(hint, '__name__', hint)}"
        raise _WrongType(f"{where} must be {expected}, not {value!r}")


def _check_any(value: Any, hints: tuple[Any, ...], where: str) -> None:
    """The value is as one of the hints says; if it is as none of them, the nearest one's reason is raised."""
    reasons = []
    for hint in hints:
        try:
            _check(value, hint, where)
        except ValueError as error:
            if hint is not NoneType:
                reasons.append(error)
        else:
            return
    raise next((reason for reason in reasons if not isinstance(reason, _WrongType)), reasons[0])


def _is_protocol(hint: Any) -> bool:
    return bool(getattr(hint, "_is_protocol", False))


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of a type without parts; a number is finite and fits 64 bits, and a bool is not a number."""
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint is int:
        return type(value) is int and -_MAX_INT <= value <= _MAX_INT
    if get_origin(hint) is Callable:
        return callable(value)
    return hint is Any or type(value) is hint
