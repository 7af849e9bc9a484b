"""The model card, the one document of a version: as data, as a page and as Markdown. It reads only its template.

The data ends with the evaluation and travels in the bento; page and Markdown also show the release, and grow with
it. After Mitchell and others, Model Cards for Model Reporting, 2019 (arXiv:1810.03993).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ratchet import charts
from ratchet.kinds import parts
from ratchet.recipe import Recipe
from ratchet.types import Candidate, CardSources, Split, from_json, to_json

FORMAT = 1
DATA, PAGE = "model_card.json", "model_card.html"
"""Its names among a version's artifacts in MLflow, and in the bento."""
_NO_RELEASE = "This copy ends with the evaluation; `ratchet card RECIPE VERSION` shows the release, too."
_TEMPLATE = Path(__file__).with_name("model_card.html")
Card = Mapping[str, Any]


def to_data(recipe: Recipe, sources: CardSources, explanations: Sequence[Card] = ()) -> dict[str, Any]:
    """The card's data: what the model is for, its data, its training, and every check of its evaluation.

    `explanations` are some predictions, each with its kind, the rendered input, the prediction, the truth and the
    attributions.
    """
    candidate = sources.candidate
    identity = {"recipe": recipe.name, "recipe_version": recipe.version, "version": candidate.version}
    task = {"task": recipe.answers.to_json(), "classes": list(recipe.answers.classes)}
    inputs = {**task, "contract": recipe.contract.to_json()}
    model = {**identity, "purpose": recipe.purpose, **inputs}
    training = {**to_json(candidate), "siblings": []}
    variants, snapshot = training.pop("variants"), training.pop("snapshot")
    if sources.siblings:
        training["siblings"] = [_sibling(each) for each in (candidate, *sources.siblings)]
    suites, drift = ([to_json(each) for each in results] for results in (sources.suites, sources.drift))
    return {
        "format": FORMAT,
        "model": model,
        "data": {"snapshot": snapshot, "suites": suites, "drift": drift},
        "training": training,
        "variants": variants,
        "evaluation": to_json(sources.report),
        "explanations": [dict(explanation) for explanation in explanations],
        "mlflow_url": sources.mlflow_url,
        "prefect_url": sources.prefect_url,
        "cost": sources.cost,
        "what_if": sources.what_if,
        "metric": sources.report.metric,
    }


def _sibling(candidate: Candidate) -> dict[str, Any]:
    """One of several candidates with the same data and parameters: its initial weights, its first loss, its metrics."""
    first = candidate.history[0] if candidate.history else {}
    return {
        "version": candidate.version,
        "initial_weights": str(candidate.parameters.get("initial_weights", "")),
        "first_loss": first.get("val_loss"),
        "seconds": candidate.seconds,
        "test": {name: value for name, value in candidate.metrics.items() if name.startswith("test_")},
    }


