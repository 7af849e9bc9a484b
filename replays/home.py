"""The home of a replay: a stack of its own below the user's home, with other ports and a clock that can be turned."""

import os
import random
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.files import locked
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
CLOCK, ENVIRONMENT, _KEPT_HOME = "clock.txt", "environment.sh", "kept"
_KEPT = ("device", "gpus", "memory_mb", "links", "ingest_memory_mb", "ingest_disk_mb", "tick_seconds", "warm_seconds",
         "shift_seconds", "start_seconds", "who")  # fmt: skip
"""Settings of the user that hold in a replay as well."""


def folder(recipe: str) -> Path:
    """Where the replays of a recipe are: their home while one runs, and a folder for each result."""
    return settings().home / "replays" / recipe


@contextmanager
def only_one(recipe: str, on_a_stack: bool = True) -> Iterator[None]:
    """Lets one replay of a recipe run at a time, which SIGTERM ends as an error would.

    Raises Refusal while another runs, or, for one `on_a_stack`, if the stack of another is left over.
    """
    home = folder(recipe) / "home"
    with locked(folder(recipe) / ".lock", wait=False) as acquired:
        if not acquired:
            raise Refusal("another replay of this recipe runs", recipe, "Wait for it")
        if on_a_stack and Stack(Settings(home=home)).is_alive():
            what = "the stack of a replay that was killed still runs"
            raise Refusal(what, recipe, f"End it: RATCHET_HOME={home} ratchet down")
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def prepare(name: str, arguments: str) -> Path:
    """Creates an empty home in which the recipe `name` can be played; `arguments` are those of `replays.recipe.played`.

    The data of the user's home are linked, so that nothing is downloaded or prepared again. Raises Refusal where the
    home of another replay was kept.
    """
    recipe, own, home = recipes.load(name), settings().home, folder(name) / "home"
    for feed in (*recipe.batches, recipe.benchmark):
        fetch_feed(recipe, feed)
    if (home / _KEPT_HOME).exists():
        what = "the home of a replay is here, which was kept to be looked at"
        raise Refusal(what, home, f"Remove it: rm -r {shlex.quote(str(home))}")
    if home.exists():
        shutil.rmtree(home)
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


def keep(home: Path) -> None:
    """Lets no other replay take the place of this home."""
    (home / _KEPT_HOME).touch()


_TEXT = '''"""The recipe `{name}` in a replay."""

from ratchet.recipe import load
from replays.recipe import played

recipe = played(load({name!r}), {arguments})
'''


@contextmanager
def entered(home: Path) -> Iterator[Recipe]:
    """Makes this process one of the replay's stack while the block runs; yields the recipe that is played.

    `environment.sh` in the home has its settings, for a shell.
    """
    before, own = dict(os.environ), _settings(home)
    for variable in [name for name in os.environ if name.startswith(("RATCHET_", "PREFECT_", "MLFLOW_"))]:
        del os.environ[variable]
    os.environ |= own
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in own.items()]
    (home / ENVIRONMENT).write_text("".join(lines), encoding="utf-8")
    settings.cache_clear()
    try:
        (file,) = (home / "recipes").glob("*.py")
        yield recipes.load(file.stem.replace("_", "-"))
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


def _settings(home: Path) -> dict[str, str]:
    """The replay's: of the user's own those that say what this machine is, and where data and recipes are."""
    kept = {name: value for name, value in os.environ.items() if name.removeprefix("RATCHET_").lower() in _KEPT}
    data = {name: str(Path(value).expanduser().resolve()) for name, value in os.environ.items()
            if name.startswith("RATCHET_") and name.endswith("_DIR")}  # fmt: skip
    ports = _free_ports(len(_PORTS) + 1)
    return {
        **kept,
        **data,
        **{f"RATCHET_{name}": str(port) for name, port in zip(_PORTS, ports, strict=False)},
        "RATCHET_HOME": str(home),
        "RATCHET_RECIPES": os.pathsep.join(map(str, (*settings().recipe_folders[1:], home / "recipes"))),
        "RATCHET_CLOCK": str(home / CLOCK),
        "RATCHET_BENTO_PORTS": f"{ports[-1]}-{ports[-1] + _BENTOS}",
    }


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


def _free_ports(count: int) -> list[int]:
    """The first ports of as many free ranges."""
    starts = range(_FIRST, _LAST, _BENTOS + 1)
    shuffled = random.SystemRandom().sample(starts, len(starts))
    return list(islice(filter(port_is_free, shuffled), count))
