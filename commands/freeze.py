"""`ratchet freeze RECIPE`: no release until it is thawed."""

from commands._stack import steering

command = steering(
    "freeze",
    "releases are frozen; thaw them with `ratchet thaw {}`",
    "Refuse releases of RECIPE until it is thawed. Rollbacks are still possible.",
)
