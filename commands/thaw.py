"""`ratchet thaw RECIPE`: releases are taken again."""

from __future__ import annotations

from commands._stack import steering

command = steering("thaw", "takes releases again", "Take releases of RECIPE again.")
