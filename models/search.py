"""Looks for better parameters in the space that a recipe declares. Trials that lag behind are ended early.

By Optuna: the tree-structured Parzen estimator (Bergstra and others, 2011) and the median rule (Golovin and others,
2017). Killed and called again, it goes on with the trials that are left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from models import candidate as candidates
from models import registry, train
from models.ready import Ready, ready
from ratchet import stage
from ratchet.errors import Refusal
from ratchet.recipe import Between, Recipe, Training
from ratchet.settings import settings
from ratchet.words import Snapshot

if TYPE_CHECKING:
    import optuna

VERSION = 1
"""Raise it when the same space and trials should give another choice."""
Tell = Callable[[str], None]
_OWN = {f.name for f in fields(Training)}


def search(recipe: Recipe, training: Training, snapshot: Snapshot, trials: int, tell: Tell) -> Training:
    """The training that did best on the validation side, which neither the judge nor the test figures look at.

    Each trial is a nested run in MLflow. What the best one trained is kept, so that to make a candidate of it trains
    nothing again. Raises Refusal where the recipe declares no space, or no trial ended.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    space = _space(recipe, training)
    key, folder = _key(recipe, training, snapshot), settings().home / "training"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (folder / "searches").mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=key, storage=JournalStorage(JournalFileBackend(str(folder / "searches" / f"{key[:16]}.log"))),
        load_if_exists=True, direction="maximize" if recipe.answers.better > 0 else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )  # fmt: skip
    if _done(study) < trials:
        data = ready(recipe, training, snapshot, folder / "searches" / key[:16])
        with registry.open_run(recipe.name, key, {}, {"ratchet.search": ", ".join(space)}) as run:
            while (number := _done(study)) < trials:
                # A sampler begins anew with its seed: one for each trial, or a later call tries the same points.
                study.sampler = optuna.samplers.TPESampler(seed=training.seed + len(study.trials))
                _trial(recipe, space, training, snapshot, data, study, f"trial {number + 1}/{trials}", tell)
            run.metrics({f"val_{recipe.answers.metric}": _best(study, recipe).value or 0.0})
    best = _best(study, recipe)
    chosen = _with(training, best.params)
    for one in study.trials:  # the best one's is what the candidate is made of
        if (other := _with(training, one.params)) != chosen:
            shutil.rmtree(candidates.folder(recipe, other, snapshot), ignore_errors=True)
    tell(f"best of {trials}: {_told(best.params)}, validation {recipe.answers.metric} {best.value:.4f}")
    return chosen


def _space(recipe: Recipe, training: Training) -> Mapping[str, Between | tuple[int | float, ...]]:
    """What is tried: of one that starts warm nothing that shapes the network, whose weights are there."""
    if not recipe.space:
        raise Refusal("the recipe declares no space to search in", recipe.name, "Give it one: `space={...}`")
    found = {name: where for name, where in recipe.space.items() if name in _OWN or not training.start}
    if not found:
        what = "the recipe's space only shapes the network, and a warm start keeps its shape"
        raise Refusal(what, recipe.name, "Search without a warm start")
    return found


def _key(recipe: Recipe, training: Training, snapshot: Snapshot) -> str:
    space = {name: asdict(w) if isinstance(w, Between) else w for name, w in recipe.space.items()}
    return stage.key("search", VERSION, candidate=candidates.key(recipe, training, snapshot), space=space)


def _done(study: optuna.Study) -> int:
    """Trials that ended; one that a killed process left open does not count."""
    return sum(t.state.name in ("COMPLETE", "PRUNED") for t in study.trials)


def _best(study: optuna.Study, recipe: Recipe) -> optuna.trial.FrozenTrial:
    try:
        return study.best_trial
    except ValueError as error:
        raise Refusal("no trial was trained to its end", recipe.name, "Allow more trials") from error


def _trial(
    recipe: Recipe, space: Mapping[str, Any], asked: Training, snapshot: Snapshot, data: Ready, study: optuna.Study,
    name: str, tell: Tell,
) -> None:  # fmt: skip
    import optuna

    trial = study.ask()
    training = _with(asked, {parameter: _suggested(trial, parameter, where) for parameter, where in space.items()})
    metric, told = f"val_{recipe.answers.metric}", _told(trial.params)
    with registry.nested(name, dict(trial.params)) as run:

        def epoch(number: int, figures: Mapping[str, float]) -> None:
            run.epoch(number, figures)
            trial.report(figures[metric], number)
            if number < training.epochs and trial.should_prune():
                raise optuna.TrialPruned

        try:
            fitted = train.fit(recipe, training, data.train, data.held, candidates.folder(recipe, training, snapshot),
                               epoch, data.start)  # fmt: skip
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            run.tag("ratchet.trial", "pruned")
            tell(f"{name}: {told}: ended early, it lagged behind")
            return
        except Refusal as refusal:  # a loss that is not finite is an answer, too
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            run.tag("ratchet.trial", str(refusal))
            tell(f"{name}: {told}: {refusal.what}")
            return
        figure = fitted.history[-1][metric]
        study.tell(trial, figure)
        tell(f"{name}: {told}: validation {recipe.answers.metric} {figure:.4f}")


def _suggested(trial: optuna.Trial, name: str, where: Any) -> Any:
    if isinstance(where, tuple):
        return trial.suggest_categorical(name, where)
    if isinstance(where.low, int) and isinstance(where.high, int):
        return trial.suggest_int(name, where.low, where.high, log=where.log)
    return trial.suggest_float(name, where.low, where.high, log=where.log)


def _with(training: Training, found: Mapping[str, Any]) -> Training:
    own = {name: value for name, value in found.items() if name in _OWN}
    sizes = {name: value for name, value in found.items() if name not in _OWN}
    return replace(training, **own, parameters={**training.parameters, **sizes})


def _told(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in sorted(found.items()))  # fmt: skip
