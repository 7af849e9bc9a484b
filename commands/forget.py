"""`ratchet forget RECIPE`: erases what is known of a person or of a request."""

import click

from ratchet.errors import Refusal


@click.command("forget")
@click.argument("recipe")
@click.option("--subject", "subjects", multiple=True, help="An id that callers sent in `x-subject-id`.")
@click.option("--request", "requests", multiple=True, help="A response's `x-request-id`.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def command(recipe: str, subjects: tuple[str, ...], requests: tuple[str, ...], yes: bool) -> None:
    """Erase what is kept of requests, or of all requests of a subject: log, labels, records, and old versions of each.

    What arrives later is erased when it is collected. A model that was trained on it stays until the next run of the
    loop, which trains without it.
    """
    from ratchet.recipe import load
    from releases import api, forgetting

    if not subjects and not requests:
        raise Refusal("neither a subject nor a request is named", recipe, "Give --subject or --request")
    if not all((*subjects, *requests)):
        raise Refusal("an id is empty", recipe, "See that the shell's variable has a value")
    loaded, who = load(recipe), api.person()
    if not yes and not click.confirm("This cannot be undone. Erase it?"):
        click.echo("nothing was erased")
        return
    result, problems = forgetting.forget_now(loaded, subjects, requests, who, click.echo, api.open_ledger())
    counts = f"predictions: {result.predictions}, labels: {result.labels}, records: {result.records}"
    click.echo(f"{recipe}: erased: {counts}")
    for problem in problems:
        click.echo(f"{problem}: what its log holds is erased when it is collected", err=True)
