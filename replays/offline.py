"""What would have happened with other settings: the same policy without a gateway, beside those of others."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from expectations import triggers, watch
from expectations.triggers import Past
from ratchet.types import Finding
from replays.backtest import Backtest, Model

DAY = 86400.0


@dataclass(frozen=True)
class Look:
    """What is known when it is decided whether a retraining starts."""

    at: float
    """Seconds since 1970."""
    model: Model
    """What serves."""
    since: float
    """When it began to."""
    sent: int
    """Records of the stream that were answered."""
    known: int
    """Labels that came back."""
    models: tuple[Model, ...]
    """All that were trained, the newest last."""


Policy = Callable[[Look], str]
"""Why a retraining starts; empty if none does."""


@dataclass(frozen=True)
class Retraining:
    at: float
    why: str
    released: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    policy: str
    ends: np.ndarray
    """The end of each period [P], in seconds since 1970."""
    answers: np.ndarray
    """In each period [P]."""
    wrong: np.ndarray
    """The sum of their losses [P]."""
    retrainings: tuple[Retraining, ...]

    @property
    def seconds(self) -> float:
        """Of CPU time in all trainings."""
        return sum(each.seconds for each in self.retrainings)


def simulate(backtest: Backtest, name: str, policy: Policy, looks: Sequence[float], gated: bool) -> Outcome:
    """Looks at these moments, the last of which is the end. `gated` says whether a candidate is evaluated first."""
    stream, model, since = backtest.stream, backtest.model(0), float(backtest.stream.at[0])
    labelled, trained, best = np.sort(stream.label_at), 0, model
    sent, answers, wrong, done, models = 0, list[int](), list[float](), list[Retraining](), [model]
    for at in looks:
        until = int(np.searchsorted(stream.at, at, side="left"))
        answers.append(until - sent)
        wrong.append(float(model.losses[sent:until].sum()))
        sent, known = until, int(np.searchsorted(labelled, at, side="right"))
        why = policy(Look(at, model, since, sent, known, tuple(models))) if known > trained else ""
        if not why:
            continue
        candidate, trained = backtest.model(known), known
        released = not gated or backtest.is_blessed(candidate, model, best)
        done.append(Retraining(at, why, released, candidate.seconds))
        models.append(candidate)
        if released:
            model, since = candidate, at
            best = min(best, model, key=lambda each: each.benchmark_loss)
    return Outcome(name, np.array(looks), np.array(answers), np.array(wrong), tuple(done))


def never(look: Look) -> str:
    return ""


def always(look: Look) -> str:
    """At every look at which a label has come."""
    return "it is time"


class Loop:
    """Ratchet's own policy: the watch of what serves, and the causes of a retraining with their hygiene."""

    def __init__(self, backtest: Backtest) -> None:
        self.backtest, self.past = backtest, list[Past]()

    def __call__(self, look: Look) -> str:
        recipe, now = self.backtest.recipe, look.at
        self._note_result(look)
        state = watch.watched(recipe.name, f"v{look.model.known}", look.model.promise, recipe.watch.tolerance,
                              self._served(look), (), look.since)  # fmt: skip
        waiting = look.known - look.models[-1].known
        possible = triggers.causes(state, recipe.watch, look.known, waiting, (), self.past)
        new = self._new(look, state.findings)
        for decision in triggers.decisions(recipe.name, recipe.watch, possible, self.past, new, now, "", look.since):
            if decision.start:
                cause = decision.cause
                self.past.append(Past(cause.id, cause.kind, now, now, run="offline", why=cause.why))
                return cause.why
        return ""

    def _note_result(self, look: Look) -> None:
        """A candidate that does not serve was rejected."""
        if self.past and self.past[-1].result is None:
            last, newest = self.past.pop(), look.models[-1]
            result = "released" if newest is look.model else "failed"
            ended = (last.started or 0.0) + newest.seconds
            self.past.append(Past(last.id, last.kind, last.at, last.started, ended, result, last.run, last.why, 1))

    def _served(self, look: Look) -> watch.Served:
        """Of the answers that the model gave, in the order in which their labels came."""
        stream, answers = self.backtest.stream, self.backtest.recipe.answers
        own = np.arange(int(np.searchsorted(stream.at, look.since, side="left")), look.sent)
        newest = own[-self.backtest.recipe.watch.window :]
        labelled = own[stream.label_at[own] <= look.at]
        labelled = labelled[np.argsort(stream.label_at[labelled], kind="stable")]
        losses = self.backtest.labelled_losses(look.model, labelled)
        return watch.Served(len(own), stream.at[newest], answers.certainty(look.model.outputs[newest]),
                            stream.at[labelled], losses, answers.certainty(look.model.outputs[labelled]))  # fmt: skip

    def _new(self, look: Look, findings: Sequence[Finding]) -> int:
        """Labelled records since what was noticed began."""
        since = min((finding.since for finding in findings), default=0.0)
        came = self.backtest.came(look.model.known, look.known)
        return int((self.backtest.stream.at[came] >= since).sum())


