"""BY HAND: the `ratchet` command. One file per command; a refusal is a sentence and exit status 1."""

import difflib
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ratchet.errors import Refusal
from ratchet.settings import Settings, is_known

_ALIASES = {"dossier": "card"}
"""Former names of commands, which work for one version more."""


class _Commands(click.Group):
    """Finds `ratchet NAME` in `commands/NAME.py`, which is imported only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        name = _ALIASES.get(name, name)
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"commands.{name}").command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ratchet")
def cli() -> None:
    """Keeps models in production fresh: retrains, evaluates and releases them, and rolls back what turns out worse.

    Every setting is an environment variable RATCHET_<NAME>; see docs/operations.md.
    """


def _check_input(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Raises Refusal for an argument or a setting that is not UTF-8; warns of an unknown setting."""
    own = {name: value for name, value in environment.items() if name.startswith("RATCHET_")}
    for text in (*arguments, *(f"{name}={value}" for name, value in own.items())):
        if not text.isascii() and any(0xD800 <= ord(letter) < 0xE000 for letter in text):
            raise Refusal("the argument is not UTF-8", ascii(text), "Give it in UTF-8, or rename the file")
    for name in sorted(name for name in own if not is_known(name)):
        setting, known = name.removeprefix("RATCHET_"), [field.upper() for field in Settings.model_fields]
        similar = difflib.get_close_matches(setting, known, 1)
        hint = f"; did you mean RATCHET_{similar[0]}?" if similar else ", so it is ignored"
        click.secho(f"{name} is not a setting of Ratchet{hint}", err=True, fg="yellow")


def main(arguments: list[str] | None = None) -> Any:
    try:
        _check_input(sys.argv[1:] if arguments is None else arguments, os.environ)
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
        click.secho(str(Refusal(what, which, "Fix the cause and run it again")), err=True, fg="red")
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nstopped; run the command again to continue", err=True)
        sys.exit(130)
