"""What a replay showed, in sentences: how soon a change was noticed, what it was called, and what cured it. Pure."""

from collections.abc import Iterator, Sequence

from replays.play import EFFECTS, Period, Replay, Started


def sentences(replay: Replay) -> Iterator[str]:
    """What people did, what the loop did, and for a change how soon it was noticed and what became of the loss."""
    periods, changes = replay.periods, replay.changes
    yield from (f"{period.acted.what}: {period.acted.outcome}" for period in periods if period.acted)
    if not changes:
        yield f"in {len(periods)} periods the loop started {retrainings(replay.started)}"
    else:
        before = [period for period in periods if period.ends <= changes]
        yield f"before the change the loop started {retrainings([run for each in before for run in each.started])}"
        yield from _after(periods[len(before) :], before[-1] if before else None, changes)
    yield from dict.fromkeys(f"a retraining was not released: {run.why}" for run in replay.started if run.why)
    yield from (
        f"version {period.champion} was brought back"
        for period in periods
        if period.champion != period.served and not any(run.released for run in period.started)
    )


def retrainings(runs: Sequence[Started]) -> str:
    released = sum(run.released for run in runs)
    match len(runs):
        case 0:
            return "no retraining"
        case 1:
            return f"one retraining, which {'released a version' if released else 'released nothing'}"
    return f"{len(runs)} retrainings, {released} of which released a version"


def _after(periods: Sequence[Period], before: Period | None, changes: float) -> Iterator[str]:
    """What became of the change in the periods that end after it."""
    new = [_new_effect(period, before) for period in periods]
    noticed = next((number for number, effect in enumerate(new) if effect), None)
    if noticed is None:
        yield f"the change was not noticed within {_answers(periods, changes)} answers"
    else:
        answers, looks = _answers(periods[: noticed + 1], changes), noticed + 1
        when = "at the first look" if looks == 1 else f"at look {looks} after it"
        yield f"the change was noticed within {answers} answers, {when}, and called {new[noticed]}"
        harmful = next((number for number, effect in enumerate(new) if effect == "harmful"), noticed)
        if harmful != noticed:
            yield f"it was called harmful within {_answers(periods[: harmful + 1], changes)} answers"
    whole = [period for period in periods if period.begins >= changes]
    yield f"after the change the loop started {retrainings([run for each in periods for run in each.started])}"
    released = next((period.ends for period in periods if any(run.released for run in period.started)), None)
    without = [period for period in whole if released is None or period.ends <= released]
    if without:
        limit = without[0].limit
        until = "the loss was" if released is None else "until the first release the loss was"
        yield f"{until} {_loss(without):.3f}" + (f", and its limit {limit:.3f}" if limit is not None else "")
    if later := [period for period in whole if released is not None and period.begins >= released]:
        yield f"after the first release the loss was {_loss(later):.3f}"


def _new_effect(period: Period, before: Period | None) -> str:
    """The worst effect of what the period before the change had not, or not as bad; empty if there is none."""
    known = {(seen.tier, seen.subject): EFFECTS.index(seen.effect) for seen in (before.findings if before else ())}
    worse = [
        EFFECTS.index(seen.effect)
        for seen in period.findings
        if EFFECTS.index(seen.effect) < known.get((seen.tier, seen.subject), len(EFFECTS))
    ]
    return EFFECTS[min(worse)] if worse else ""


def _answers(periods: Sequence[Period], changes: float) -> int:
    """Answers since the change, if they came evenly within each period."""
    shares = ((period.ends - max(changes, period.begins)) / (period.ends - period.begins) for period in periods)
    return round(sum(share * period.answered for share, period in zip(shares, periods, strict=True)))


def _loss(periods: Sequence[Period]) -> float:
    """Of the answers of these periods, by their true labels."""
    return sum(period.wrong for period in periods) / max(sum(period.answered for period in periods), 1)
