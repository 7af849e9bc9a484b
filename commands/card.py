"""`ratchet card RECIPE [VERSION]`: the model card of a version, with its release so far."""

import json
from pathlib import Path

import click

from commands._stack import find_version, json_option


@click.command("card")
@click.argument("recipe")
@click.argument("version", required=False)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def command(recipe: str, version: str | None, output: Path | None, markdown: bool, as_json: bool) -> None:
    """Write the model card of VERSION of RECIPE (default: the champion) as an HTML page that needs no network.

    The card shows data, training, evaluation, explanations, release and lineage.
    """
    from ratchet import model_card
    from releases import alias_sync, api, history

    registered = find_version(recipe, version)
    content = alias_sync.card_of(registered)
    release = history.release(api.open_ledger().read(recipe), registered.version)
    if as_json:
        click.echo(json.dumps({**content, "release": release}, indent=1))
    elif markdown:
        click.echo(model_card.to_markdown(content, release))
    else:
        path = output or Path(f"{recipe}-v{registered.version}.html")
        path.write_text(model_card.to_html(content, release), encoding="utf-8")
        click.echo(f"wrote {path}; open it in a browser")
