"""A row of a table. Ingest and endpoint read it by the same rules. Needs only NumPy."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from ratchet.contract import given_fields
from ratchet.errors import Refusal
from ratchet.kinds.table.column import Cell, Column
from ratchet.tensors import Spec, Tensor, no, vector_of
from ratchet.tokenizer import tokens

_SEEN = 5
"""Rows that a category needs to have a place, and to be in a synthetic row: a rarer one may name somebody."""


@dataclass(frozen=True)
class TableContract:
    """A row of these columns. A batch of inputs is a structured array [N] with a field for each feature.

    The lake keeps a row as JSON, those columns included that are no features.
    """

    columns: tuple[Column, ...]
    target: str
    """The column with the label."""
    id: str = ""
    """The column that says whether two rows are the same record; if empty, their features do."""
    split_by: str = ""
    """The column whose rows with the same value are all on one side, as those of a customer; if empty, the id."""
    split: str = "digest"
    """`digest`, or `time`: then the oldest records are for training and the newest for the test, in each snapshot."""
    people: str = ""
    """The column with the group of people that a record belongs to, of the recipe's `groups`."""
    time: str = ""
    """The column with the time of a record; if empty, that of its ingest."""
    weight: str = ""
    """The column that says how much a record counts in training; if empty, all count alike."""
    kind: ClassVar[str] = "table"
    column: ClassVar[str] = "row"
    json_key: ClassVar[str] = "rows"
    shape: ClassVar[tuple[int, ...]] = ()

    def __post_init__(self) -> None:
        columns = tuple(Column(**column) if isinstance(column, dict) else column for column in self.columns)
        object.__setattr__(self, "columns", columns)
        names = [column.name for column in columns]
        if len(set(names)) != len(names):
            raise ValueError(f"a column stands twice: {names}")
        if not self.feature_columns:
            raise ValueError("no column is a feature")
        if self.target in names:
            raise ValueError(f"the target {self.target!r} is a column of the input, which would leak it")
        if self.split not in ("digest", "time") or (self.split == "time" and (self.split_by or not self.time)):
            raise ValueError(f"the split {self.split!r} is not `digest`, or `time` with a `time` and no `split_by`")
        if self.split == "time" and (self.by_name(self.time).type, self.by_name(self.time).missing) != ("timestamp", 0):
            raise ValueError(f"{self.time!r}, by which the table is split, is no timestamp that every row has")
        for role in ("id", "split_by", "people", "time", "weight"):
            if (name := getattr(self, role)) and name not in names:
                raise ValueError(f"the {role} {name!r} is no column: give it with feature=False")
        if self.weight:
            self._check_weight(self.by_name(self.weight))

    def _check_weight(self, column: Column) -> None:
        """Raises ValueError if the column cannot say how much a record counts."""
        numbers = column.type in ("number", "integer") and not column.missing and not column.feature
        if not numbers or column.low is None or column.low < 0:
            what = f"the weight {column.name!r} is no number from 0 on that every row has and that is no feature"
            raise ValueError(f"{what}: write Column({column.name!r}, 'number', low=0, feature=False)")

    @cached_property
    def feature_columns(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.feature)

    @property
    def dtype(self) -> np.dtype:
        return _dtype(self.feature_columns)

    def answers(self) -> None:
        """A recipe says."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **given_fields(self), "columns": [given_fields(column) for column in self.columns]}

    def describe(self) -> str:
        names = ", ".join(column.name for column in self.feature_columns[:8])
        more = f" and {len(self.feature_columns) - 8} more" if len(self.feature_columns) > 8 else ""
        return f"a row with the columns {names}{more}"

    @property
    def same(self) -> str:
        return (
            f"rows with the same {self.id} are one record" if self.id else "rows with the same features are one input"
        )

    def encode(self, value: Any, which: str) -> bytes:
        """A mapping of typed values by column, as JSON."""
        cells = {column.name: column.read(value.get(column.name), which, show=False) for column in self.columns}
        return _json({name: None if _is_nothing(cell) else cell for name, cell in cells.items()})

    def note(self, value: Any) -> str:
        return ""

    def beside(self, data: bytes) -> str:
        """The digest is of the id alone, or of the features; other columns, such as the weight, count as well."""
        return hashlib.sha256(data).hexdigest() if self.id or self.columns != self.feature_columns else ""

    def digest(self, data: bytes, at: datetime | None) -> str:
        """Of the id, or of the features."""
        row = json.loads(data)
        identity = [self.id, row[self.id]] if self.id else [row[column.name] for column in self.feature_columns]
        if self.id and row[self.id] is None:
            raise Refusal(f"the id {self.id!r} is missing", "the row", "Give every row one")
        return hashlib.sha256(_json(identity)).hexdigest()

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """Rows as JSON objects; columns that are no features may be there, and any other is refused."""
        if not isinstance(values, list) or not values:
            raise Refusal("there is no list of rows", which, "Send objects with a value by column")
        rows, names = [], {column.name for column in self.columns}
        for number, row in enumerate(values):
            at = f"row {number} of {which}"
            if not isinstance(row, Mapping):
                raise Refusal("the row is no object", at, "Send a value by column")
            if unknown := sorted(set(map(str, row)) - names):
                more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
                what = f"there is no column {', '.join(map(repr, unknown[:3]))[:120]}{more}"
                raise Refusal(what, at, f"The columns are {', '.join(sorted(names))[:300]}")
            rows.append(tuple(column.read(row.get(column.name), at) for column in self.feature_columns))
        return np.array(rows, self.dtype)

    def values(self, inputs: np.ndarray) -> list[Any]:
        """Rows as `read` takes them."""
        columns = self.feature_columns
        return [
            {column.name: _shown(column, cell) for column, cell in zip(columns, row, strict=True)}
            for row in inputs.tolist()
        ]

    def by_name(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """Rows as `pack` writes them, each read again."""
        if len(data) != count * self.dtype.itemsize:
            raise Refusal(f"{len(data)} bytes were sent for {count} rows", which, "Send JSON")
        return self.read(self.values(np.frombuffer(data, self.dtype)), which)

    def pack(self, inputs: np.ndarray) -> bytes:
        return inputs.tobytes()

    @property
    def tensors(self) -> tuple[Spec, ...]:
        return tuple((each.name, each.datatype, ()) for each in self.feature_columns)

    def from_tensors(self, tensors: Sequence[Tensor], most: int) -> np.ndarray:
        """One tensor [N] or [N, 1] a column, in any order."""
        by_name = {tensor.name: tensor for tensor in tensors}
        if len(by_name) != len(tensors):
            raise no("a column is sent twice", "inputs")
        columns = {name: tensor.vector(most) for name, tensor in by_name.items()}
        if not columns:
            raise no("there is no input", "inputs")
        if len({len(column) for column in columns.values()}) != 1:
            raise no("the columns differ in length", "inputs")
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return self.read(rows, "the inputs")

    def to_tensors(self, inputs: np.ndarray) -> list[Tensor]:
        return [
            vector_of(each.name, each.datatype, self._sent(each, inputs[each.name])) for each in self.feature_columns
        ]

    def _sent(self, column: Column, values: np.ndarray) -> np.ndarray:
        """The values [N] as a tensor has them: times as texts."""
        if column.type != "timestamp":
            return values
        return np.array([_shown(column, value) or "" for value in values.tolist()], object)

    @property
    def features_version(self) -> int:
        return 1

    def learn_vocabulary(self, inputs: np.ndarray) -> tuple[str, ...]:
        """For each feature, the mean, scale and median of its numbers, or its categories, as a line of JSON."""
        return tuple(json.dumps(_learn(column, inputs[column.name])) for column in self.feature_columns)

    def features(self, inputs: np.ndarray, vocabulary: Sequence[str] = ()) -> np.ndarray:
        """float32 [N, F]: scaled numbers, a flag for each that may be missing, and the places of categories."""
        learnt = _parsed(tuple(vocabulary)) or [
            _learn(column, inputs[column.name][:0]) for column in self.feature_columns
        ]
        parts = [
            part
            for column, known in zip(self.feature_columns, learnt, strict=True)
            for part in _features(column, known, inputs[column.name])
        ]
        return np.stack(parts, axis=1).astype(np.float32)

    def width_of(self, column: Column) -> int:
        """The number of its features."""
        nothing = np.array([column.nothing], column.dtype)
        return len(_features(column, _learn(column, nothing), nothing))

    def categories(self) -> tuple[int, ...]:
        starts = np.cumsum([0, *(self.width_of(column) for column in self.feature_columns)])
        return tuple(int(at) for column, at in zip(self.feature_columns, starts, strict=False) if column.is_category)

    def vary(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """With noise of a hundredth on numbers that are no integers."""
        varied = inputs.copy()
        for column in self.feature_columns:
            if column.type == "number":
                noisy = inputs[column.name] * (1 + rng.standard_normal(len(inputs)) / 100)
                varied[column.name] = _clipped(column, noisy)
        return varied

    def synthesize(self, count: int, rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """Each cell from its column alone: a number between quantiles, and no category that is rare there."""
        rows = np.repeat(self.example(), count)
        if like is None or not len(like):
            return rows
        for column in self.feature_columns:
            rows[column.name] = _synthetic(column, count, rng, like[column.name], rows[column.name])
        return rows

    def regions(self, input: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """A column each, by its place; neighbours together if there are too many."""
        size = -(-len(self.feature_columns) // most)
        return [(at, min(at + size, len(self.feature_columns))) for at in range(0, len(self.feature_columns), size)]

    def occlude(self, input: np.ndarray, region: tuple[int, ...]) -> np.ndarray:
        """The values are missing."""
        occluded = input.copy()
        for column in self.feature_columns[slice(*region)]:
            occluded[column.name] = column.nothing
        return occluded

    def quote(self, input: np.ndarray, region: tuple[int, ...]) -> str:
        (row,) = self.values(input)
        return ", ".join(f"{column.name}={row[column.name]}" for column in self.feature_columns[slice(*region)])

    def render(self, input: np.ndarray) -> str:
        return _json(self.values(input)[0]).decode()

    def example(self) -> np.ndarray:
        return np.array([tuple(_example(column) for column in self.feature_columns)], self.dtype)


@lru_cache(maxsize=64)
def _dtype(columns: tuple[Column, ...]) -> np.dtype:
    return np.dtype([(column.name, column.dtype) for column in columns])


@lru_cache(maxsize=8)
def _parsed(vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in vocabulary]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _is_nothing(cell: Cell) -> bool:
    return cell == "" or cell != cell  # NaN


def _shown(column: Column, cell: Cell) -> Any:
    """A cell as JSON has it."""
    if isinstance(cell, str):
        return cell or None
    if math.isnan(cell):
        return None
    if column.type == "timestamp":
        return datetime.fromtimestamp(cell, UTC).isoformat()
    return bool(cell) if column.type == "boolean" else int(cell) if column.type == "integer" else cell


def _clipped(column: Column, values: np.ndarray) -> np.ndarray:
    low, high = (bound if bound is not None else -sign * np.inf for bound, sign in ((column.low, 1), (column.high, -1)))
    return np.clip(values, low, high)


_EXAMPLE = "hello, world"


def _example(column: Column) -> Cell:
    if column.type == "text":
        return _EXAMPLE[: column.length]
    if column.is_text:
        return column.values[0] if column.values else "x"
    bounds = [bound for bound in (column.low, column.high) if bound is not None]
    middle = sum(bounds) / len(bounds) if bounds else 0.0
    return middle if column.type in ("number", "timestamp") else float(min(bounds, default=0.0))


def _synthetic(
    column: Column, count: int, rng: np.random.Generator, values: np.ndarray, default: np.ndarray
) -> np.ndarray:
    missing = (values == "") if column.is_text else np.isnan(values)
    if column.values:
        synthetic = rng.choice(np.array(column.values, column.dtype), size=count)
    elif column.type == "text":
        words = _frequent_words(values.tolist()) or tokens(_EXAMPLE)
        sizes = rng.integers(3, 12, count)
        texts = [" ".join(words[at] for at in rng.integers(len(words), size=size)) for size in sizes]
        synthetic = np.array([text[: column.length] for text in texts], column.dtype)
    elif column.is_text:
        names, counts = np.unique(values[~missing], return_counts=True)
        frequent = np.repeat(names, counts * (counts >= _SEEN))
        synthetic = rng.choice(frequent, size=count) if len(frequent) else default
    elif missing.all():
        synthetic = default
    elif column.type == "boolean":
        synthetic = (rng.random(count) < values[~missing].mean()).astype(float)
    else:
        at = np.linspace(0.05, 0.95, 10)
        synthetic = np.interp(rng.uniform(0.05, 0.95, count), at, np.quantile(values[~missing], at))
        synthetic = synthetic.round() if column.type in ("integer", "timestamp") else synthetic
    return np.where(rng.random(count) < missing.mean(), column.nothing, synthetic)


def _learn(column: Column, values: np.ndarray) -> dict[str, Any]:
    if column.type == "text":
        return {"words": _frequent_words(values.tolist())[: column.most]}
    if column.values:
        return {"categories": list(column.values)}
    if column.is_text:
        names, counts = np.unique(values[values != ""], return_counts=True)
        order = np.lexsort((names, -counts))
        frequent = [str(names[i]) for i in order if counts[i] >= _SEEN]
        return {"categories": frequent[: column.most]}
    known = values[~np.isnan(values)]
    if not len(known):
        return {"median": 0.0, "mean": 0.0, "scale": 1.0}
    scale = float(known.std())
    return {"median": float(np.median(known)), "mean": float(known.mean()), "scale": scale if scale > 0 else 1.0}


MISSING, UNSEEN = 0, 1
"""The places of a category that is missing and of those that training did not see; the others follow."""


def _frequent_words(texts: Sequence[str]) -> list[str]:
    """The words that enough texts have, the most frequent first."""
    counts = Counter(word for text in texts for word in set(tokens(text)))
    return [word for count, word in sorted((-count, word) for word, count in counts.items()) if -count >= _SEEN]


def _words(column: Column, known: Sequence[str], texts: Sequence[str]) -> list[np.ndarray]:
    """1 for each of the known words that a text has; as many features as the column may have words."""
    places = {word: place for place, word in enumerate(known)}
    present = np.zeros((column.most, len(texts)), np.float32)
    for row, text in enumerate(texts):
        for word in tokens(text):
            if word in places:
                present[places[word], row] = 1.0
    return list(present)


def _features(column: Column, learnt: Mapping[str, Any], values: np.ndarray) -> list[np.ndarray]:
    if column.type == "text":
        return _words(column, learnt["words"], values.tolist())
    if column.is_text:
        places = {name: place for place, name in enumerate(learnt["categories"], UNSEEN + 1)}
        # Where none may be missing, one that is hidden counts as the most frequent, as a number counts as the median.
        places[""] = MISSING if column.missing else UNSEEN + 1
        return [np.array([places.get(value, UNSEEN) for value in values.tolist()], np.float32)]
    missing = np.isnan(values)
    filled = np.where(missing, learnt["median"], values)
    parts = [(filled - learnt["mean"]) / learnt["scale"]]
    if column.type == "timestamp":
        parts += [filled % 86400 / 43200 - 1, (filled // 86400 + 4) % 7 / 3 - 1]  # hour of the day, day of the week
    return [*parts, missing.astype(np.float32)] if column.missing else parts
