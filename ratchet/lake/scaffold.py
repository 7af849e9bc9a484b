"""Scaffolds a recipe for somebody's own data: reads the data as ingest would, and writes down what it is."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ratchet import recipe as recipes
from ratchet.contract import given_fields
from ratchet.errors import Refusal
from ratchet.files import replace
from ratchet.kinds import parts
from ratchet.lake import sources
from ratchet.lake.fetch import digest
from ratchet.lake.outline import NOTHING, Fields, Given, Outline, accepted, quoted
from ratchet.layout import DETECTED, Layout
from ratchet.settings import settings
from ratchet.tasks import names as task_names
from ratchet.tasks import parts as tasks

_TEMPLATE = """# Written by `ratchet new` from {path}
# Read every line; raise `version` when the meaning changes.

{imports}

recipe = Recipe(
    name="{name}",
    version=1,
    purpose={purpose},
    contract={call},
{task}    data=DataSet(
        setting="{stem}_dir",
        folders=({folder},),
        url="",
        files={{{file}: "{digest}"}},{layout}
    ),
    batches=({batch},),
    benchmark={benchmark},
    suite=Suite(min_rows={rows}{share}{suite}, max_age_days=36500.0),
    training=Training(family="{family}"),
    criteria={criteria},
)
"""


@dataclass(frozen=True)
class Scaffold:
    path: Path
    records: int
    refused: int
    why: str
    """Why the first refused record was refused."""
    facts: tuple[str, ...]
    """How the source was read, and what a person should know of the recipe."""


def scaffold(name: str, kind: str, source: Path, given: Given = NOTHING) -> Scaffold:
    """Writes the recipe `name` for the data in `source` into the last of the recipe folders.

    Raises Refusal if the recipe exists already, or no recipe can be made for the data.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name):
        raise Refusal("a name consists of lower-case letters, digits and hyphens", name, "Choose another")
    stem = name.replace("-", "_")
    path = settings().recipe_folders[-1] / f"{stem}.py"
    if existing := recipes.files(name):
        raise Refusal("there is a recipe of that name already", existing[0], "Choose another name, or remove that file")
    if name in recipes.RESERVED:
        raise Refusal("the gateway uses that name itself", name, "Choose another")
    source = source.expanduser().resolve()
    if not source.exists():
        raise Refusal("there is no such file or folder", source, "Give the path of one")
    outline = parts.scaffold(kind).outline(source, given)
    good = accepted(outline.rows, source)
    refused = outline.rows.filter(pc.is_valid(outline.rows["reason"]))
    why, fields = refused["reason"][0].as_py() if refused.num_rows else "", dict(outline.fields)
    fields["suite"] = fields.get("suite", "") + _repeated(outline, good)
    if "task" not in fields:  # the kind of input does not imply it
        task = _task(good["label"].to_pylist())
        fields |= tasks.scaffold(task).fields(good, source)
        families = recipes.families(kind, task)
        fields["family"] = fields["family"] if fields["family"] in families else families[0]
    fields |= {"layout": f"\n        layout={_code(given.layout)}," if given.layout != DETECTED else ""}
    fields |= {"imports": _imports(kind, fields), "rows": str(max(20, good.num_rows // 20)), "digest": digest(source)}
    places = {"path": str(source), "folder": str(source.parent), "file": source.name}
    fields |= {field: quoted(place) for field, place in places.items()}
    replace(path, _TEMPLATE.format(name=name, stem=stem, **fields))
    return Scaffold(path, good.num_rows, refused.num_rows, why, (*sources.facts(outline.rows), *outline.remarks))


def _repeated(outline: Outline, good: pa.Table) -> str:
    """The suite's limit of duplicates, where the data have many."""
    cells = zip(good["data"].to_pylist(), good["captured_at"].to_pylist(), strict=True)
    digests = set()
    for data, at in cells:
        with contextlib.suppress(Refusal):  # ingest will say so
            digests.add(outline.contract.digest(data, at))
    share = 1 - len(digests) / good.num_rows
    return f", max_duplicates={min(1.0, round(2 * share + 0.01, 2))}" if share > 0.005 else ""


def _code(layout: Layout) -> str:
    return f"Layout({', '.join(f'{name}={value!r}' for name, value in given_fields(layout).items())})"


def _task(labels: Sequence[str | None]) -> str:
    """The task that fits the labels best."""
    return max(task_names(), key=lambda name: tasks.scaffold(name).fit(labels))


def _imports(kind: str, fields: Fields) -> str:
    """The import lines: a task from outside brings its own, and the project's are in `ratchet.recipe`."""
    task = [fields["criteria"].split("(")[0], *re.findall(r"task=(\w+)\(", fields["task"])]
    own = fields.get("imports", "").splitlines()
    also = [*([] if own else task), *(["Layout"] if fields["layout"] else [])]
    names = ", ".join(sorted(["DataSet", "Feed", "Recipe", "Suite", "Training", *also]))
    contract = fields["call"].split("(")[0]
    from_kind = ", ".join(sorted(filter(None, (contract, fields.get("also", "")))))
    lines = [f"from ratchet.kinds.{kind} import {from_kind}", f"from ratchet.recipe import {names}", *own]
    return "\n".join(sorted(lines))
