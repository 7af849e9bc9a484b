"""BY HAND: the `ratchet` command. One file a command; a refusal is a sentence and exit 1."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from ratchet.errors import Refusal


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


def main(arguments: list[str] | None = None) -> Any:
    try:
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
