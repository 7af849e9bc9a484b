"""`ratchet loop RECIPE`: turn the loop once and follow it to the first answer."""

from __future__ import annotations

import json

import click

from commands._stack import stack
from ratchet.errors import Refusal
from ratchet.settings import settings


class _Families(click.ParamType):
    name = "names"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        from ratchet.recipe import FAMILIES

        named = list(FAMILIES) if value == "all" else list(dict.fromkeys(value.split(",")))
        if unknown := set(named) - set(FAMILIES):
            self.fail(f"{', '.join(sorted(unknown))} is none of {', '.join(FAMILIES)}", param, ctx)
        return named


FAMILIES = _Families()


@click.command("loop")
@click.argument("recipe")
@click.option("--epochs", type=click.IntRange(1, 1000), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(1, 65536), help="Instead of the recipe's.")
@click.option("--families", type=FAMILIES, help="Train these side by side, such as cnn,rnn or all; the best goes on.")
def command(recipe: str, epochs: int | None, batch_size: int | None, families: list[str] | None) -> None:
    """Ingest what is new, train, judge and release RECIPE, and print a first answer.

    Starts the deployment `retrain-and-release/RECIPE` and follows it. On unchanged data it does nothing.
    """
    from flows import runs
    from ratchet.recipe import load

    running = stack()
    loaded = load(recipe)
    if not running.checks()["prefect"]():
        raise Refusal("Prefect does not answer", settings().prefect_url, "Run `ratchet up`")
    if not runs.workers_online("cpu"):
        raise Refusal("no worker listens on the pool `cpu`, so nobody would run it", recipe, "Run `ratchet up`")
    given = {"epochs": epochs, "batch_size": batch_size, "families": families}
    id = runs.start(f"retrain-and-release/{recipe}", {k: v for k, v in given.items() if v is not None})
    click.echo(f"flow run {settings().prefect_url}/runs/flow-run/{id}", err=True)
    ended = runs.follow(id, click.echo)
    if ended.state != "completed":
        told = ended.message.rstrip(".") or "See its log in the Prefect UI"
        again = ". Run it again: it goes on where it stood" if ended.state == "crashed" else ""
        raise Refusal(f"the run ended as {ended.state}", ended.name, f"{told}{again}")
    click.echo(ended.message)
    _first_answer(loaded.name)


def _first_answer(recipe: str) -> None:
    """Asks the gateway with a real image of the benchmark, as the printed command does."""
    import httpx
    import numpy as np
    from PIL import Image

    from ratchet.lake.ingest import benchmark
    from ratchet.local_http import LOCAL
    from ratchet.recipe import load

    loaded = load(recipe)
    images, labels, _ = benchmark(loaded)
    number = int(np.random.default_rng().integers(len(images)))
    path = settings().home / "example.png"
    Image.fromarray(images[number]).save(path)
    url = f"{settings().gateway_url}/{recipe}/classify"
    try:
        answer = httpx.post(url, files={"image": ("example.png", path.read_bytes(), "image/png")}, timeout=10, **LOCAL)
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Refusal(f"the gateway gave no answer ({error})", url, "See `ratchet status`") from error
    if answer.status_code != 200:
        raise Refusal(f"the gateway answered {answer.status_code} ({json.dumps(told)})", url, "See `ratchet status`")
    sure = max(told["probabilities"].values())
    click.echo(
        f"\nA benchmark image of class {loaded.classes[int(labels[number])]!r} is answered "
        f"{told['label']!r} ({sure:.1%}) by version {told['model_version']}.\nAsk for one of your own:\n\n"
        f"  curl -F image=@{path} {url}\n"
    )
