"""`ratchet thaw RECIPE`: releases are possible again."""

from commands._stack import steering

command = steering("thaw", "releases are possible again", "Accept releases of RECIPE again.")
