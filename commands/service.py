"""`ratchet service`: a systemd unit that starts everything after a reboot."""

import getpass
import os
import re
import sys
from pathlib import Path

import click

from ratchet.settings import ROOT, settings

# A oneshot unit keeps what it started: Ratchet's supervisor and its children run on after `up` has ended.
_UNIT = """\
[Unit]
Description=Ratchet
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
User={user}
WorkingDirectory={root}
{environment}
ExecStart={program} up
ExecStop={program} down
TimeoutStartSec=600
TimeoutStopSec=180

[Install]
WantedBy=multi-user.target
"""


@click.command("service")
def command() -> None:
    """Print a systemd unit for this home, which runs `ratchet up` after a reboot and `ratchet down` before one.

    \b
    ratchet service | sudo tee /etc/systemd/system/ratchet.service
    sudo systemctl enable --now ratchet
    """
    program = _quoted(str(Path(sys.executable).parent / "ratchet")).replace("$", "$$")
    own = {k: v for k, v in os.environ.items() if re.fullmatch(r"RATCHET_[A-Z_]+", k) and "PRIVATE" not in k}
    # Everybody can read a unit, so a password goes into a file that is private.
    secret = {name for name, value in own.items() if re.search(r"://[^/@]*:[^/@]*@", value)}
    public = {name: value for name, value in own.items() if name not in secret}
    environment = {**public, "RATCHET_HOME": str(settings().home), "PATH": os.environ.get("PATH", "")}
    variables = [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(environment.items())]
    notes = [f"# {name} holds a password: put it into this file, with mode 600" for name in sorted(secret)]
    private = ["EnvironmentFile=/etc/ratchet.env"] if secret else []
    own_lines = "\n".join([*variables, *notes, *private])
    click.echo(
        _UNIT.format(user=getpass.getuser(), root=str(ROOT).replace("%", "%%"), program=program, environment=own_lines),
        nl=False,
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
