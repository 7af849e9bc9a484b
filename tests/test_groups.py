"""Groups of people: kept where a recipe names them, refused where they are others, unknown to the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ratchet.kinds.text import TextContract
from ratchet.lake import ingest, quarantine, sources, table
from ratchet.recipe import Criteria, Recipe


def rows(path: Path, contract: TextContract) -> list[str | None]:
    rows = sources.read(path, contract, sources.Limits(1 << 28, 1 << 28), path.parent)
    return list(rows["group"].to_pylist())


def test_a_group_may_be_a_number_and_none_is_lost(tmp_path: Path) -> None:
    columns = {"text": ["one text", "two texts", "three"], "label": ["a", "b", "a"]}
    pq.write_table(pa.table({**columns, "group": [0, 1, None]}), tmp_path / "rows.parquet")
    assert rows(tmp_path / "rows.parquet", TextContract()) == ["0", "1", None]
    (tmp_path / "rows.csv").write_text("text,label,group\none text,a,0\ntwo texts,b,1\nthree,a,\n")
    assert rows(tmp_path / "rows.csv", TextContract()) == ["0", "1", None]


def images(path: Path, groups: list[str]) -> Path:
    chance, pixels = np.random.default_rng(0), ",".join(f"p{i}" for i in range(784))
    lines = [f"label,{pixels},group"]
    for number, group in enumerate(groups):
        cells = ",".join(map(str, chance.integers(0, 256, 784)))
        lines.append(f"{number % 10},{cells},{group}")
    path.write_text("\n".join(lines))
    return path


def test_a_group_is_kept_where_the_recipe_names_it_and_refused_where_it_does_not(small: Recipe, tmp_path: Path) -> None:
    grouped = replace(small, groups=("a", "b"))
    batch = ingest.land(grouped, images(tmp_path / "some.csv", ["a", "b", "c", ""]), "test")
    assert (batch.accepted, batch.quarantined) == (3, 1)
    rows = table.read(ingest.lake(small.name) / "landing", ["group"])
    assert rows is not None
    assert sorted(map(str, rows["group"].to_pylist())) == ["None", "a", "b"]
    (refused,) = [r for r in quarantine.show(ingest.lake(small.name), batch.id) if "group" in str(r)]
    assert "'c' is not one of a, b" in str(refused)


def test_a_group_that_the_recipe_does_not_declare_is_not_kept(small: Recipe, tmp_path: Path) -> None:
    ingest.land(small, images(tmp_path / "some.csv", ["someone@example.org"] * 3), "test")
    rows = table.read(ingest.lake(small.name) / "landing", ["group"])
    assert rows is not None
    assert rows["group"].to_pylist() == [None] * 3


@pytest.mark.parametrize(
    ("groups", "fairness", "why"),
    [
        ((), {"Trouser": 0.1}, "at least two"),
        (("a",), {"Trouser": 0.1}, "at least two"),
        (("a", "b"), {"Hat": 0.1}, "no class"),
        (("a", "b"), {"Trouser": "a"}, "of the type float"),
        (("a", "b"), {"Trouser": 5}, "at least 0 and at most 1"),
        (("a", "b"), {"Trouser"}, "of the type Mapping"),
        ("ab", {"Trouser": 0.1}, "of the type tuple"),
        ((1, 2), {"Trouser": 0.1}, "of the type str"),
        (("a", "a"), {"Trouser": 0.1}, "twice"),
    ],
)
def test_a_recipe_whose_fairness_cannot_be_evaluated_is_refused_when_it_is_read(
    small: Recipe, groups: tuple[str, ...], fairness: dict[str, float], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        replace(small, groups=groups, criteria=Criteria(fairness=fairness))