def to_html(card: Card, release: Card | None = None) -> str:
    """One HTML page that loads nothing from elsewhere. `release` is the history of the version's releases."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(time=_time, number=_number)
    history = _history(release)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        d=card, r=history, safe=_charts(card, history)
    )


def to_markdown(card: Card, release: Card | None = None) -> str:
    """The card in short, for places that show Markdown."""
    history = _history(release)
    model, snapshot = card["model"], card["data"]["snapshot"]
    training, evaluation = card["training"], card["evaluation"]
    state = f", {history['state']}" if history["state"] else ""
    checks = [
        f"| {c['outcome']} | {_cell(c['name'])} | {_number(c['value'])} | {_number(c['threshold'])} "
        f"| {_cell(c['detail'])} |"
        for c in evaluation["checks"]
    ]
    events = [
        f"| {_time(e['at'])} | {e['event']} | {_cell(e['who'])} | {_cell(e['traffic'])} | {_cell(e['why'])} |"
        for e in history["events"]
    ]
    release_table = ["| when | event | who | traffic | why |", "| --- | --- | --- | --- | --- |", *events]
    metrics = {name: value for name, value in training["metrics"].items() if name.startswith("test_")}
    tested = ", ".join(
        f"{name[5:].replace('_', ' ')} {_number(value)} on the test side" for name, value in metrics.items()
    )
    lines = [
        f"# {model['recipe']}, version {model['version']}: {'blessed' if evaluation['blessed'] else 'rejected'}{state}",
        "",
        model["purpose"],
        "",
        f"**Evaluation.** {evaluation['why']}",
        "",
        *([f"**Cost.** {card['cost']}", ""] if card.get("cost") else []),
        "| outcome | check | value | threshold | detail |",
        "| --- | --- | --- | --- | --- |",
        *checks,
        "",
        f"**Data.** {snapshot['records']:,} records of {len(snapshot['batches'])} batches, snapshot "
        f"`{snapshot['fingerprint'][:16]}`.",
        "",
        f"**Training.** {training['family']}, {training['seconds']:.0f} s, {tested}, weights "
        f"`{training['weights'][:16]}`.",
        "",
        *_variants(card["variants"]),
        f"**Reproduce.** `ratchet reproduce {model['recipe']} {model['version']}` trains it again and compares.",
        "",
        "**Release.**",
        "",
        *(release_table if events else [history["note"]]),
        "",
    ]
    return "\n".join(lines)


def _variants(variants: Sequence[Card]) -> list[str]:
    rows = []
    for variant in variants:
        name, check = variant["name"] + (" (packaged)" if variant["packaged"] else ""), variant["check"]
        figures = f"{_number(variant['latency_ms'])} | {_number(variant['size_mb'])}"
        compared = f"{check['outcome']}: {_cell(check['detail'])}"
        rows.append(f"| {name} | {figures} | {compared} | {_cell(variant['measured_on'])} |")
    head = ["| variant | latency, ms | MB | compared with fp32 | measured on |", "| --- | --- | --- | --- | --- |"]
    return ["**Variants.**", "", *head, *rows, ""] if rows else []


def _history(release: Card | None) -> dict[str, Any]:
    """The release's events, each with every field that is shown, and what became of the version."""
    events = [{"why": "", "checks": [], **event} for event in (release or {}).get("events", ())]
    packages = [event["package"] for event in events if "package" in event]
    return {
        "events": [{**event, "traffic": str(from_json(Split, event["split"]))} for event in events],
        "package": packages[-1] if packages else None,
        "state": (release or {}).get("state", ""),
        "note": _NO_RELEASE if release is None else "It has not been on trial yet.",
    }


def _charts(card: Card, history: Card) -> dict[str, Any]:
    evaluation, training = card["evaluation"], card["training"]
    labels = card["data"]["snapshot"]["labels"]
    moments = [(event["at"], event["split"]["weights"]) for event in history["events"]]
    slices = [check for check in evaluation["checks"] if check["role"] == "slice"]
    classes = card["model"]["classes"]
    return {
        "slices": slices,
        "forest": _forest(slices),
        "explanations": [(e, _explanation(card["model"]["contract"], e)) for e in card["explanations"]],
        "curves": _curves(training["history"]),
        "confusion": charts.matrix(training["confusion"], classes) if training["confusion"] else "",
        "reliability": charts.reliability(evaluation["reliability"]) if evaluation["reliability"] else "",
        "labels": charts.bars(labels) if labels else "",
        "shares": charts.shares(moments, moments[-1][0] + 1) if len({str(w) for _, w in moments if w}) > 1 else "",
        "revisions": list(dict.fromkeys(revision for _, weights in moments for revision in weights)),
        "intervals": {
            c["name"]: charts.interval(c["value"], c["low"], c["high"], c["threshold"])
            for c in evaluation["checks"]
            if c["role"] != "slice" and None not in (c["value"], c["low"], c["high"], c["threshold"])
        },
    }


def _forest(slices: Sequence[Card]) -> str:
    measured = [check for check in slices if check["low"] is not None]
    if not measured:
        return ""
    thresholds = {check["threshold"] for check in measured}
    rows = [(check["name"], check["value"], check["low"], check["high"]) for check in measured]
    return charts.forest(rows, thresholds.pop() if len(thresholds) == 1 else None)


def _curves(history: Sequence[Card]) -> dict[str, Any]:
    return {
        name: charts.lines(
            {"training": [epoch[name] for epoch in history], "validation": [epoch[f"val_{name}"] for epoch in history]}
        )
        for name in charts.curve_names(history)
    }


def _explanation(contract: Card, explanation: Card) -> Any:
    """The attribution of a prediction, drawn for its kind of input."""
    weighted = [(part["region"], part["weight"]) for part in explanation["attributions"]]
    return parts.show(contract["kind"]).attribution(contract, explanation["input"], weighted)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _number(value: float | int | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _cell(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
