"""The recipe `flight-delay` on the flights of two months, quickly released and watched."""

from dataclasses import replace
from pathlib import Path

from ratchet.recipe import Bound, Log, Recipe, ReleasePlan, Step, Suite, Watch

_full = Path(__file__).resolve().parents[2] / "recipes" / "flight_delay.py"
_names: dict = {"__name__": "flight_delay"}
exec(compile(_full.read_text(), str(_full), "exec"), _names)
_flights: Recipe = _names["recipe"]

recipe = replace(
    _flights,
    name="quick-flights",
    batches=_flights.batches[:1],
    benchmark=replace(_flights.benchmark, stop=_flights.benchmark.start + 12_000),
    suite=Suite(min_rows=500, max_age_days=36500.0),
    training=replace(_flights.training, parameters={"rounds": 100, "min_records": 100}),
    criteria=replace(_flights.criteria, accuracy=0.7, slices=(), margin=0.03),
    log=Log(inputs=True),
    watch=Watch(causes=("harm",), window=2000, tolerance=0.0),
    release_plan=ReleasePlan(
        steps=(Step(), Step(50)), bake_seconds=5.0, step_seconds=120.0, failed=Bound(0.0, 0.03),
        latency_p50=Bound(0.15, 0.4), latency_p99=Bound(0.05, 0.15), disagreed=Bound(0.5, 0.5),
    ),
)  # fmt: skip
