"""`ratchet release RECIPE VERSION`, and the manual control of a release in progress."""

import click

from commands._stack import require_controller, steering, why_option
from ratchet.errors import Refusal
from ratchet.recipe import STRATEGIES

_STRATEGY = "The recipe's steps; a comparison and a shadow of all traffic; or no steps."


class _Release(click.Group):
    """`ratchet release RECIPE VERSION` is short for `ratchet release start RECIPE VERSION`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["start", *args])


@click.group("release", cls=_Release)
def command() -> None:
    """Release a blessed version by hand (`ratchet release RECIPE VERSION`), or control a release in progress.

    Every command is recorded in the ledger. `ratchet release start --help` lists the options of a release by hand.
    """


@command.command("start")
@click.argument("recipe")
@click.argument("version")
@click.option("--strategy", type=click.Choice(STRATEGIES), default="canary", show_default=True, help=_STRATEGY)
@why_option
def start(recipe: str, version: str, strategy: str, why: str) -> None:
    """Release VERSION of RECIPE, also one that was rolled back, and follow it to its end."""
    from ratchet.recipe import load
    from releases import api
    from releases.alias_sync import package_of

    plan = load(recipe).release_plan.with_strategy(strategy)
    require_controller()
    package = package_of(recipe, version)
    api.release(package, plan, api.person(), why, by_hand=True)
    try:
        api.watch(package, lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        next = f"`ratchet status --watch` follows it, `ratchet release abort {recipe}` ends it"
        click.echo(f"\nstopped following; the release continues: {next}", err=True)
        raise SystemExit(130) from None
    click.echo(f"version {package.version} is champion")


for _order in (
    ("pause", "the release stays at its step", "Stay at the present step; a failure still rolls back."),
    ("resume", "the release continues", "Continue with the steps."),
    ("promote", "promoted by hand", "Send all traffic to the version on trial now; in the bake time, end that."),
):
    command.add_command(steering(*_order))


@command.command("abort")
@click.argument("recipe")
@why_option
def abort(recipe: str, why: str) -> None:
    """End the release of RECIPE: the old champion keeps all traffic, or gets it back."""
    from ratchet.recipe import source
    from releases import api

    source(recipe)
    state = api.abort(recipe, api.person(), why)
    champion = state.champion if state.phase == "idle" else state.challenger
    if champion is None:
        raise Refusal("the first release was aborted, so nothing serves", recipe, "Release something: `ratchet loop`")
    click.echo(f"{recipe}: the release is aborted; version {champion.version} has all traffic, or gets it back")
