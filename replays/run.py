"""Runs a replay from its beginning to its picture."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.files import FORMAT, load, save
from ratchet.progress import Report
from ratchet.recipe import Recipe
from ratchet.types import from_json, to_json
from ratchet.watch_plan import Kind
from replays import POLICIES, driver, faults, home, picture, play, scenarios, stream, whatif, year
from replays.offline import DAY, Outcome, Retraining
from replays.play import Replay
from replays.recipe import played
from replays.stream import Stream

PICTURE, RESULT = "replay.png", "replay.json"
_BEFORE = 3600.0
"""Seconds before the first request at which the first version is released."""
_QUIET = 1 / 3
"""The share of the time after which a scenario begins."""


@dataclass(frozen=True)
class Options:
    recipe: str
    scenario: str = "none"
    records: int = 0
    """Those that the first version is trained on; 0 for the recipe's whole first batch."""
    rows: int = 20_000
    """Records that are sent, at most."""
    days: float = 7.0
    """Between two looks at what serves."""
    label_days: float = 1.0
    """In which half of the labels come back."""
    window: int = 0
    causes: tuple[Kind, ...] | None = None
    """Instead of those of the recipe's `watch`."""
    policies: tuple[str, ...] = POLICIES
    price: float = 50.0
    """Wrong answers that a retraining is worth to the cost-aware policy."""
    tolerance: float | None = None
    recent: int = 0
    replay: int = 0
    epochs: int = 0
    """Instead of those of the recipe's `training`."""
    seed: int = 7

    @property
    def played(self) -> dict[str, Any]:
        """The arguments of `replays.recipe.played`."""
        own = {"records": self.records, "window": self.window, "causes": self.causes}
        training = {"recent": self.recent, "replay": self.replay, "epochs": self.epochs}
        return {**own, "tolerance": self.tolerance, **training}


def year_of(recipe: str) -> Options:
    """A year in which everything happens once, in which a month has some 300 records."""
    return Options(
        recipe,
        year.NAME,
        records=4000,
        rows=5000,
        window=300,
        causes=("harm",),
        tolerance=0.1,
        recent=1500,
        replay=1500,
        epochs=3,
        policies=("never", "always fire", "cost-aware", "loop"),
    )


@dataclass(frozen=True)
class Result:
    replay: Replay | None
    """None for a what-if, which has no stack."""
    outcomes: tuple[Outcome, ...]
    folder: Path


def on_a_stack(options: Options, report: Report, keep: bool = False) -> Result:
    """Plays on a real stack, then compares the policies offline. Raises Refusal if either cannot be done.

    What the stack did is written before the policies are compared.
    """
    recipe = recipes.load(options.recipe)
    target = home.folder(recipe.name) / options.scenario
    with home.only_one(recipe.name):
        report(f"reading the records of {recipe.name}")
        script = _script(recipe, options)
        folder = home.prepare(recipe.name, ", ".join(f"{name}={value!r}" for name, value in options.played.items()))
        with home.entered(folder) as own:
            with driver.serving(own, float(script.records.at[0]) - _BEFORE, report) as stack:
                first = stack.champion()
                periods = play.play(stack, script.records, script.parts, report, script.acts)
            replayed = Replay(recipe.name, options.scenario, script.changes, first, periods, script.marks)
            _write(Result(replayed, (), target), options, _title(options), own)
            outcomes = _compared(own, script.records, [end for end, _ in script.parts], options, report)
            result = Result(replayed, tuple(outcomes), target)
            _write(result, options, _title(options), own)
        if keep:
            report(f"to look at its stack: `. {folder / home.ENVIRONMENT} && ratchet up`")
        else:
            shutil.rmtree(folder)
    return result


def offline(options: Options, report: Report) -> Result:
    """Compares the policies without a stack, beside what a stack did with the same options, if it did.

    What was compared before with the same options is kept. Raises Refusal if it cannot be played.
    """
    recipe = recipes.load(options.recipe)
    target = home.folder(recipe.name) / options.scenario
    before = read(target) if _is_of(target, options) else Result(None, (), target)
    report(f"reading the records of {recipe.name}")
    script, own = _script(recipe, options), played(recipe, **options.played)
    outcomes = {each.policy: each for each in before.outcomes}
    for each in _compared(own, script.records, [end for end, _ in script.parts], options, report):
        outcomes[each.policy] = each
    result = Result(before.replay, tuple(outcomes[name] for name in POLICIES if name in outcomes), target)
    _write(result, replace(options, policies=tuple(outcomes)), _title(options), own)
    return result


def _is_of(folder: Path, options: Options) -> bool:
    """Whether the folder has a result with these options, whichever policies it compares."""
    content = load(folder / RESULT)
    own = {name: value for name, value in to_json(options).items() if name != "policies"}
    return content is not None and all(content["options"].get(name) == value for name, value in own.items())


