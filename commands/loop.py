"""`ratchet loop RECIPE`: runs the loop once and follows it to a first prediction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from commands._stack import stack
from ratchet.endpoints import OWN, PREDICT
from ratchet.errors import Refusal
from ratchet.settings import settings

if TYPE_CHECKING:
    import numpy as np

    from ratchet.recipe import Recipe


class _Families(click.ParamType):
    name = "names"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        from ratchet.recipe import FAMILIES

        names = list(dict.fromkeys(value.split(",")))
        if unknown := set(names) - {*FAMILIES, "all"}:
            self.fail(f"there is no family {', '.join(sorted(unknown))}; choose from {', '.join(FAMILIES)}", param, ctx)
        return names


FAMILIES = _Families()


@click.command("loop")
@click.argument("recipe", required=False)
@click.option("--all", "every", is_flag=True, help="Every recipe, one after the other.")
@click.option("--epochs", type=click.IntRange(1, 1000), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(1, 65536), help="Instead of the recipe's.")
@click.option("--families", type=FAMILIES, help="Train these in parallel (cnn,rnn or all); the best is evaluated.")
@click.option("--trials", type=click.IntRange(1, 1000), help="Search the recipe's space with this many trials first.")
@click.option("--warm-start", is_flag=True, help="Start from the champion's weights.")
def command(recipe: str | None, every: bool, **options: Any) -> None:
    """Ingest, train, evaluate and release RECIPE, and print a first prediction.

    It starts the deployment `retrain-and-release/RECIPE` and follows it. On unchanged data it does nothing.
    """
    from ratchet import recipe as recipes

    if every == (recipe is not None):
        raise click.UsageError("give a RECIPE, or --all")
    if options["families"] and options["trials"]:
        raise click.UsageError("a search is for the recipe's own family: give --families or --trials")
    parameters = {name: value for name, value in options.items() if value}
    if recipe is not None:
        _run(recipe, parameters)
        return
    failed = []
    for name in recipes.names():
        click.echo(f"--- {name}")
        try:
            _run(name, parameters)
        except Refusal as refusal:
            click.echo(str(refusal), err=True)
            failed.append(name)
    if failed:
        raise Refusal("the loop failed for some recipes", ", ".join(failed), "See above; the others are done")


def _run(recipe: str, parameters: dict[str, Any]) -> None:
    from flows import obstacles, runs
    from ratchet.recipe import families, load
    from releases import api

    running, loaded = stack(), load(recipe)
    accepted = families(loaded.contract.kind, loaded.answers.task)
    if "all" in parameters.get("families", ()):
        parameters = {**parameters, "families": list(accepted)}
    if others := set(parameters.get("families", ())) - set(accepted):
        which = f"{loaded.contract.kind} inputs, or does not learn {loaded.answers.task}"
        what = f"{', '.join(sorted(others))} does not accept {which}"
        raise Refusal(what, recipe, f"Choose from: {', '.join(accepted)}")
    if not running.checks()["prefect"]():
        raise Refusal("Prefect does not answer", settings().prefect_url, "Run `ratchet up`")
    if lines := obstacles.obstacles(recipe):
        raise Refusal("the run would not start", recipe, "; ".join(lines))
    if not runs.workers_online("cpu"):
        raise Refusal("no worker of the pool `cpu` is online, so the run would not start", recipe, "Run `ratchet up`")
    runs.mark_dead_runs(lambda line: click.echo(line, err=True))  # a dead run would keep this one waiting
    id = runs.start(f"retrain-and-release/{recipe}", parameters)
    url = runs.url(id)
    click.echo(f"flow run {url}", err=True)
    try:
        ended = runs.follow(id, click.echo)
    except KeyboardInterrupt:
        click.echo(f"stopped following; the run continues: {url}", err=True)
        raise SystemExit(130) from None
    except Refusal:
        if running.supervisor.pid() is None:
            next = f"Run `ratchet up`, then `ratchet loop {recipe}`: it resumes where it stopped"
            raise Refusal("the stack was stopped while the run was followed", recipe, next) from None
        raise
    if ended.state != "completed":
        withdrawn = api.withdrawal(recipe, id) if ended.state == "cancelled" else ""
        message = withdrawn or ended.message.rstrip(".") or "See its log in the Prefect UI"
        again = ". Run it again: it resumes where it stopped" if ended.state == "crashed" else ""
        raise Refusal(f"the run {ended.state}", ended.name, f"{message}{again}")
    click.echo(ended.message)
    _first_prediction(loaded)


def _first_prediction(recipe: Recipe) -> None:
    """Sends the gateway the request of the printed command: an input of the benchmark, or a synthetic one."""
    import httpx

    from ratchet.kinds import parts
    from ratchet.local_http import LOCAL

    input, described = _example(recipe)
    base, path = f"{settings().gateway_url}/{recipe.name}", settings().home / f"example-{recipe.name}.json"
    url = base + PREDICT
    body = {recipe.contract.json_key: recipe.contract.values(input)}
    path.write_text(json.dumps(body), encoding="utf-8")
    try:
        response = httpx.post(url, json=body, headers=_own_header(recipe), timeout=10, **LOCAL)
        prediction = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Refusal(f"the gateway did not respond ({error})", url, "See `ratchet status`") from error
    if response.status_code != 200:
        what = f"the gateway answered {response.status_code} ({json.dumps(prediction)})"
        raise Refusal(what, url, "See `ratchet status`")
    version, outputs = prediction["model_version"], recipe.answers.outputs(prediction)
    predicted = recipe.answers.describe(outputs[0])
    click.echo(f"\nVersion {version} predicts {predicted} for {described}.\nTry an input of your own:\n")
    click.echo(f"  {parts.show(recipe.contract.kind).curl(input, path, base)}\n")


def _own_header(recipe: Recipe) -> dict[str, str]:
    """Marks the request as Ratchet's own, so that it is not logged as a caller's."""
    from bentos import golden
    from models import registry
    from ratchet.fleet.package_cache import MODEL, PackageCache
    from releases import api

    champion = api.state_of(recipe.name).champion
    if champion is None:
        return {}
    with PackageCache(settings()).using(champion, registry.fetch_package) as folder:
        return {OWN: golden.read(folder / MODEL).token}


def _example(recipe: Recipe) -> tuple[np.ndarray, str]:
    import numpy as np

    from ratchet.lake import snapshot as snapshots

    rng = np.random.default_rng()
    if not recipe.show_inputs:
        like = snapshots.load(recipe, snapshots.take(recipe))["train"].inputs
        return recipe.contract.synthesize(1, rng, like), "a synthetic input"
    benchmark, _ = snapshots.load_benchmark(recipe)
    at = int(rng.integers(len(benchmark)))
    truth = recipe.answers.describe_target(benchmark.targets[at])
    return benchmark.inputs[at : at + 1], f"an input of the benchmark (true: {truth})"
