"""`ratchet replay RECIPE`: a year of production in minutes, on a real stack of its own."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource

from commands._stack import json_option
from ratchet.watch_plan import Kind
from replays import POLICIES

_SCENARIOS = """What changes after a third of the time: none, poisoned-labels, slow-model or label-shift; of images
darker, rotated, noisy or new-camera; of tables missing-column, unit-change, new-category or price-shock; or a year."""
_OF_RECORDS = ("scenario", "records", "label_days", "offline", "keep")
_OF_A_YEAR = ("records", "rows", "days", "label_days", "window", "triggers", "tolerance")
"""Options that a year has itself."""


@click.command("replay")
@click.argument("recipe")
@click.option("--from", "source", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Play what the recipe served in this home (.ratchet), offline, with other settings.")  # fmt: skip
@click.option("--budget", type=click.IntRange(1), help="With --from: retrainings a week, instead of the recipe's.")
@click.option("--scenario", default="none", show_default=True, help=_SCENARIOS)
@click.option("--records", type=click.IntRange(100), help="Train the first version on so many, and without thresholds.")
@click.option(
    "--rows", type=click.IntRange(100), default=20_000, show_default=True, help="Records that are sent, at most."
)
@click.option("--days", type=click.FloatRange(0.01), default=7.0, show_default=True, help="Days between two looks.")
@click.option("--label-days", type=click.FloatRange(0.0), default=1.0, show_default=True,
              help="Days in which half of the labels come back.")  # fmt: skip
@click.option("--window", type=click.IntRange(30), help="Predictions compared at once, instead of the recipe's.")
@click.option("--triggers", help="What starts a retraining (harm,labels,batch,drift), instead of the recipe's.")
@click.option("--tolerance", type=click.FloatRange(0.0), help="Loss beyond what was promised that is no harm.")
@click.option("--policies", default=",".join(POLICIES), show_default=True, help="Those that are compared offline.")
@click.option("--offline", is_flag=True, help="Compare policies alone, beside what a stack did with the same options.")
@click.option("--keep", is_flag=True, help="Keep the stack's home, to look at it.")
@json_option
def command(recipe: str, source: Path | None, as_json: bool, **options: Any) -> None:
    """Send the records after the first batch of RECIPE in their own time to a real stack, and show what it does.

    The stack is one of its own, with other ports, and is stopped afterwards. Its clock is turned from look to look, so
    that a year takes minutes. Labels come back later. Afterwards the same records are played offline with other
    policies. A picture and all figures are written below the home, in `replays`.
    """
    from replays import conclusion, run, whatif
    from replays.result import FIGURES, PICTURE

    _refuse_ignored(source is not None, options["scenario"] == "year")
    given = _options(recipe, {**options, "source": source})
    report = partial(click.echo, err=True)
    if source:
        result = run.from_log(given, report)
    elif options["offline"]:
        result = run.offline(given, report)
    else:
        result = run.on_a_stack(given, report, options["keep"])
    if as_json:
        click.echo((result.folder / FIGURES).read_text(encoding="utf-8"))
        return
    if result.replay:
        for sentence in conclusion.sentences(result.replay):
            click.echo(sentence)
    for line in _lines(whatif.rows(result.replay, result.outcomes)):
        click.echo(line)
    if result.replay:
        before = f" (when it was played before: {result.before[:16]})" if result.before else ""
        click.echo(f"digest of what was decided: {result.replay.digest[:16]}{before}")
    click.echo(f"picture: {result.folder / PICTURE}")


def _refuse_ignored(is_what_if: bool, is_year: bool) -> None:
    """Raises UsageError for an option that was given and would have no effect."""
    context = click.get_current_context()

    def given(names: tuple[str, ...]) -> str:
        chosen = (name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE)
        return next(chosen, "").replace("_", "-")

    if is_what_if and (name := given(_OF_RECORDS)):
        raise click.UsageError(f"--{name} is for a replay of a recipe's batches: leave it or --from out")
    if not is_what_if and (name := given(("budget",))):
        raise click.UsageError("--budget is for --from: a replay has the recipe's own")
    if context.params["offline"] and (name := given(("keep",))):
        raise click.UsageError("--keep is for a stack, and --offline has none: leave one out")
    if is_year and (name := given(_OF_A_YEAR)):
        raise click.UsageError(f"a year has its own --{name}: leave it out")


def _options(recipe: str, given: dict[str, Any]) -> Any:
    from replays.options import Options, year_of

    policies = tuple(filter(None, map(str.strip, given["policies"].split(","))))
    if unknown := set(policies) - set(POLICIES):
        raise click.UsageError(f"there is no policy {min(unknown)!r}; choose from {', '.join(POLICIES)}")
    if not policies and (given["source"] or given["offline"]):
        raise click.UsageError(f"nothing would be compared; choose from the policies {', '.join(POLICIES)}")
    if given["scenario"] == "year":
        origin = click.get_current_context().get_parameter_source("policies")
        year = year_of(recipe)
        return replace(year, policies=policies) if origin is ParameterSource.COMMANDLINE else year
    causes: Any = tuple(map(str.strip, given["triggers"].split(","))) if given["triggers"] else None
    if causes and (unknown := set(causes) - set(get_args(Kind))):
        raise click.UsageError(f"there is no trigger {min(unknown)!r}; choose from {', '.join(get_args(Kind))}")
    if causes and (given["source"] or given["offline"]) and not set(causes) & {"harm", "labels"}:
        raise click.UsageError("offline there are no batches and no changes of inputs: name harm or labels, too")
    return Options(
        recipe,
        given["scenario"],
        records=given["records"] or 0,
        rows=given["rows"],
        days=given["days"],
        label_days=given["label_days"],
        window=given["window"] or 0,
        causes=causes,
        policies=policies,
        tolerance=given["tolerance"],
        budget=given["budget"] or 0,
        source=str(given["source"] or ""),
    )


def _lines(rows: list[Any]) -> list[str]:
    head = f"{'policy':14} {'answers':>8} {'loss':>10} {'trainings':>10} {'released':>9} {'seconds':>8}"
    return [head, *(f"{row.name:14} {row.answers:8} {row.wrong:10,.1f} {row.retrainings:10} {row.released:9} "
                    f"{row.seconds:8,.0f}" for row in rows)]  # fmt: skip
