"""What a replay or a what-if came to, as it is kept in a folder: every figure, and a picture."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.errors import Refusal
from ratchet.files import FORMAT, load, save
from ratchet.progress import Report
from ratchet.recipe import Recipe
from ratchet.types import from_json, to_json
from replays import conclusion, picture, whatif
from replays.offline import Outcome, Retraining
from replays.options import Options
from replays.play import Replay

PICTURE, FIGURES = "replay.png", "replay.json"


@dataclass(frozen=True)
class Result:
    replay: Replay | None
    """None for a what-if, which has no stack."""
    outcomes: tuple[Outcome, ...]
    folder: Path
    before: str = ""
    """The digest of what the stack did when it was played before with the same options."""


def write(result: Result, options: Options, title: str, recipe: Recipe) -> None:
    """The figures and the picture, in the result's folder, each as a whole."""
    write_figures(result, options, recipe)
    counts, path = bool(recipe.answers.classes), result.folder / PICTURE
    drawn = path.with_name(f".{PICTURE}")
    picture.draw(drawn, f"{options.recipe}: {title}", counts, result.replay, result.outcomes)
    drawn.replace(path)


def write_figures(result: Result, options: Options, recipe: Recipe) -> None:
    """The figures alone."""
    result.folder.mkdir(parents=True, exist_ok=True)
    outcomes = [{**asdict(each), "ends": each.ends.tolist(), "answers": each.answers.tolist(),
                 "wrong": each.wrong.tolist(), "seconds": each.seconds} for each in result.outcomes]  # fmt: skip
    replayed = {**to_json(result.replay), "digest": result.replay.digest} if result.replay else None
    own = {"version": recipe.version, "options": to_json(options), "before": result.before}
    sentences = list(conclusion.sentences(result.replay)) if result.replay else []
    totals = [asdict(row) for row in whatif.rows(result.replay, result.outcomes)]
    content = {"replay": replayed, "policies": outcomes, "sentences": sentences, "totals": totals}
    save(result.folder / FIGURES, {"format": FORMAT, **own, **content})


def read(folder: Path) -> Result:
    """A result that was written. Raises Refusal if there is none."""
    content = load(folder / FIGURES)
    if content is None:
        raise Refusal("there is no replay in this folder", folder, "Run `ratchet replay`")
    replayed = {name: value for name, value in (content["replay"] or {}).items() if name != "digest"}
    outcomes = tuple(map(_outcome, content["policies"]))
    return Result(from_json(Replay, replayed) if replayed else None, outcomes, folder, content["before"])


def move_aside(folder: Path, options: Options, recipe: Recipe, report: Report) -> Result:
    """The result that the folder has with these options; one with others is moved, beside it, and not lost."""
    content = load(folder / FIGURES)
    if content is None:
        return Result(None, (), folder)
    if not _differences(content, options, recipe):
        return read(folder)
    digest = hashlib.sha256(json.dumps([content["version"], content["options"]]).encode()).hexdigest()
    aside = folder.with_name(f"{folder.name}-{digest[:8]}")
    shutil.rmtree(aside, ignore_errors=True)  # the same options, played before
    folder.rename(aside)
    report(f"the result that was here, with other options, is now in {aside}")
    return Result(None, (), folder)


def read_matching(folder: Path, options: Options, recipe: Recipe) -> Result:
    """The result that the folder has with these options, whichever policies it compares; an empty one if none.

    Raises Refusal if a stack's result with other options is there, which would be lost.
    """
    content = load(folder / FIGURES)
    if content is None:
        return Result(None, (), folder)
    different = _differences(content, options, recipe)
    if not different:
        return read(folder)
    if content["replay"]:
        value = content["options"].get(different[0], content["version"])
        what = f"a replay with another value of {different[0].replace('_', ' ')}, {value}, is there"
        raise Refusal(what, folder, "Give the options that it had, or move it away")
    return Result(None, (), folder)


def _differences(content: Mapping[str, Any], options: Options, recipe: Recipe) -> list[str]:
    """What a result has otherwise, but for the policies."""
    old, own = content["options"], json.loads(json.dumps(to_json(options)))
    different = [name for name in own if name != "policies" and old.get(name) != own[name]]
    return different if content.get("version") == recipe.version else [*different, "the recipe's version"]


def _outcome(content: Mapping[str, Any]) -> Outcome:
    ends, answers, wrong = (np.array(content[name]) for name in ("ends", "answers", "wrong"))
    retrainings = tuple(Retraining(**each) for each in content["retrainings"])
    return Outcome(content["policy"], ends, answers, wrong, retrainings)
