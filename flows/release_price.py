"""Says before a release what it costs at most, from what callers sent and when labels came back."""

from ratchet.lake import served
from ratchet.recipe import Recipe, ReleasePlan
from ratchet.types import Watched, from_json
from releases import api
from releases.price import Price, Traffic, price


def sentence(recipe: Recipe, plan: ReleasePlan) -> str:
    """Empty for a first release, and where nobody has sent anything yet."""
    ledger = api.open_ledger()
    sent, status = served.traffic(recipe), ledger.statuses("watch").get(recipe.name)
    if sent is None or status is None or api.state_of(recipe.name, ledger).champion is None:
        return ""
    watched = from_json(Watched, status.body)
    wrong = watched.measured.loss if watched.measured else watched.promised
    label_seconds = sent.label_seconds if recipe.answers.classes else None  # other answers are not right or wrong
    traffic = Traffic(sent.rate, label_seconds, wrong, sent.labelled)
    return _sentence(price(plan, traffic), traffic)


def _sentence(bound: Price, traffic: Traffic) -> str:
    sent = f"callers send {traffic.rate:.3g} requests a second"
    if not bound.by_labels or traffic.label_seconds is None:
        return f"This release costs at most {bound.exposed} wrong answers: {sent}, and no label comes in time."
    labels = f"{traffic.labelled:.0%} of the answers get a label within {traffic.label_seconds:.0f} s"
    most = f"at most {bound.wrong} wrong answers beyond the champion's, of {bound.exposed} that it gives"
    return f"With probability {bound.sure:.0%}, this release costs {most}: {sent}, and {labels}."