def from_log(options: Options, source: Path, budget: int, report: Report) -> Result:
    """Plays what a home's recipe has served, offline, with other settings.

    `budget` is that of runs a week; 0 for the recipe's.

    Raises Refusal if there is no such home, or nothing in it can be played.
    """
    target = home.folder(options.recipe) / "what-if"
    with home.reading(source):
        recipe = recipes.load(options.recipe)
        watch = replace(
            recipe.watch,
            window=options.window or recipe.watch.window,
            causes=recipe.watch.causes if options.causes is None else options.causes,
            runs_a_week=budget or recipe.watch.runs_a_week,
        )
        recipe = replace(recipe, watch=watch)
        records = stream.of_log(recipe)
        report(f"{len(records)} predictions of {recipe.name} have an input and a label")
        ends = [end for end, _ in stream.periods(records, options.days * DAY)]
        lab = whatif.of_home(recipe, records, report)
        outcomes = whatif.compare(lab, options.policies, whatif.cadence(ends, records), options.price, report)
        result = Result(None, tuple(outcomes), target)
        _write(result, options, "what other settings would have done", recipe)
    return result


@dataclass(frozen=True)
class _Script:
    records: Stream
    parts: list[tuple[float, np.ndarray]]
    changes: float
    """When the scenario begins, in seconds since 1970; 0 if nothing changes, or more than one thing."""
    marks: tuple[tuple[float, str], ...]
    """What changes and when, for people."""
    acts: Mapping[int, play.Act]


def _script(recipe: Recipe, options: Options) -> _Script:
    """What is sent, and what people do meanwhile."""
    if options.scenario == year.NAME:
        scenarios.in_a_year("harmful", recipe)  # refuses at once
        whole = stream.of_recipe(recipe, options.rows, options.label_days, options.seed)
        records = year.stream(recipe, whole, options.seed)
        return _Script(records, year.months(records), 0.0, year.marks(recipe, records), year.ACTS)
    scenario = scenarios.of(options.scenario, recipe)
    records = stream.of_recipe(recipe, options.rows, options.label_days, options.seed)
    if options.scenario == "none":
        return _Script(records, stream.periods(records, options.days * DAY), 0.0, (), {})
    begins, ends = float(records.at[0]), float(records.at[-1])
    changes = begins + (ends - begins) * _QUIET
    records = scenarios.applied(scenario, recipe, records, changes, options.seed)
    parts = stream.periods(records, options.days * DAY)
    if scenario.releases:
        number = sum(end <= changes for end, _ in parts)
        return _Script(records, parts, 0.0, (), {number: faults.act(scenario.releases)})
    return _Script(records, parts, changes, ((changes, f"from here on: {scenario.what}"),), {})


def _compared(
    recipe: Recipe, records: Stream, ends: Sequence[float], options: Options, report: Report
) -> list[Outcome]:
    if not options.policies:
        return []
    lab = whatif.of_recipe(recipe, records, report)
    return whatif.compare(lab, options.policies, whatif.cadence(ends, records), options.price, report)


def _title(options: Options) -> str:
    if options.scenario == year.NAME:
        return "a year in which everything happens once"
    return "a replay" if options.scenario == "none" else f"a replay, scenario {options.scenario}"


def _write(result: Result, options: Options, title: str, recipe: Recipe) -> None:
    """The picture and the figures, in the result's folder."""
    result.folder.mkdir(parents=True, exist_ok=True)
    unit = "wrong answers" if recipe.answers.classes else "loss"
    name = f"{options.recipe}: {title}"
    picture.draw(result.folder / PICTURE, name, unit, result.replay, result.outcomes)
    outcomes = [{**asdict(each), "ends": each.ends.tolist(), "answers": each.answers.tolist(),
                 "wrong": each.wrong.tolist(), "seconds": each.seconds} for each in result.outcomes]  # fmt: skip
    replayed = {**to_json(result.replay), "digest": result.replay.digest} if result.replay else None
    content = {"format": FORMAT, "options": to_json(options), "replay": replayed, "policies": outcomes}
    save(result.folder / RESULT, content)


def read(folder: Path) -> Result:
    """A result that was written. Raises Refusal if there is none."""
    content = load(folder / RESULT)
    if content is None:
        raise Refusal("there is no replay in this folder", folder, "Run `ratchet replay`")
    replayed = {name: value for name, value in (content["replay"] or {}).items() if name != "digest"}
    outcomes = tuple(map(_outcome, content["policies"]))
    return Result(from_json(Replay, replayed) if replayed else None, outcomes, folder)


def _outcome(content: Mapping[str, Any]) -> Outcome:
    ends, answers, wrong = (np.array(content[name]) for name in ("ends", "answers", "wrong"))
    retrainings = tuple(Retraining(**each) for each in content["retrainings"])
    return Outcome(content["policy"], ends, answers, wrong, retrainings)
