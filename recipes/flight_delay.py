"""Whether a flight arrives a quarter of an hour late, or more. The data are described in recipes/_flights.py."""

from ratchet.recipe import Bound, Classification, Criteria, Recipe, ReleasePlan, Suite, Training
from recipes import _flights

recipe = Recipe(
    name="flight-delay",
    version=1,
    purpose="Predicts at its scheduled departure whether a flight from New York arrives 15 minutes late or more.",
    contract=_flights.contract(target="late"),
    task=Classification(("on time", "late")),
    data=_flights.DATA,
    batches=_flights.BATCHES,
    benchmark=_flights.BENCHMARK,
    suite=Suite(min_rows=10_000, max_age_days=36500.0),
    training=Training(family="boosting", parameters={"rounds": 200, "min_records": 200}),
    criteria=Criteria(
        accuracy=0.76, worst_class=0.02, margin=0.01, slices=("origin", "minute_of_day"), slice_margin=0.04
    ),
    release_plan=ReleasePlan(disagreed=Bound(0.3, 0.35)),
    show_inputs=True,
)
