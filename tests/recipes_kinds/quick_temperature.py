"""The recipe `sf-temperature`, quickly released."""

from dataclasses import replace
from pathlib import Path

from ratchet.recipe import Bound, ForecastCriteria, Recipe, ReleasePlan, Step

_full = Path(__file__).resolve().parents[2] / "recipes" / "sf_temperature.py"
_names: dict = {"__name__": "sf_temperature"}
exec(compile(_full.read_text(), str(_full), "exec"), _names)
_temperature: Recipe = _names["recipe"]

recipe = replace(
    _temperature,
    name="quick-temperature",
    training=replace(_temperature.training, epochs=1),
    criteria=ForecastCriteria(squared_error=0.05, margin=0.3, linear=0.5),
    release_plan=ReleasePlan(
        steps=(Step(), Step(50)), bake_seconds=5.0, step_seconds=120.0, failed=Bound(0.0, 0.03),
        latency_p50=Bound(0.15, 0.4), latency_p99=Bound(0.05, 0.15), disagreed=Bound(0.15, 0.15),
    ),
)  # fmt: skip
