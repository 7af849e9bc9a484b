"""Says before a release what it costs at most, from what callers sent and when labels came back."""

from ratchet.errors import Refusal
from ratchet.lake import served
from ratchet.recipe import Recipe, ReleasePlan
from ratchet.types import Package, Watched, from_json
from releases import api, evidence
from releases.price import Price, Traffic, price, uncertainty


def sentence(recipe: Recipe, plan: ReleasePlan) -> str:
    """Empty for a first release, and where nobody has sent anything yet."""
    sent, champion = served.traffic(recipe), api.state_of(recipe.name).champion
    if sent is None or champion is None:
        return ""
    if not recipe.answers.classes:
        return f"{_exposed(price(plan, Traffic(sent.rate, None, (0.0, 1.0))), sent.rate)} Labels end no release of it."
    traffic = Traffic(sent.rate, sent.label_seconds, _wrong(recipe, plan, champion), sent.labelled)
    return in_words(price(plan, traffic), traffic)


def _wrong(recipe: Recipe, plan: ReleasePlan, champion: Package) -> tuple[float, float]:
    """The interval of the champion's share of wrong answers: by labels of what it serves, else by its benchmark."""
    from models import promise

    status = api.open_ledger().statuses("watch").get(recipe.name)
    watched = from_json(Watched, status.body) if status else None
    level = watched.measured if watched and watched.revision == champion.revision else None
    try:
        known = level or promise.of(recipe, champion)
    except Refusal:  # nobody has the champion's package any more
        return 0.0, 1.0
    return evidence.interval(round(known.loss * known.records), known.records, uncertainty(plan))


def in_words(bound: Price, traffic: Traffic) -> str:
    """What a release costs at most, and what that supposes."""
    if not bound.by_labels or traffic.label_seconds is None:
        return f"{_exposed(bound, traffic.rate)} No label comes in time to end it."
    low, high = (100 * wrong for wrong in traffic.wrong)
    return (
        f"With probability {bound.confidence:.0%}, this release costs at most {bound.wrong:,} wrong answers beyond the "
        f"champion's, of {bound.exposed:,} that callers get from the new version until its bake time ends, as long as "
        f"{_sent(traffic.rate)}, {traffic.labelled:.0%} get a label within {traffic.label_seconds:.0f} s, and the "
        f"champion is wrong in {low:.1f} % to {high:.1f} % of them."
    )


def _exposed(bound: Price, rate: float) -> str:
    return (
        f"Callers get at most {bound.exposed:,} answers from the new version until its bake time ends, as long as "
        f"{_sent(rate)}, and all of them may be wrong."
    )


def _sent(rate: float) -> str:
    return f"callers get {rate:.3g} answers a second" if rate != 1 else "callers get one answer a second"
