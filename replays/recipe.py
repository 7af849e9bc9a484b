"""A recipe as a replay releases it: under a name of its own, with inputs that are kept, and without long waits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ratchet.recipe import Bound, Feed, Recipe, Step
from ratchet.tasks import parts
from ratchet.watch_plan import Kind

SUFFIX = "-replay"
_FOR_EVER = 36_500.0
"""Days."""
_MARGIN = 0.05


def played(
    recipe: Recipe,
    records: int = 0,
    window: int = 0,
    causes: Sequence[Kind] | None = None,
    recent: int = 0,
    replay: int = 0,
    tolerance: float | None = None,
    epochs: int = 0,
) -> Recipe:
    """The recipe for a replay.

    If it keeps no inputs, it is played as if it did, but enough labels start no retraining, as they do not otherwise.

    With `records` the first version is trained on so many of the first batch, and only comparisons and no thresholds of
    the evaluation remain: these are for a model of all of them. `window`, `causes` and `tolerance` replace those of
    `watch`, and `recent`, `replay` and `epochs` those of `training`. No smaller variant is tried: the fastest one as
    measured would be served, and another play of the same data could measure otherwise.
    """
    first, own_causes = recipe.batches[0], recipe.watch.causes
    if not recipe.log.inputs:
        own_causes = tuple(kind for kind in own_causes if kind != "labels")
    watch = replace(
        recipe.watch,
        window=window or recipe.watch.window,
        causes=own_causes if causes is None else tuple(causes),
        tolerance=recipe.watch.tolerance if tolerance is None else tolerance,
        label_days=_FOR_EVER,
    )
    plan = replace(
        recipe.release_plan,
        steps=(Step(), Step(50)),
        step_seconds=180.0,
        bake_seconds=5.0,
        failed=Bound(0.0, 0.03),
        latency_p50=Bound(0.15, 0.4),
        latency_p99=Bound(0.05, 0.15),
        disagreed=Bound(0.5, 0.5),
    )
    training = replace(recipe.training, epochs=epochs or recipe.training.epochs)
    if recent:
        training = replace(training, recent=recent, replay=replay)
    return replace(
        recipe,
        name=recipe.name + SUFFIX,
        batches=(_shortened(first, records), *recipe.batches[1:]) if records else recipe.batches,
        criteria=_comparisons(recipe) if records else recipe.criteria,
        suite=replace(recipe.suite, min_rows=1, max_age_days=_FOR_EVER),
        release_plan=plan,
        training=training,
        variants=(),
        approval_hours=0.0,
        log=replace(recipe.log, sample=1.0, inputs=True, days=_FOR_EVER),
        watch=watch,
    )


def _shortened(feed: Feed, records: int) -> Feed:
    return replace(feed, stop=min(feed.start + records, feed.stop or feed.start + records))


def _comparisons(recipe: Recipe) -> Any:
    """Criteria without thresholds, and with a margin for models that differ more since they saw less."""
    own = parts.criteria(recipe.answers.task).without_thresholds(recipe.criteria)
    return replace(own, margin=max(own.margin, _MARGIN))
