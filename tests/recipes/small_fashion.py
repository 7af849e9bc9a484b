"""A small real sample of Fashion-MNIST, so that a whole loop takes seconds."""

from dataclasses import replace
from pathlib import Path

from ratchet.recipe import Bound, Criteria, Feed, Log, Recipe, ReleasePlan, Step, Training, Watch

_full = Path(__file__).resolve().parents[2] / "recipes" / "fashion_mnist.py"
_names: dict = {}
exec(compile(_full.read_text(), str(_full), "exec"), _names)
_fashion: Recipe = _names["recipe"]
_train = _fashion.batches[0]

recipe = replace(
    _fashion,
    name="small-fashion",
    batches=(
        Feed(_train.inputs, _train.labels, 0, 3000),
        Feed(_train.inputs, _train.labels, 3000, 4500),
        Feed(_train.inputs, _train.labels, 4500, 6000),
    ),
    benchmark=replace(_fashion.benchmark, stop=1000),
    training=Training(epochs=2, batch_size=32),
    criteria=Criteria(accuracy=0.6, worst_class=0.0, margin=0.1),
    # Models trained so briefly disagree a lot; and nobody waits half an hour in a test.
    release_plan=ReleasePlan(
        steps=(Step(), Step(mirror=20), Step(50)),
        bake_seconds=8.0,
        step_seconds=120.0,
        failed=Bound(0.0, 0.03),
        refused=Bound(0.02, 0.10),
        latency_p50=Bound(0.15, 0.4),
        latency_p99=Bound(0.05, 0.15),
        disagreed=Bound(0.5, 0.5),
    ),
    record_inputs=True,
    log=Log(inputs=True),
    watch=Watch(window=200, labels=1_000_000, cool_down_hours=0.0, tolerance=0.1, layer="dense_1"),
)
