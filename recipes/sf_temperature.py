"""Hourly temperatures of San Francisco for a year (NOAA, as in vega-datasets): the next day from the last week.

They are normals of thirty years, so smooth that a linear model of the last week is as good as any network that was
tried; `linear` below says how much worse than that model a forecast may be.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ratchet.kinds.series import SeriesContract
from ratchet.recipe import Bound, DataSet, Feed, ForecastCriteria, Range, Recipe, ReleasePlan, Suite, Training

_FORTNIGHT = 14 * 86400
_FILE = "vega_datasets-0.9.0-py3-none-any.whl"


def _hours(path: Path) -> Iterator[dict[str, Any]]:
    """Local time is read as UTC; the hour that daylight saving time skips is a gap.

    One fortnight of six comes last, as the benchmark, so that it covers every season.
    """
    benchmark = []
    with zipfile.ZipFile(path) as wheel, wheel.open("vega_datasets/_data/sf-temps.csv") as file:
        for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")):
            at = datetime.strptime(row["date"], "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
            record = {"time": at, "value": float(row["temp"])}
            if int(at.timestamp()) // _FORTNIGHT % 6 == 2:
                benchmark.append(record)
            else:
                yield record
    yield from benchmark


recipe = Recipe(
    name="sf-temperature",
    version=1,
    purpose="Forecasts San Francisco's temperature for the next 24 hours, for planning. Not for the safety of life.",
    contract=SeriesContract(low=-20.0, high=130.0, unit="°F", window=168, horizon=24, close=0.5),
    data=DataSet(
        setting="sf_temperature_dir",
        folders=(),
        url="https://files.pythonhosted.org/packages/e6/9f/"
        "ca52771fe972e0dcc5167fedb609940e01516066938ff2ee28b273ae4f29/",
        files={_FILE: "3d7c63917be6ca9b154b565f4779a31fedce57b01b5b9d99d8a34a7608062a1d"},
        prepare=_hours,
    ),
    batches=(Feed(_FILE, start=0, stop=6000), Feed(_FILE, start=6000, stop=6700), Feed(_FILE, start=6700, stop=7415)),
    benchmark=Feed(_FILE, start=7415),
    suite=Suite(max_age_days=365.0 * 60),
    training=Training(family="rnn", parameters={"units": 64}, epochs=6, batch_size=32),
    criteria=ForecastCriteria(
        squared_error=0.02, margin=0.15, linear=0.3, directional=0.9, latency_ms=5.0, size_mb=2.0
    ),
    release_plan=ReleasePlan(disagreed=Bound(0.15, 0.18)),
    show_inputs=True,
    search_space={"learning_rate": Range(0.0003, 0.003, log=True), "units": (32, 64, 96)},
)
