"""`ratchet release RECIPE VERSION`, and a hand on the wheel of a release that is under way."""

from __future__ import annotations

import click

from commands._stack import WHY, steering, ticking
from ratchet.errors import Refusal
from ratchet.recipe import STRATEGIES


class _Release(click.Group):
    """`ratchet release RECIPE VERSION` is short for `ratchet release start RECIPE VERSION`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["start", *args])


why = click.option("--why", type=WHY, default="asked for by hand", show_default=True, help="For the record.")


@click.group("release", cls=_Release)
def command() -> None:
    """Release a blessed version by hand (`ratchet release RECIPE VERSION`), or steer a release.

    Pause, resume, abort or promote what is under way; each is an entry in the ledger. `ratchet release start --help`
    tells the options of a release by hand: --strategy and --why.
    """


@command.command("start")
@click.argument("recipe")
@click.argument("version")
@click.option("--strategy", type=click.Choice(STRATEGIES), default="canary",
              show_default=True, help="The recipe's steps; a comparison and a whole shadow; or none.")  # fmt: skip
@why
def start(recipe: str, version: str, strategy: str, why: str) -> None:
    """Release VERSION of RECIPE, blessed and packaged, also one that was rolled back; follow it to its end."""
    from ratchet.recipe import load
    from releases import requests
    from releases.registrar import packaged

    plan = load(recipe).releasing.by(strategy)
    ticking()
    package = packaged(recipe, version)
    requests.release(package, plan, requests.person(), why, by_hand=True)
    try:
        requests.watch(package, lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        told = f"the release goes on without you: `ratchet status --watch`, or `ratchet release abort {recipe}`"
        click.echo(f"\n{told}", err=True)
        raise SystemExit(130) from None
    click.echo(f"version {package.version} is champion")


command.add_command(
    steering("pause", "the release waits at its step", "Stay at the present step; what fails is still taken back.")
)
command.add_command(steering("resume", "the release goes on", "Go on with the steps."))
command.add_command(
    steering("promote", "promoted by hand", "Send all traffic to the version on trial now; in the bake time, end that.")
)


@command.command("abort")
@click.argument("recipe")
@why
def abort(recipe: str, why: str) -> None:
    """End the release of RECIPE: the old champion keeps all traffic, or gets it back."""
    from ratchet.recipe import source
    from releases import requests

    source(recipe)
    state = requests.abort(recipe, requests.person(), why)
    keeps = state.champion if state.phase == "idle" else state.challenger
    if keeps is None:
        raise Refusal("the first release was ended; nothing serves", recipe, "Release something: `ratchet loop`")
    click.echo(f"{recipe}: the release is ended; version {keeps.version} has or gets all traffic")
