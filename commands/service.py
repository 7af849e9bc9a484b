"""`ratchet service`: a systemd unit that brings everything back after a reboot."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import sys
from pathlib import Path

import click

from ratchet.settings import ROOT, settings


@click.command("service")
def command() -> None:
    """Print a systemd unit for this home; it runs `ratchet up` after a reboot and `ratchet down` before one.

    \b
    ratchet service | sudo tee /etc/systemd/system/ratchet.service
    sudo systemctl enable --now ratchet
    """
    program = shlex.quote(str(Path(sys.executable).parent / "ratchet"))
    named = {k: v for k, v in os.environ.items() if re.fullmatch(r"RATCHET_[A-Z_]+", k) and "PRIVATE" not in k}
    # A unit can be read by everybody: what holds a password goes into a file that cannot.
    secret = {k for k, v in named.items() if re.search(r"://[^/@]*:[^/@]*@", v)}
    named = {k: v for k, v in named.items() if k not in secret}
    environment = {**named, "RATCHET_HOME": str(settings().home), "PATH": os.environ.get("PATH", "")}
    lines = [
        "[Unit]", "Description=Ratchet", "After=network-online.target", "Wants=network-online.target", "",
        "[Service]", "Type=oneshot", "RemainAfterExit=yes", f"User={getpass.getuser()}", f"WorkingDirectory={ROOT}",
        *(f"Environment={_quoted(f'{k}={v}')}" for k, v in sorted(environment.items())),
        *(f"# {k} holds a password: put it into this file, of mode 600" for k in sorted(secret)),
        *(["EnvironmentFile=/etc/ratchet.env"] if secret else []),
        # What a unit starts is its own; Ratchet's supervisor and its children stay after `up` has ended.
        f"ExecStart={program} up", f"ExecStop={program} down", "TimeoutStartSec=600", "TimeoutStopSec=180", "",
        "[Install]", "WantedBy=multi-user.target",
    ]  # fmt: skip
    click.echo("\n".join(lines))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
