"""`ratchet loop RECIPE`: turn the loop once and follow it to the first answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from commands._stack import stack
from ratchet.errors import Refusal
from ratchet.settings import settings

if TYPE_CHECKING:
    from ratchet.recipe import Recipe


class _Families(click.ParamType):
    name = "names"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        from ratchet.recipe import FAMILIES

        named = list(dict.fromkeys(value.split(",")))
        if unknown := set(named) - {*FAMILIES, "all"}:
            self.fail(f"{', '.join(sorted(unknown))} is none of {', '.join(FAMILIES)}", param, ctx)
        return named


FAMILIES = _Families()


@click.command("loop")
@click.argument("recipe", required=False)
@click.option("--all", "every", is_flag=True, help="Every recipe, one after the other.")
@click.option("--epochs", type=click.IntRange(1, 1000), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(1, 65536), help="Instead of the recipe's.")
@click.option("--families", type=FAMILIES, help="Train these side by side, such as cnn,rnn or all; the best goes on.")
@click.option("--trials", type=click.IntRange(1, 1000), help="Search the recipe's space for so many trials first.")
@click.option("--warm-start", is_flag=True, help="Go on from the champion's weights.")
def command(
    recipe: str | None, every: bool, epochs: int | None, batch_size: int | None, families: list[str] | None,
    trials: int | None, warm_start: bool,
) -> None:  # fmt: skip
    """Ingest what is new, train, judge and release RECIPE, and print a first answer.

    Starts the deployment `retrain-and-release/RECIPE` and follows it. On unchanged data it does nothing.
    """
    from ratchet import recipe as recipes

    if every == (recipe is not None):
        raise click.UsageError("give a RECIPE, or --all of them")
    if families and trials:
        raise click.UsageError("a recipe's space is of its own family: give --families or --trials")
    given = {"epochs": epochs, "batch_size": batch_size, "families": families, "trials": trials,
             "warm_start": warm_start or None}  # fmt: skip
    asked = {k: v for k, v in given.items() if v is not None}
    if recipe is not None:
        _turn(recipe, asked)
        return
    failed = []
    for name in recipes.names():
        click.echo(f"--- {name}")
        try:
            _turn(name, asked)
        except Refusal as refusal:
            click.echo(str(refusal), err=True)
            failed.append(name)
    if failed:
        raise Refusal("not every loop came round", ", ".join(failed), "See above; the others did")


def _turn(recipe: str, asked: dict[str, Any]) -> None:
    from flows import runs
    from ratchet.recipe import families, load

    running = stack()
    loaded = load(recipe)
    if "all" in asked.get("families", ()):
        asked = {**asked, "families": list(families(loaded.contract.kind))}
    if others := set(asked.get("families", ())) - set(families(loaded.contract.kind)):
        raise Refusal(f"{', '.join(sorted(others))} takes no {loaded.contract.kind}", recipe,
                      f"Name some of: {', '.join(families(loaded.contract.kind))}")  # fmt: skip
    if not running.checks()["prefect"]():
        raise Refusal("Prefect does not answer", settings().prefect_url, "Run `ratchet up`")
    if not runs.workers_online("cpu"):
        raise Refusal("no worker listens on the pool `cpu`, so nobody would run it", recipe, "Run `ratchet up`")
    id = runs.start(f"retrain-and-release/{recipe}", asked)
    click.echo(f"flow run {settings().prefect_url}/runs/flow-run/{id}", err=True)
    try:
        ended = runs.follow(id, click.echo)
    except KeyboardInterrupt:
        click.echo(f"you stopped following; the run goes on: {settings().prefect_url}/runs/flow-run/{id}", err=True)
        raise SystemExit(130) from None
    if ended.state != "completed":
        told = ended.message.rstrip(".") or "See its log in the Prefect UI"
        again = ". Run it again: it goes on where it stood" if ended.state == "crashed" else ""
        raise Refusal(f"the run ended as {ended.state}", ended.name, f"{told}{again}")
    click.echo(ended.message)
    _first_answer(loaded)


def _first_answer(recipe: Recipe) -> None:
    """Asks the gateway as the printed command does: with an input of the benchmark, or a made one."""
    import httpx
    import numpy as np

    from ratchet.lake import snapshot as snapshots
    from ratchet.local_http import LOCAL

    contract, chance = recipe.contract, np.random.default_rng()
    if recipe.show_inputs:
        held, _ = snapshots.benchmarked(recipe)
        at = int(chance.integers(len(held)))
        asked, what = held.inputs[at : at + 1], f"An input of the benchmark ({_true(recipe, held.targets[at])})"
    else:
        like = snapshots.load(recipe, snapshots.take(recipe))["train"].inputs
        asked, what = contract.made(1, chance, like), "A made-up input"
    url, path = f"{settings().gateway_url}/{recipe.name}/predict", settings().home / f"example-{recipe.name}.json"
    path.write_text(json.dumps({contract.many: asked.tolist()}))
    try:
        answer = httpx.post(url, json=json.loads(path.read_text()), timeout=10, **LOCAL)
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Refusal(f"the gateway gave no answer ({error})", url, "See `ratchet status`") from error
    if answer.status_code != 200:
        raise Refusal(f"the gateway answered {answer.status_code} ({json.dumps(told)})", url, "See `ratchet status`")
    click.echo(f"\n{what} is answered {_said(told)} by version {told['model_version']}.\nAsk for one of your own:\n")
    if contract.kind == "image":
        from PIL import Image

        Image.fromarray(asked[0]).save(path.with_suffix(".png"))
        click.echo(f"  curl -F image=@{path.with_suffix('.png')} {url.replace('/predict', '/classify')}\n")
    else:
        click.echo(f"  curl -H 'content-type: application/json' -d @{path} {url}\n")


def _true(recipe: Recipe, target: Any) -> str:
    if recipe.classes:
        return f"class {recipe.classes[int(target)]!r}"
    return f"{target.mean():.1f} on average came next"


def _said(told: Mapping[str, Any]) -> str:
    if "label" in told:
        return f"{told['label'][0]!r} ({max(told['probabilities'][0]):.1%})"
    forecast = told["forecast"][0]
    return f"{sum(forecast) / len(forecast):.1f} on average over the next {len(forecast)}"
