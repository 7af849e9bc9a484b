"""What the modules of a kind hold, besides its contract. They load only where they are used.

`sources` reads what people have; `records` keeps it in the lake and says what a batch must be; `logged` is what the
prediction log keeps; `network` is the beginning of a network; `evaluation` perturbs and slices; `endpoint` is BentoML's
own API; `show` is for people; `scaffold` outlines a recipe; `scenarios`, which a kind may leave out, is what a replay
may do to inputs. Of these `endpoint` and `logged` travel in a bento, with the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from ratchet.endpoints import PREDICT
from ratchet.evaluation.thirds import Masks
from ratchet.kinds import part

if TYPE_CHECKING:
    import pyarrow as pa
    from markupsafe import Markup

    from ratchet.charts import Weighted
    from ratchet.expectation import Expectation
    from ratchet.lake.encoding import Part
    from ratchet.lake.formats import Record
    from ratchet.lake.outline import Given, Outline
    from ratchet.lake.split import Side
    from ratchet.lake.tabular import Report
    from ratchet.layout import Layout
    from ratchet.suite import Suite

Perturbation = Callable[[np.ndarray], np.ndarray]
"""Inputs [N, ...] with something done to them."""
Slices = Callable[[np.ndarray], Masks]
"""Which of the inputs [N, ...] belong to each slice."""


class Sources(Protocol):
    """What people have."""

    @property
    def HINT(self) -> str:
        """What to give instead of a file that cannot be read."""

    def read(
        self, contract: Any, inputs: Path, labels: Path | None, layout: Layout, report: Report
    ) -> Iterator[Record]:
        """The records of a file or folder; `report` takes what is found out about it, for people.

        Raises Refusal if it is of another format.
        """


@runtime_checkable
class EncodedSources(Protocol):
    """How a kind reads files if it encodes many records at once; it takes the place of `Sources`."""

    @property
    def HINT(self) -> str: ...

    def read_encoded(
        self, contract: Any, inputs: Path, labels: Path | None, layout: Layout, report: Report, part: Part
    ) -> Iterator[pa.Table]:
        """A part of the records of a file or folder as `ratchet.lake.encoding.ROWS`, some thousands at a time.

        Raises Refusal if it is of another format.
        """


class Records(Protocol):
    """How the lake keeps records, what is measured of them, and what a batch of them must be."""

    @property
    def TYPE(self) -> pa.DataType:
        """The type of the lake's column."""

    @property
    def NEEDS_NEIGHBOURS(self) -> bool:
        """Whether what is measured of a record depends on those beside it, so that a sample would mislead."""

    def cell(self, data: bytes) -> Any:
        """The encoded input as the lake's column holds it."""

    def sides(self, contract: Any, rows: pa.Table) -> Mapping[Side, pa.Table]:
        """The records of each side. No record ever changes sides, unless the contract splits by time."""

    def side_of(self, contract: Any, row: Mapping[str, Any]) -> str:
        """The side of one record, for people."""

    def is_in_order(self, contract: Any) -> bool:
        """Whether the test side holds the newest records."""

    def examples(self, contract: Any, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Inputs [N, ...]; targets: labels [N], or values [N, horizon]; weights [N], or None if all count alike."""

    def served(self, contract: Any, input: np.ndarray, name: str, at: datetime) -> Any:
        """The value of a record, as the contract encodes one, from an input [1, ...] that was served at that time.

        None if an input is no record. `name` is unique.
        """

    def statistics(self, contract: Any, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The columns that a suite checks, a value for each of these records."""

    def expectations(self, contract: Any, suite: Suite) -> tuple[Expectation, ...]:
        """What these columns must be."""


class Logged(Protocol):
    """What the prediction log keeps of inputs. It travels in a bento."""

    def statistics(self, contract: Any, inputs: np.ndarray) -> dict[str, list[Any]]:
        """A value, as JSON has it, for each of the inputs [N, ...], by the names that `Records.statistics` has."""

    def redacted(self, contract: Any, inputs: np.ndarray, what: Sequence[str]) -> np.ndarray:
        """The inputs [N, ...] without what a recipe's `redact` names. Raises ValueError if it cannot be meant."""


class Evaluation(Protocol):
    """What an evaluation does with inputs. Pure."""

    @property
    def PERTURBATIONS(self) -> Mapping[str, Perturbation]:
        """By the name that a recipe gives."""

    def columns(self, contract: Any, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
        """The values [N] of each column of the inputs; empty for a kind without columns."""

    def unseen(self, contract: Any, inputs: np.ndarray, vocabulary: Sequence[str]) -> tuple[str, float] | None:
        """What an input consists of, and the share of it that training has not seen; None without a vocabulary."""

    def slices(self, contract: Any) -> Mapping[str, Slices]:
        """Slices by the name that a recipe gives."""

    @property
    def prefixed(self) -> Callable[[Any, str, np.ndarray], np.ndarray] | None:
        """The inputs [N] with words in front; None for a kind without words."""

    @property
    def near(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """Which of the inputs [N, ...] nearly duplicate one of the others [M, ...]; None if nobody can report."""


class Forecasting(Protocol):
    """What the evaluation of a forecast needs beside that."""

    def season(self, contract: Any) -> int:
        """The steps after which the seasonal-naive baseline repeats a value."""

    def filled(self, contract: Any, windows: np.ndarray) -> np.ndarray:
        """The windows [N, window] with a value wherever one is missing."""

    def raised(self, contract: Any, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Which of the windows [N, window] can be raised; those raised; and by how much."""


class Show(Protocol):
    """How an input is shown."""

    def attribution(self, contract: Mapping[str, Any], rendered: str, weighted: Sequence[Weighted]) -> Markup:
        """A rendered input with the attribution of its regions."""

    def curl(self, input: np.ndarray, body: Path, base: str) -> str:
        """The command that sends an input [1, ...] from a shell; `body` holds it as JSON."""


class Scaffold(Protocol):
    """Outlines a recipe."""

    def outline(self, source: Path, given: Given) -> Outline:
        """For the data in `source`.

        Raises Refusal if no recipe can be made for them.
        """


@dataclass(frozen=True)
class Start:
    """The beginning of a network, in Keras's tensors."""

    entry: Any
    """The input, as `Contract.features` makes it."""
    hidden: Any
    """What the family continues with: [N, height, width, channels] or [N, steps, size]."""
    forecast: Callable[[Any, int], Any] | None = None
    """The output [N, width] from the family's features [N, any]; None if it is probabilities."""


Change = Callable[[Any, np.ndarray, np.random.Generator], np.ndarray]
"""What inputs [N, ...] become; the first argument is the contract."""


@dataclass(frozen=True)
class Scenario:
    """What may become of inputs that are sent, for a replay. It stays within the contract."""

    what: str
    change: Change
    in_a_year: Literal["", "benign", "harmful"] = ""
    """The part that it has in a year in which everything happens once."""


def curl_json(input: np.ndarray, body: Path, base: str) -> str:
    """The command that sends the JSON in the file `body`."""
    return f"curl -H 'content-type: application/json' -d @{body} {base}{PREDICT}"


def sources(kind: str) -> Sources | EncodedSources:
    """The module of a kind that reads files; the others below are like it."""
    module: Sources | EncodedSources = part(kind, "sources")
    return module


def records(kind: str) -> Records:
    module: Records = part(kind, "records")
    return module


def logged(kind: str) -> Logged:
    module: Logged = part(kind, "logged")
    return module


def evaluation(kind: str) -> Evaluation:
    module: Evaluation = part(kind, "evaluation")
    return module


def forecasting(kind: str) -> Forecasting:
    module: Forecasting = part(kind, "evaluation")
    return module


def show(kind: str) -> Show:
    module: Show = part(kind, "show")
    return module


def scaffold(kind: str) -> Scaffold:
    module: Scaffold = part(kind, "scaffold")
    return module


def scenarios(kind: str) -> Mapping[str, Scenario]:
    """What may become of inputs, by name; empty for a kind that has no module of that name."""
    package = part(kind, "contract").__package__
    if find_spec(f"{package}.scenarios") is None:
        return {}
    known: Mapping[str, Scenario] = part(kind, "scenarios").SCENARIOS
    return known


if TYPE_CHECKING:  # the project's own modules are checked against the protocols
    from ratchet.kinds.image import evaluation as image_evaluation
    from ratchet.kinds.image import logged as image_logged
    from ratchet.kinds.image import records as image_records
    from ratchet.kinds.image import scaffold as image_scaffold
    from ratchet.kinds.image import show as image_show
    from ratchet.kinds.image import sources as image_sources
    from ratchet.kinds.series import evaluation as series_evaluation
    from ratchet.kinds.series import logged as series_logged
    from ratchet.kinds.series import records as series_records
    from ratchet.kinds.series import scaffold as series_scaffold
    from ratchet.kinds.series import show as series_show
    from ratchet.kinds.series import sources as series_sources
    from ratchet.kinds.table import evaluation as table_evaluation
    from ratchet.kinds.table import logged as table_logged
    from ratchet.kinds.table import records as table_records
    from ratchet.kinds.table import scaffold as table_scaffold
    from ratchet.kinds.table import show as table_show
    from ratchet.kinds.table import sources as table_sources
    from ratchet.kinds.text import evaluation as text_evaluation
    from ratchet.kinds.text import logged as text_logged
    from ratchet.kinds.text import records as text_records
    from ratchet.kinds.text import scaffold as text_scaffold
    from ratchet.kinds.text import show as text_show
    from ratchet.kinds.text import sources as text_sources

    def _are_as_described(
        records: Records, logged: Logged, evaluation: Evaluation, show: Show, scaffold: Scaffold
    ) -> None: ...

    _are_as_described(image_records, image_logged, image_evaluation, image_show, image_scaffold)
    _are_as_described(series_records, series_logged, series_evaluation, series_show, series_scaffold)
    _are_as_described(table_records, table_logged, table_evaluation, table_show, table_scaffold)
    _are_as_described(text_records, text_logged, text_evaluation, text_show, text_scaffold)
    _sources: tuple[Sources | EncodedSources, ...] = (image_sources, series_sources, table_sources, text_sources)
    _forecasting: Forecasting = series_evaluation
