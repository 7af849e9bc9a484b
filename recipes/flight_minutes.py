"""How many minutes late a flight arrives. The data are described in recipes/_flights.py."""

from ratchet.recipe import Bound, Recipe, Regression, RegressionCriteria, ReleasePlan, Suite, Training
from recipes import _flights

recipe = Recipe(
    name="flight-minutes",
    version=1,
    purpose="Predicts at its scheduled departure how many minutes late a flight from New York arrives (the median).",
    contract=_flights.contract(target="minutes"),
    task=Regression(low=-120.0, high=1500.0, close=5.0, unit="min"),
    data=_flights.DATA,
    batches=_flights.BATCHES,
    benchmark=_flights.BENCHMARK,
    suite=Suite(min_rows=10_000, max_age_days=36500.0),
    training=Training(family="boosting", parameters={"rounds": 200, "min_records": 200}),
    criteria=RegressionCriteria(error=25.0, margin=0.02, slices=("origin", "minute_of_day"), slice_margin=0.1),
    release_plan=ReleasePlan(disagreed=Bound(0.3, 0.35)),
    show_inputs=True,
)
