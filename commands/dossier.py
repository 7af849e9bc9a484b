"""`ratchet dossier RECIPE [VERSION]`: the one document of a version, with its release so far."""

from __future__ import annotations

import json
from pathlib import Path

import click

from commands._stack import versioned


@click.command("dossier")
@click.argument("recipe")
@click.argument("version", required=False)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where the page is written.")
@click.option("--markdown", is_flag=True, help="Print it as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(recipe: str, version: str | None, output: Path | None, markdown: bool, as_json: bool) -> None:
    """Write the dossier of a VERSION of RECIPE (the champion's, unless named) as one page that needs no network:
    data, training, verdict, release.
    """
    from ratchet import dossier
    from releases import record, registrar, requests

    found = versioned(recipe, version)
    told, release = registrar.dossier_of(found), record.release(requests.ledger().read(recipe), found.version)
    if as_json:
        click.echo(json.dumps({**told, "release": release}, indent=1))
    elif markdown:
        click.echo(dossier.markdown(told, release))
    else:
        path = output or Path(f"{recipe}-v{found.version}.html")
        path.write_text(dossier.page(told, release))
        click.echo(f"wrote {path}; open it in a browser")
