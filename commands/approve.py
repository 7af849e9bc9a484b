"""`ratchet approve RECIPE`: lets a run release the version that waits for a person."""

import click

from commands._stack import stack
from ratchet.errors import Refusal
from ratchet.settings import settings


@click.command("approve")
@click.argument("recipe")
@click.option("--reject", is_flag=True, help="Cancel the run instead; the champion still serves.")
def command(recipe: str, reject: bool) -> None:
    """Approve the version of RECIPE whose run waits for it, so that its release begins."""
    from flows import runs
    from ratchet.recipe import source
    from releases import api, approvals

    source(recipe)
    if not stack().checks()["prefect"]():
        raise Refusal("Prefect does not answer", settings().prefect_url, "See `ratchet logs prefect`")
    runs.mark_dead_runs(click.echo)
    run = runs.paused(recipe)
    version = approvals.version(recipe, run)
    which = f"version {version} of {recipe}" if version else recipe
    if reject:
        runs.cancel(run)
        click.echo(f"{which}: rejected; the run {run} is cancelled, and the champion still serves")
        return
    approvals.approve(recipe, run, api.person())
    runs.resume(run)
    click.echo(f"{which}: approved; the run {run} goes on: {runs.url(run)}")
