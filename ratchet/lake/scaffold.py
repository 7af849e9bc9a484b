"""Scaffolds a recipe for somebody's own data: reads the data as ingest would, and writes down what it is."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, UnidentifiedImageError

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.files import replace
from ratchet.images import ImageContract
from ratchet.lake import sources
from ratchet.lake.fetch import digest
from ratchet.scratch import scratch_folder
from ratchet.series import SeriesContract
from ratchet.settings import settings
from ratchet.texts import TextContract

_UNBOUNDED = 1e300
_TEMPLATE = """# Written by `ratchet new` from {path}
# Read every line; raise `version` when the meaning changes.

{imports}

recipe = Recipe(
    name="{name}",
    version=1,
    purpose={purpose},
    contract={call},
{classes}    data=DataSet(
        setting="{stem}_dir",
        folders=({folder},),
        url="",
        files={{{file}: "{digest}"}},
    ),
    batches=({batch},),
    benchmark={benchmark},
    suite=Suite(min_rows={rows}{share}, max_age_days=36500.0),
    training=Training(family="{family}"),
    criteria={criteria},
)
"""
Fields = dict[str, str]
"""Values for the template, by field."""


@dataclass(frozen=True)
class Scaffold:
    path: Path
    records: int
    refused: int
    why: str
    """Why the first refused record was refused."""


def scaffold(name: str, kind: str, source: Path) -> Scaffold:
    """Writes the recipe `name` for the data in `source` into the last of the recipe folders.

    Raises Refusal if the recipe exists already, or no recipe can be made for the data.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name):
        raise Refusal("a name consists of lower-case letters, digits and hyphens", name, "Choose another")
    stem = name.replace("-", "_")
    path = settings().recipe_folders[-1] / f"{stem}.py"
    if path.exists():
        raise Refusal("the recipe exists already", path, "Choose another name, or change that file")
    source = source.expanduser().resolve()
    if not source.exists():
        raise Refusal("there is no such file or folder", source, "Give the path of one")
    rows, fields = {"image": _image, "text": _text, "series": _series}[kind](source)
    accepted = rows.filter(pc.is_null(rows["reason"]))
    refused = rows.filter(pc.is_valid(rows["reason"]))
    why = refused["reason"][0].as_py() if refused.num_rows else ""
    if accepted.num_rows < 60:
        first = f" ({why})" if why else ""
        raise Refusal(f"only {accepted.num_rows} of its records can be read{first}", source, "Give at least 60")
    fields |= _time_feeds(source, accepted.num_rows) if kind == "series" else _class_fields(accepted, source)
    fields |= {"imports": _imports(fields), "rows": str(max(20, accepted.num_rows // 20)), "digest": digest(source)}
    places = {"path": str(source), "folder": str(source.parent), "file": source.name}
    fields |= {field: _quoted(place) for field, place in places.items()}
    replace(path, _TEMPLATE.format(name=name, stem=stem, **fields))
    return Scaffold(path, accepted.num_rows, refused.num_rows, why)


def _imports(fields: Fields) -> str:
    names = ", ".join(sorted(["DataSet", "Feed", fields["criteria"].split("(")[0], "Recipe", "Suite", "Training"]))
    contract = fields["call"].split("(")[0]
    lines = [f"from ratchet.{fields['module']} import {contract}", f"from ratchet.recipe import {names}"]
    return "\n".join(sorted(lines))


def _read(source: Path, contract: Contract) -> pa.Table:
    limits = sources.Limits(settings().ingest_memory_mb << 20, settings().ingest_disk_mb << 20)
    with scratch_folder() as folder:
        return sources.read(source, contract, limits, folder)


def _image(source: Path) -> tuple[pa.Table, Fields]:
    classes = (p for p in sorted(source.iterdir()) if p.is_dir() and p.name[0] != ".") if source.is_dir() else ()
    files = (p for folder in classes for p in sorted(folder.rglob("*")) if p.is_file() and p.name[0] != ".")
    first = next(iter(files), None)
    if first is None:
        raise Refusal("it holds no folder of images", source, "Give a folder with one folder per class")
    try:
        with Image.open(first, formats=("PNG", "JPEG")) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = image.size[::-1] if turned else image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise Refusal("it is neither PNG nor JPEG", first, "Give PNG or JPEG files, one folder per class") from error
    rows = _read(source, ImageContract(height, width))
    call = f"ImageContract(height={height}, width={width})"
    return rows, {"module": "images", "call": call, "family": "cnn" if min(width, height) >= 16 else "rnn"}


def _text(source: Path) -> tuple[pa.Table, Fields]:
    return _read(source, TextContract()), {"module": "texts", "call": "TextContract()", "family": "transformer"}


def _series(source: Path) -> tuple[pa.Table, Fields]:
    """The step is the most frequent time between neighbours, the horizon one day, the window one week."""
    rows = _read(source, SeriesContract(-_UNBOUNDED, _UNBOUNDED))
    accepted = rows.filter(pc.is_null(rows["reason"]))
    times = accepted["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000
    seconds = np.unique(times)
    if len(seconds) < 60:
        raise Refusal("it has too few times to be a series", source, "Give at least 60 rows of `time`, `value`")
    if (np.diff(times) < 0).any():
        raise Refusal("its rows are not in the order of time", source, "Sort them: the last fifth is the benchmark")
    step = Counter(np.diff(seconds).tolist()).most_common(1)[0][0]
    offset = Counter((seconds % step).tolist()).most_common(1)[0][0]
    horizon = max(1, round(86400 / step)) if step < 86400 else 7
    values = np.frombuffer(b"".join(accepted["data"].to_pylist()))
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise Refusal(f"every value is {low}", source, "Give a series that changes")
    room, needed = (high - low) / 2, 10 * horizon
    # Each of the twelve blocks of a cycle needs a few windows with their horizon.
    block = min(max(len(seconds) // 24, needed), 14 * horizon)
    if len(seconds) * 4 // 5 < 12 * block:
        what = f"{len(seconds)} values do not suffice for twelve blocks of {block} and a benchmark"
        raise Refusal(what, source, f"Give at least {15 * needed} values, one every {step} s")
    arguments = {"low": low - room, "high": high + room, "close": (high - low) / 50, "step": step, "offset": offset}
    arguments |= {"window": 7 * horizon, "horizon": horizon, "block": block}
    lines = "".join(f"        {field}={value!r},\n" for field, value in arguments.items())
    criteria = f"ForecastCriteria(squared_error={float(np.var(values)) or 1.0:.4g})"
    call = f"SeriesContract(\n{lines}    )"
    return rows, {"module": "series", "call": call, "family": "rnn", "criteria": criteria}


def _class_fields(accepted: pa.Table, source: Path) -> Fields:
    """Thresholds above the accuracy of always predicting the most frequent class; every sixth record is benchmark."""
    counts = Counter(accepted["label"].to_pylist())
    groups = sorted({group for group in accepted["group"].to_pylist() if group})
    if len(counts) < 2 or None in counts:
        raise Refusal(f"its labels are {[str(label) for label in counts][:5]}", source, "Give at least two classes")
    if len(counts) > 1000:
        raise Refusal(f"it has {len(counts)} labels", source, "Give at most 1000 classes, not numbers")
    names = sorted(counts, key=lambda label: (len(label), label) if label.isdigit() else (0, label))
    most, least = max(counts.values()) / accepted.num_rows, min(counts.values()) / accepted.num_rows
    accuracy = round((1 + most) / 2, 2)
    return {
        "classes": f"    classes=({', '.join(map(_quoted, names))}),\n{_groups_comment(groups)}",
        "purpose": _quoted(f"Predicts which of {len(names)} classes an input of {source.name} belongs to."),
        "batch": f"Feed({_quoted(source.name)}, every=-6)",
        "benchmark": f"Feed({_quoted(source.name)}, every=6)",
        "share": f", min_class_share={least / 3:.2g}",
        "criteria": f"Criteria(accuracy={accuracy}, worst_class={accuracy / 2:.2g}, margin=0.02)",
    }


def _groups_comment(groups: list[str]) -> str:
    """The values of the column `group`, commented out: a person decides whether they are groups of people."""
    if not 2 <= len(groups) <= 20:
        return ""
    names = ", ".join(map(_quoted, groups))
    return f"    # groups=({names}),  # of people: `Criteria(fairness={{...}})` needs it\n"


def _time_feeds(source: Path, count: int) -> Fields:
    """The last fifth of a series is the benchmark."""
    name, cut = _quoted(source.name), count * 4 // 5
    purpose = _quoted(f"Forecasts what comes next in {source.name}.")
    feeds = {"batch": f"Feed({name}, stop={cut})", "benchmark": f"Feed({name}, start={cut})"}
    return {"classes": "", "purpose": purpose, "share": "", **feeds}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
