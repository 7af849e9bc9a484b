"""`ratchet freeze RECIPE`: no release until thawed."""

from __future__ import annotations

from commands._stack import steering

command = steering(
    "freeze", "frozen; thaw it with `ratchet thaw {}`",
    "Take no release of RECIPE until it is thawed; rollbacks are still taken.",
)  # fmt: skip
