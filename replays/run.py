"""Runs a replay from its beginning to its picture."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ratchet import recipe as recipes
from ratchet.progress import Report
from ratchet.recipe import Recipe
from replays import POLICIES, driver, faults, home, play, scenarios, stream, whatif, year
from replays.offline import DAY
from replays.options import Options, given
from replays.play import Replay
from replays.recipe import played
from replays.result import Result, move_aside, read_matching, write, write_figures
from replays.stream import Part, Stream

_BEFORE = 3600.0
"""Seconds before the first request at which the first version is released."""
_QUIET = 1 / 3
"""The share of the time after which a scenario begins."""


def on_a_stack(options: Options, report: Report, keep: bool = False) -> Result:
    """Plays on a real stack, then compares the policies offline. Raises Refusal if either cannot be done.

    What the stack did is written before the policies are compared, and takes the place of an earlier result then.
    """
    recipe = recipes.load(options.recipe)
    target = home.folder(recipe.name) / options.scenario
    with home.only_one(recipe.name):
        report(f"reading the records of {recipe.name}")
        script = script_of(recipe, options)
        folder = home.prepare(recipe.name, ", ".join(f"{name}={value!r}" for name, value in options.played.items()))
        before = move_aside(target, options, recipe, report)
        with home.entered(folder) as own:
            replayed = _played(own, script, options, target, report)
            earlier = before.replay.digest if before.replay else ""
            result = replace(before, replay=replayed, before=earlier)
            write_figures(result, options, own)
            result = _with_policies(result, own, script, options, report)
        if keep:
            home.keep(folder)
            report(f"to look at its stack: `. {folder / home.ENVIRONMENT} && ratchet up`")
        else:
            shutil.rmtree(folder)
    return result


def _played(recipe: Recipe, script: "Script", options: Options, target: Path, report: Report) -> Replay:
    """What a stack did. Until it is over, the periods that were played are in a folder beside the result's."""
    replayed = Replay(options.recipe, options.scenario, script.changes, (), script.marks)
    unfinished = Result(replayed, (), target.with_name(f"{target.name}-unfinished"))
    write_figures(unfinished, options, recipe)  # before anything takes long: the disk may be full
    try:
        with driver.serving(recipe, float(script.records.at[0]) - _BEFORE, report) as stack:
            for period in play.play(stack, script.records, script.parts, report, script.acts):
                replayed = replace(replayed, periods=(*replayed.periods, period))
                write_figures(replace(unfinished, replay=replayed), options, recipe)
    except BaseException:
        count = f"{len(replayed.periods)} of {len(script.parts)}"
        report(f"{count} periods were played, and are in {unfinished.folder}: the next replay begins anew")
        raise
    shutil.rmtree(unfinished.folder)
    return replayed


def _with_policies(result: Result, recipe: Recipe, script: "Script", options: Options, report: Report) -> Result:
    """The result with the outcomes of the policies, each written when it is there; then with its picture."""
    if options.policies:
        backtest = whatif.of_recipe(recipe, script.records, report)
        when = whatif.cadence([part.ends for part in script.parts], script.records)
        for outcome in whatif.compare(backtest, options.policies, when, options.retraining_cost, report):
            outcomes = {each.policy: each for each in (*result.outcomes, outcome)}
            result = replace(result, outcomes=tuple(outcomes[name] for name in POLICIES if name in outcomes))
            write_figures(result, options, recipe)
    write(result, options, _title(options), recipe)
    return result


def offline(options: Options, report: Report) -> Result:
    """Compares the policies without a stack, beside what a stack did with the same options, if it did.

    Policies that were compared before with the same options are kept. Raises Refusal if it cannot be played, or if a
    stack's result with other options would be lost.
    """
    recipe = recipes.load(options.recipe)
    target = home.folder(recipe.name) / options.scenario
    with home.only_one(recipe.name, on_a_stack=False):
        before = read_matching(target, options, recipe)
        report(f"reading the records of {recipe.name}")
        script, own = script_of(recipe, options), replace(played(recipe, **options.played), name=recipe.name)
        return _with_policies(before, own, script, options, report)


