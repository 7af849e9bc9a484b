"""Searches the space that a recipe declares for better parameters. Trials that lag behind are ended early.

By Optuna: the tree-structured Parzen estimator (Bergstra and others, 2011) and the median rule (Golovin and others,
2017). If it is killed and called again, it continues with the remaining trials.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from models import candidate as candidates
from models import registry, train, zoo
from models.training_inputs import NetworkInputs, training_inputs
from ratchet import memo
from ratchet.errors import Refusal
from ratchet.recipe import Range, Recipe, Training
from ratchet.settings import settings
from ratchet.types import Snapshot

if TYPE_CHECKING:
    import optuna

VERSION = 1
"""Raise it when the same space and trials should give another choice."""
Report = Callable[[str], None]
Space = Mapping[str, Range | tuple[int | float, ...]]
_TRAINING_FIELDS = {field.name for field in fields(Training)}


@dataclass(frozen=True)
class _Search:
    recipe: Recipe
    training: Training
    snapshot: Snapshot
    space: Space
    study: optuna.Study
    report: Report

    @property
    def finished(self) -> int:
        """The number of finished trials; one that a killed process left open does not count."""
        return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in self.study.trials)

    @property
    def best(self) -> optuna.trial.FrozenTrial:
        try:
            return self.study.best_trial
        except ValueError as error:
            raise Refusal("no trial finished", self.recipe.name, "Allow more trials") from error


def search(recipe: Recipe, training: Training, snapshot: Snapshot, trials: int, report: Report) -> Training:
    """The training with the best metric on the validation side, which neither evaluation nor test metrics use.

    Each trial is a nested run in MLflow. The epochs of the best trial are kept, so making a candidate of it trains
    nothing again. Raises Refusal if the recipe declares no space, or no trial finished.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if zoo.trainer(recipe, training):
        what = f"a search needs a network in Keras, and {recipe.train or training.family} is trained by a function"
        raise Refusal(what, recipe.name, "Run the loop without trials")
    space = _space(recipe, training)
    key, folder = _key(recipe, training, snapshot), settings().home / "training"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (folder / "searches").mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=key,
        storage=JournalStorage(JournalFileBackend(str(folder / "searches" / f"{key[:16]}.log"))),
        load_if_exists=True,
        direction="maximize" if recipe.answers.sign > 0 else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )
    this = _Search(recipe, training, snapshot, space, study, report)
    if this.finished < trials:
        inputs = training_inputs(recipe, training, snapshot, folder / "searches" / key[:16])
        with registry.open_run(recipe.name, key, f"search-{key[:8]}", {}, {"ratchet.search": ", ".join(space)}) as run:
            while (number := this.finished) < trials:
                # A new seed for every trial, since a sampler restarts with its seed in every call.
                study.sampler = optuna.samplers.TPESampler(seed=training.seed + len(study.trials))
                _trial(this, inputs, f"trial {number + 1}/{trials}")
            run.metrics({f"val_{recipe.answers.metric}": this.best.value or 0.0})
    best = this.best
    chosen = _with(training, best.params)
    for trial in study.trials:  # the candidate is made from the folder of the best one
        if (other := _with(training, trial.params)) != chosen:
            shutil.rmtree(candidates.folder(recipe, other, snapshot), ignore_errors=True)
    report(f"best of {trials}: {_describe(best.params)}, validation {recipe.answers.metric} {best.value:.4f}")
    return chosen


def _space(recipe: Recipe, training: Training) -> Space:
    """The parameters that are searched: for a warm start none that shapes the network, whose weights exist."""
    if not recipe.search_space:
        raise Refusal("the recipe declares no search space", recipe.name, "Add one: `search_space={...}`")
    warm = bool(training.initial_weights)
    space = {name: values for name, values in recipe.search_space.items() if name in _TRAINING_FIELDS or not warm}
    if not space:
        what = "the search space has only parameters of the network's shape, which a warm start cannot change"
        raise Refusal(what, recipe.name, "Search without a warm start")
    return space


def _key(recipe: Recipe, training: Training, snapshot: Snapshot) -> str:
    space = {
        name: asdict(values) if isinstance(values, Range) else values for name, values in recipe.search_space.items()
    }
    return memo.key("search", VERSION, candidate=candidates.key(recipe, training, snapshot), space=space)


def _trial(search: _Search, inputs: NetworkInputs, name: str) -> None:
    import optuna

    recipe, study = search.recipe, search.study
    trial = study.ask()
    parameters = {name: _suggest(trial, name, values) for name, values in search.space.items()}
    training = _with(search.training, parameters)
    metric, described = f"val_{recipe.answers.metric}", _describe(trial.params)
    with registry.nested(name, dict(trial.params)) as run:

        def on_epoch(number: int, metrics: Mapping[str, float]) -> None:
            run.metrics(metrics, number)
            trial.report(metrics[metric], number)
            if number < training.epochs and trial.should_prune():
                raise optuna.TrialPruned

        folder = candidates.folder(recipe, training, search.snapshot)
        try:
            sides = inputs.train, inputs.validation
            fitted = train.fit(recipe, training, *sides, folder, on_epoch, inputs.initial, inputs.sample_weights)
        except (optuna.TrialPruned, Refusal) as end:  # a refusal, such as a loss that is not finite, ends the trial
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            run.tag("ratchet.trial", str(end) if isinstance(end, Refusal) else "pruned")
            why = end.what if isinstance(end, Refusal) else "ended early, since it lags behind"
            search.report(f"{name}: {described}: {why}")
            return
        value = fitted.history[-1][metric]
        study.tell(trial, value)
        search.report(f"{name}: {described}: validation {recipe.answers.metric} {value:.4f}")


def _suggest(trial: optuna.Trial, name: str, values: Any) -> Any:
    if isinstance(values, tuple):
        return trial.suggest_categorical(name, values)
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(name, values.low, values.high, log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)


def _with(training: Training, parameters: Mapping[str, Any]) -> Training:
    own = {name: value for name, value in parameters.items() if name in _TRAINING_FIELDS}
    sizes = {name: value for name, value in parameters.items() if name not in _TRAINING_FIELDS}
    return replace(training, **own, parameters={**training.parameters, **sizes})


def _describe(parameters: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sorted(parameters.items())
    )
