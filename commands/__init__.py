"""BY HAND: the `ratchet` command. One file a command; a refusal is a sentence and exit 1."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ratchet.errors import Refusal
from ratchet.settings import Settings, known


class _Commands(click.Group):
    """Finds `ratchet NAME` in `commands/NAME.py`, imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        found: click.Command = importlib.import_module(f"commands.{name}").command
        return found


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ratchet")
def cli() -> None:
    """Keeps a model in production fresh: retrain, judge, release; it turns one way only.

    Every setting is an environment variable RATCHET_<NAME>; see docs/operations.md.
    """


def _looked_at(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Raises Refusal where an argument or a setting of ours is no text; warns of one that Ratchet does not have."""
    ours = {name: value for name, value in environment.items() if name.startswith("RATCHET_")}
    for word in (*arguments, *(f"{name}={value}" for name, value in ours.items())):
        if not word.isascii() and any(0xD800 <= ord(letter) < 0xE000 for letter in word):
            raise Refusal("it is not UTF-8 text", ascii(word), "Give it as UTF-8, or rename the file")
    for name in sorted(n for n in ours if not known(n)):
        near = difflib.get_close_matches(name, [f"RATCHET_{f.upper()}" for f in Settings.model_fields], 1)
        hint = f"; did you mean {near[0]}?" if near else ", and is not looked at"
        click.secho(f"{name} is no setting of Ratchet{hint}", err=True, fg="yellow")


def main(arguments: list[str] | None = None) -> Any:
    try:
        _looked_at(sys.argv[1:] if arguments is None else arguments, os.environ)
        cli.main(args=arguments, prog_name="ratchet", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Refusal as refusal:
        click.secho(str(refusal), err=True, fg="red")
        sys.exit(1)
    except OSError as error:
        what, which = f"the system refused ({error.strerror or error})", error.filename or "a file, or the output"
        click.secho(str(Refusal(what, which, "Mend that")), err=True, fg="red")
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nstopped by you; what was begun goes on where it stood", err=True)
        sys.exit(130)
