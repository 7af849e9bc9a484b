"""The last step of the set-up: makes the recipes' data available, or says how to get it.

If a download fails and the user is root on Debian or Ubuntu, the distribution's package is installed instead.
"""

import os
import shutil
import subprocess
import sys

from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.lake.fetch import fetch
from ratchet.recipe import DataSet


def provide(data: DataSet) -> None:
    """Makes every file of the data set available. Raises Refusal if that is impossible."""
    try:
        for name in data.files:
            fetch(data, name)
    except Refusal:
        if os.environ.get(data.variable):  # a person named a folder, which is what is wrong
            raise
        if not (data.debian and os.geteuid() == 0 and shutil.which("apt-get")):
            raise
        print(f"the download failed; installing Debian's package {data.debian}", file=sys.stderr)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", data.debian]):
            subprocess.run(["apt-get", *step], env=quiet, stdout=subprocess.DEVNULL, check=False)
        for name in data.files:
            fetch(data, name)


def main(required: list[str]) -> None:
    """Provides the data of every recipe; data missing for a recipe that is not `required` is only reported."""
    missing = []
    for name in dict.fromkeys([*required, *recipes.names()]):
        try:
            provide(recipes.load(name).data)
        except Refusal as refusal:
            print(f"{name}: {refusal}", file=sys.stderr)
            missing.append(name)
    sys.exit(1 if set(missing) & set(required) else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
