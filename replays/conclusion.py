"""What a replay showed, in sentences: how soon a change was noticed, what it was called, and what cured it. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from replays.play import Period, Replay

_EFFECTS = ("harmful", "unknown", "benign")
"""The worst first."""


def sentences(replay: Replay) -> Iterator[str]:
    """One for each thing that a person did, and one or two on what the loop did."""
    yield from (period.acted for period in replay.periods if period.acted)
    if not replay.changes:
        yield f"{_retrainings(replay.periods)} in {len(replay.periods)} periods"
        return
    effects = [_new_effects(replay.periods, number) for number in range(len(replay.periods))]
    after = [number for number, period in enumerate(replay.periods) if period.ends > replay.changes]
    noticed = next((number for number in after if effects[number]), None)
    if noticed is None:
        yield f"the change was not noticed within {_sent(replay, after[-1])} requests"
        return
    called = _called(replay.periods[noticed], effects[noticed])
    yield f"the change was noticed within {_sent(replay, noticed)} requests, and called {called}"
    yield _cured(replay.periods[noticed:])


def _retrainings(periods: Sequence[Period]) -> str:
    runs = [run for period in periods for run in period.started]
    released = sum(run.endswith("released") for run in runs)
    match len(runs):
        case 0:
            return "no retraining"
        case 1:
            return f"one retraining, {'released' if released else 'not released'},"
    return f"{len(runs)} retrainings, {released} of them released,"


def _new_effects(periods: Sequence[Period], number: int) -> set[str]:
    """Those of what was noticed in this period and in none before it."""
    before = {(seen.tier, seen.effect, seen.subject) for period in periods[:number] for seen in period.findings}
    return {seen.effect for seen in periods[number].findings if (seen.tier, seen.effect, seen.subject) not in before}


def _sent(replay: Replay, number: int) -> int:
    """Requests from the change to the end of this period."""
    ends = [period.ends for period in replay.periods]
    length = min((later - earlier for earlier, later in pairwise(ends)), default=1.0)
    total = 0.0
    for begins, period in zip([ends[0] - length, *ends], replay.periods[: number + 1], strict=False):
        share = (period.ends - max(replay.changes, begins)) / (period.ends - begins)
        total += period.answered * max(share, 0.0)
    return round(total)


def _called(period: Period, effects: set[str]) -> str:
    """The worst of these effects, and whether it was right."""
    effect, loss = next(effect for effect in _EFFECTS if effect in effects), _loss([period])
    truth = "harmful" if loss > period.limit else "benign"
    right = "" if effect == "unknown" else ", rightly" if effect == truth else ", wrongly"
    return f"{effect}{right} (the loss was {loss:.3f}, and the limit {period.limit:.3f})"


def _loss(periods: Sequence[Period]) -> float:
    """Of the answers of these periods, by their true labels."""
    return sum(period.wrong for period in periods) / max(sum(period.answered for period in periods), 1)


def _cured(periods: Sequence[Period]) -> str:
    """What became of the loss by the retrainings since the first of these periods, in which the change was noticed."""
    started = f"it started {_retrainings(periods).rstrip(',')}"
    released = (at for at, period in enumerate(periods) if any(run.endswith("released") for run in period.started))
    later = periods[next(released, len(periods)) + 1 :]
    if not later:
        return started
    return f"{started}; after the first release the loss was {_loss(later):.3f} instead of {_loss(periods[:1]):.3f}"
