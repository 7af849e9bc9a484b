"""Drafts the recipe of somebody's own data: reads it as ingest would, and writes down what it found."""

from __future__ import annotations

import json
import re
import tempfile
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
from ratchet.series import SeriesContract
from ratchet.settings import settings
from ratchet.texts import TextContract

_WIDE = 1e300
_TEXT = """# Drafted by `ratchet new` from {path}
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
    judging={judged},
)
"""


@dataclass(frozen=True)
class Draft:
    path: Path
    records: int
    refused: int
    why: str
    """Of the first that was refused."""


def draft(name: str, kind: str, source: Path) -> Draft:
    """Writes the recipe `name` for what `source` holds, into the last of the recipe folders.

    Raises Refusal where there is such a recipe, or the data does not make one.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name):
        raise Refusal("it is no name of small letters, digits and hyphens", name, "Choose another")
    stem = name.replace("-", "_")
    path = settings().recipe_folders[-1] / f"{stem}.py"
    if path.exists():
        raise Refusal("there is such a recipe already", path, "Choose another name, or change that file")
    source = source.expanduser().resolve()
    if not source.exists():
        raise Refusal("there is no such file or folder", source, "Give the path of one")
    rows, told = {"image": _image, "text": _text, "series": _series}[kind](source)
    good = rows.filter(pc.is_null(rows["reason"]))
    bad = rows.filter(pc.is_valid(rows["reason"]))
    if good.num_rows < 60:
        why = f" ({bad['reason'][0].as_py()})" if bad.num_rows else ""
        raise Refusal(f"only {good.num_rows} records of it can be read{why}", source, "Give at least 60")
    told = {**told, **(_parts(source, good.num_rows) if kind == "series" else _labelled(good, source))}
    told |= {"imports": _imports(told), "path": _quoted(str(source)), "folder": _quoted(str(source.parent))}
    told |= {"file": _quoted(source.name), "digest": digest(source), "rows": str(max(20, good.num_rows // 20))}
    text = _TEXT.format(name=name, stem=stem, **told)
    replace(path, text)
    return Draft(path, good.num_rows, bad.num_rows, bad["reason"][0].as_py() if bad.num_rows else "")


def _imports(told: dict[str, str]) -> str:
    names = ", ".join(sorted(["DataSet", "Feed", told["judging"], "Recipe", "Suite", "Training"]))
    lines = [f"from ratchet.{told['module']} import {told['contract']}", f"from ratchet.recipe import {names}"]
    return "\n".join(sorted(lines))


def _read(source: Path, contract: Contract) -> pa.Table:
    limits = sources.Limits(settings().ingest_memory_mb << 20, settings().ingest_disk_mb << 20)
    home = settings().home / "tmp"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        return sources.read(source, contract, limits, Path(scratch))


def _image(source: Path) -> tuple[pa.Table, dict[str, str]]:
    classes = (p for p in sorted(source.iterdir()) if p.is_dir() and p.name[0] != ".") if source.is_dir() else ()
    files = (p for folder in classes for p in sorted(folder.rglob("*")) if p.is_file() and p.name[0] != ".")
    first = next(iter(files), None)
    if first is None:
        raise Refusal("there is no folder of images in it", source, "Give a folder with a folder for each class")
    try:
        with Image.open(first, formats=("PNG", "JPEG")) as opened:
            turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = opened.size[::-1] if turned else opened.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise Refusal(
            "it is neither PNG nor JPEG", first, "Give a folder with a folder of those for each class"
        ) from error
    family = "cnn" if min(width, height) >= 16 else "rnn"
    rows = _read(source, ImageContract(height, width))
    call = f"ImageContract(height={height}, width={width})"
    return rows, {"module": "images", "contract": "ImageContract", "call": call, "family": family}


def _text(source: Path) -> tuple[pa.Table, dict[str, str]]:
    told = {"module": "texts", "contract": "TextContract", "call": "TextContract()", "family": "transformer"}
    return _read(source, TextContract()), told


def _series(source: Path) -> tuple[pa.Table, dict[str, str]]:
    """Its step is the most frequent time between neighbours, a day its horizon, a week its window."""
    rows = _read(source, SeriesContract(-_WIDE, _WIDE))
    good = rows.filter(pc.is_null(rows["reason"]))
    moments = good["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000
    seconds = np.unique(moments)
    if len(seconds) < 60:
        raise Refusal("it holds too few moments to be a series", source, "Give at least 60 rows of `time`, `value`")
    if (np.diff(moments) < 0).any():
        raise Refusal("its rows are not in the order of time", source, "Sort them: the last fifth is the benchmark")
    step = Counter(np.diff(seconds).tolist()).most_common(1)[0][0]
    offset = Counter((seconds % step).tolist()).most_common(1)[0][0]
    horizon = max(1, round(86400 / step)) if step < 86400 else 7
    values = np.frombuffer(b"".join(good["data"].to_pylist()))
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise Refusal(f"every value of it is {low}", source, "Give a series that changes")
    room, needed = (high - low) / 2, 10 * horizon
    # In each of the twelve blocks of a cycle a few windows with what came next.
    block = min(max(len(seconds) // 24, needed), 14 * horizon)
    if len(seconds) * 4 // 5 < 12 * block:
        what = f"{len(seconds)} values make no twelve blocks of {block} and a benchmark"
        raise Refusal(what, source, f"Give at least {15 * needed} values, one every {step} s")
    told = {"low": low - room, "high": high + room, "close": (high - low) / 50, "step": step, "offset": offset,
            "window": 7 * horizon, "horizon": horizon, "block": block}  # fmt: skip
    call = f"SeriesContract(\n{''.join(f'        {field}={value!r},{chr(10)}' for field, value in told.items())}    )"
    squared = float(np.var(values)) or 1.0
    return rows, {"module": "series", "contract": "SeriesContract", "call": call, "family": "rnn",
                  "judging": "ForecastJudging", "judged": f"ForecastJudging(squared_error={squared:.4g})"}  # fmt: skip


def _labelled(good: pa.Table, source: Path) -> dict[str, str]:
    """Floors that beat answering the most frequent class always; every sixth record is the benchmark."""
    counts, groups = Counter(good["label"].to_pylist()), sorted({g for g in good["group"].to_pylist() if g})
    if len(counts) < 2 or None in counts:
        raise Refusal(f"its labels are {[str(c) for c in counts][:5]}", source, "Give at least two classes")
    if len(counts) > 1000:
        raise Refusal(f"it has {len(counts)} labels", source, "Give classes, not numbers")
    names = sorted(counts, key=lambda c: (len(c), c) if c.isdigit() else (0, c))
    most, least = max(counts.values()) / good.num_rows, min(counts.values()) / good.num_rows
    floor = round((1 + most) / 2, 2)
    return {
        "classes": f"    classes=({', '.join(map(_quoted, names))}),\n{_groups(groups)}",
        "purpose": _quoted(f"Says which of {len(names)} classes an input of {source.name} is."),
        "batch": f"Feed({_quoted(source.name)}, every=-6)", "benchmark": f"Feed({_quoted(source.name)}, every=6)",
        "share": f", min_class_share={least / 3:.2g}", "judging": "Judging",
        "judged": f"Judging(accuracy={floor}, worst_class={floor / 2:.2g}, margin=0.02)",
    }  # fmt: skip


def _groups(found: list[str]) -> str:
    """Those of the column `group`, for a person to decide: a group is somebody's."""
    if not 2 <= len(found) <= 20:
        return ""
    named = ", ".join(map(_quoted, found))
    return f"    # groups=({named}),  # of people: with it, `Judging(fairness={{...}})` may be asked\n"


def _parts(source: Path, count: int) -> dict[str, str]:
    """The last fifth of a series is the benchmark."""
    name, cut = _quoted(source.name), count * 4 // 5
    return {"classes": "", "purpose": _quoted(f"Forecasts what comes next in {source.name}."), "share": "",
            "batch": f"Feed({name}, stop={cut})", "benchmark": f"Feed({name}, start={cut})"}  # fmt: skip


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
