"""`ratchet show RECIPE RECORD`: one record of the lake or the benchmark."""

import base64
import json
from pathlib import Path

import click

from commands._stack import json_option
from ratchet.errors import Refusal
from ratchet.settings import is_printable


@click.command("show")
@click.argument("recipe")
@click.argument("record")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file for an image.")
@json_option
def command(recipe: str, record: str, output: Path | None, as_json: bool) -> None:
    """Show a RECORD of RECIPE: where it is, its label, and its input, which is written to a file if it is an image.

    RECORD is a digest, or its first characters, as checks and suites name it. An input is shown only if the recipe
    allows that (`show_inputs`).
    """
    from ratchet.lake.records import find
    from ratchet.recipe import load

    loaded = load(recipe)
    shown = find(loaded, record)
    facts = {"record": shown.record, "side": shown.side, "batch": shown.batch, "label": shown.label, "at": shown.at}
    rendered = shown.rendered if loaded.show_inputs else ""
    if as_json:
        click.echo(json.dumps({**facts, "input": rendered}, indent=1))
        return
    for name, value in facts.items():
        click.echo(f"{name:7} {value}")
    if not loaded.show_inputs:
        raise Refusal("the recipe does not allow that its inputs are shown", recipe, "Set show_inputs=True in its file")
    if rendered.startswith("data:image/png;base64,"):
        path = output or Path(f"{recipe}-{shown.record[:12]}.png")
        path.write_bytes(base64.b64decode(rendered.partition(",")[2]))
        click.echo(f"wrote {path}")
    else:
        click.echo(f"input   {''.join(letter if is_printable(letter) else ' ' for letter in rendered)}")
