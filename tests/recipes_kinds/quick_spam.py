"""The recipe `spam`, briefly trained and quickly released."""

from dataclasses import replace
from pathlib import Path

from ratchet.kinds.text import TextContract
from ratchet.recipe import Bound, Criteria, Feed, Log, Recipe, ReleasePlan, Step, Watch

_full = Path(__file__).resolve().parents[2] / "recipes" / "spam.py"
_names: dict = {"__name__": "spam"}
exec(compile(_full.read_text(), str(_full), "exec"), _names)
_spam: Recipe = _names["recipe"]
_file = _spam.benchmark.inputs

recipe = replace(
    _spam,
    name="quick-spam",
    contract=TextContract(max_characters=_spam.contract.max_characters, max_tokens=64, vocabulary_size=2000),
    batches=(Feed(_file, start=0, stop=2400, every=-6), Feed(_file, start=2400, stop=3600, every=-6)),
    training=replace(_spam.training, epochs=1, parameters={"size": 32, "blocks": 1}),
    log=Log(inputs=True),
    watch=Watch(causes=("harm", "batch"), window=300, tolerance=0.05),
    criteria=Criteria(accuracy=0.8, worst_class=0.6, margin=0.1),
    release_plan=ReleasePlan(
        steps=(Step(), Step(50)), bake_seconds=5.0, step_seconds=120.0, failed=Bound(0.0, 0.03),
        latency_p50=Bound(0.15, 0.4), latency_p99=Bound(0.05, 0.15), disagreed=Bound(0.5, 0.5),
    ),
)  # fmt: skip