def from_log(options: Options, report: Report) -> Result:
    """Plays what a home's recipe has served, offline, with other settings, beside its own.

    Raises Refusal if there is no such home, or nothing in it can be played.
    """
    target = home.folder(options.recipe) / "what-if"
    with home.only_one(options.recipe, on_a_stack=False), home.reading(Path(options.source)):
        own = recipes.load(options.recipe)
        watch = replace(
            own.watch,
            window=options.window or own.watch.window,
            causes=own.watch.causes if options.causes is None else options.causes,
            runs_a_week=options.budget or own.watch.runs_a_week,
            tolerance=own.watch.tolerance if options.tolerance is None else options.tolerance,
        )
        recipe = replace(own, watch=watch)
        move_aside(target, options, recipe, report)
        records = stream.of_log(recipe, options.rows)
        report(f"{len(records)} predictions of {recipe.name} have an input and a label")
        ends = [part.ends for part in stream.periods(records, options.days * DAY)]
        backtest, when = whatif.of_home(recipe, records, report), whatif.cadence(ends, records)
        if len(when.looks) < 2:
            report(f"all of them lie within one look of {options.days:g} days, so no policy differs: give fewer --days")
        outcomes = list(whatif.compare(backtest, options.policies, when, options.retraining_cost, report))
        if recipe.watch != own.watch:
            outcomes.append(whatif.with_own_settings(backtest, own, when, report))
        result = Result(None, tuple(outcomes), target)
        write(result, options, what_if_title(options), recipe)
    return result


def what_if_title(options: Options) -> str:
    """The title of a what-if, with the settings that take the place of the recipe's."""
    settings = {name: getattr(options, name) for name in ("window", "causes", "tolerance", "budget")}
    shown = given(Options(options.recipe, **settings))
    return f"what other settings would have done ({shown})" if shown else "what would have been done"


@dataclass(frozen=True)
class Script:
    """What is sent, and what people do meanwhile."""

    records: Stream
    parts: list[Part]
    changes: float
    """When what is sent begins to change, in seconds since 1970; 0 if it does not, or more than once."""
    marks: tuple[tuple[float, str], ...]
    """What changes and when, for people."""
    acts: Mapping[int, play.Act]


def script_of(recipe: Recipe, options: Options) -> Script:
    """Raises Refusal if the recipe cannot be played so."""
    if options.scenario == year.NAME:
        scenarios.in_a_year("harmful", recipe)  # refuses at once
        whole = stream.of_recipe(recipe, options.rows, options.label_days, options.seed)
        records = year.stream(recipe, whole, options.seed)
        return Script(records, year.months(recipe, records), 0.0, year.marks(recipe, records), year.ACTS)
    scenario = scenarios.of(options.scenario, recipe)
    records = stream.of_recipe(recipe, options.rows, options.label_days, options.seed)
    if options.scenario == "none":
        return Script(records, stream.periods(records, options.days * DAY), 0.0, (), {})
    begins, ends = float(records.at[0]), float(records.at[-1])
    changes = begins + (ends - begins) * _QUIET
    records = scenarios.applied(scenario, recipe, records, changes, options.seed)
    parts = stream.periods(records, options.days * DAY)
    if scenario.fault:
        number = min(sum(part.begins < changes for part in parts), len(parts) - 1)
        return Script(records, parts, 0.0, (), {number: faults.act(faults.BY_NAME[scenario.fault])})
    return Script(records, parts, changes, ((changes, f"from here on: {scenario.what}"),), {})


def _title(options: Options) -> str:
    if options.scenario == year.NAME:
        return "a year in which everything happens once"
    return "a replay" if options.scenario == "none" else f"a replay, scenario {options.scenario}"