_WARM_UP, _CAUTION, _PRIOR = 3, 0.5, 1.0
"""Looks at which it retrains to have something to learn from; deviations below the mean; precision of the prior."""


class CostAware:
    """Retrains if that is expected to save more wrong answers than a retraining costs, with some certainty.

    After Regol and others, When to retrain a machine learning model, PMLR 267, 2025: the loss of each model on each
    later period is forecast with its uncertainty, from the time of training, the time of answering and the shift of the
    inputs; a quantile of the saving is compared with the cost. The forecast here is a Bayesian linear regression, and
    the shift is that of the first model's mean outputs.
    """

    def __init__(self, backtest: Backtest, looks: Sequence[float], cost: float, horizon: int = 8) -> None:
        self.backtest, self.looks, self.cost, self.horizon = backtest, np.array(looks), cost, horizon
        self.trained = {0: 0}
        """The number of the look at which a model was trained, by the labels that it knew."""
        bounds = np.searchsorted(backtest.stream.at, [backtest.stream.at[0], *looks], side="left")
        self.rows = [np.arange(start, stop) for start, stop in pairwise(bounds)]
        """Those of each period."""
        outputs = backtest.model(0).outputs
        self.means = [outputs[rows].mean(axis=0) if len(rows) else outputs.mean(axis=0) for rows in self.rows]

    def __call__(self, look: Look) -> str:
        number = int(np.searchsorted(self.looks, look.at))
        if number < _WARM_UP:
            self.trained[look.known] = number
            return "to learn what a retraining saves"
        saving = self._saving(look, number)
        if saving <= self.cost:
            return ""
        self.trained[look.known] = number
        return f"it saves {saving:.0f} wrong answers"

    def _saving(self, look: Look, number: int) -> float:
        """A quantile of the wrong answers that a retraining now saves within the horizon."""
        rows, losses = self._history(look, number)
        later = range(number + 1, min(number + 1 + self.horizon, len(self.looks)))
        if not len(rows) or not later:
            return -np.inf
        kept, new = self._shift(self.trained[look.model.known], number), 0.0  # the inputs stay as they are
        difference = np.sum(
            [_features(self.trained[look.model.known], at, kept) - _features(number, at, new) for at in later], axis=0
        )
        noise = float(np.var(losses - rows @ np.linalg.lstsq(rows, losses, rcond=None)[0]))
        noise = max(noise, 1e-6)  # of the few first looks a line explains everything
        precision = rows.T @ rows / noise + np.eye(rows.shape[1]) * _PRIOR
        mean = np.linalg.solve(precision, rows.T @ losses / noise)
        of_line = float(difference @ np.linalg.solve(precision, difference))
        deviation = math.sqrt(of_line + 2 * len(later) * noise)  # both models' losses vary around it
        per_period = look.sent / (number + 1)
        return per_period * (float(difference @ mean) - _CAUTION * deviation)

    def _shift(self, one: int, other: int) -> float:
        return float(np.abs(self.means[one] - self.means[other]).sum())

    def _history(self, look: Look, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The features and the mean loss of each model on the labelled answers of each period since its training."""
        rows, losses = list[np.ndarray](), list[float]()
        for model in look.models:
            trained = self.trained[model.known]
            for at in range(trained + (model.known > 0), number + 1):
                own = self.rows[at][self.backtest.stream.label_at[self.rows[at]] <= look.at]
                if len(own):
                    rows.append(_features(trained, at, self._shift(trained, at)))
                    losses.append(float(self.backtest.labelled_losses(model, own).mean()))
        return np.array(rows), np.array(losses)


def _features(trained: int, at: int, shift: float) -> np.ndarray:
    return np.array([1.0, trained / 10, at / 10, shift])
