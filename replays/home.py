"""The home of a replay: a stack of its own below the user's home, with other ports and a clock that can be turned."""

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.fleet.host import port_is_free
from ratchet.fleet.stack import Stack
from ratchet.lake.fetch import fetch_feed
from ratchet.recipe import Recipe
from ratchet.settings import Settings, settings
from replays.recipe import SUFFIX

_PORTS = ("PREFECT_PORT", "MLFLOW_PORT", "GATEWAY_PORT", "ENVOY_ADMIN_PORT")
_FIRST, _LAST = 20_000, 30_000
"""Ports that the kernel gives to no outgoing connection."""
_BENTOS = 40
CLOCK = "clock.txt"


def prepare(name: str, arguments: str) -> Path:
    """Creates an empty home in which the recipe `name` can be played; `arguments` are those of `replays.recipe.played`.

    The data of the user's home are linked, so that nothing is downloaded or prepared again. Raises Refusal while an
    earlier replay of it runs.
    """
    recipe, own = recipes.load(name), settings().home
    for feed in (*recipe.batches, recipe.benchmark):
        fetch_feed(recipe, feed)
    home = own / "replays" / name
    if Stack(Settings(home=home)).is_alive():
        next = f"Wait for it; or if it was killed: RATCHET_HOME={home} ratchet down"
        raise Refusal("the stack of a replay of this recipe still runs", name, next)
    shutil.rmtree(home, ignore_errors=True)
    (home / "recipes").mkdir(parents=True)
    (home / "data").mkdir()
    for file in (own / "data").glob("*"):
        (home / "data" / file.name).symlink_to(file)
        if file.name.startswith(f"{name}-{recipe.version}-"):
            (home / "data" / file.name.replace(name, name + SUFFIX, 1)).symlink_to(file)
    file = home / "recipes" / f"{(name + SUFFIX).replace('-', '_')}.py"
    file.write_text(_TEXT.format(name=name, arguments=arguments), encoding="utf-8")
    (home / CLOCK).touch()
    return home


_TEXT = '''"""The recipe `{name}` in a replay."""

from ratchet.recipe import load
from replays.recipe import played

recipe = played(load({name!r}), {arguments})
'''


@contextmanager
def entered(home: Path) -> Iterator[Recipe]:
    """Makes this process one of the replay's stack while the block runs; yields the recipe that is played."""
    before, folders = dict(os.environ), os.environ.get("RATCHET_RECIPES", "")
    ports = list(islice(_free_ports(), len(_PORTS) + 1))
    for variable in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        del os.environ[variable]
    os.environ |= {f"RATCHET_{name}": str(port) for name, port in zip(_PORTS, ports, strict=False)}
    os.environ |= {
        "RATCHET_HOME": str(home),
        "RATCHET_RECIPES": os.pathsep.join(filter(None, (folders, str(home / "recipes")))),
        "RATCHET_CLOCK": str(home / CLOCK),
        "RATCHET_BENTO_PORTS": f"{ports[-1]}-{ports[-1] + _BENTOS}",
    }
    for variable in (
        "RATCHET_PREFECT_AT",
        "RATCHET_MLFLOW_AT",
        "RATCHET_LEDGER_URL",
        "RATCHET_NOTIFY",
        "RATCHET_INBOX",
    ):
        os.environ.pop(variable, None)
    settings.cache_clear()
    try:
        (file,) = (home / "recipes").glob("*.py")
        yield recipes.load(file.stem.replace("_", "-"))
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


@contextmanager
def reading(home: Path) -> Iterator[None]:
    """Lets this process read another home while the block runs. Raises Refusal if it is none."""
    if not (home / "lake").is_dir():
        raise Refusal("there is no lake in this folder", home, "Give a home, such as .ratchet")
    before = os.environ.get("RATCHET_HOME")
    os.environ["RATCHET_HOME"] = str(home.resolve())
    settings.cache_clear()
    try:
        yield
    finally:
        if before is None:
            del os.environ["RATCHET_HOME"]
        else:
            os.environ["RATCHET_HOME"] = before
        settings.cache_clear()


def _free_ports() -> Iterator[int]:
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(_FIRST, _LAST, _BENTOS + 1)
        if port_is_free(port):
            yield port
