"""The one document of a version: as plain data, as a page and as Markdown. Pure renderers over words.

The data reaches up to the verdict and travels in the bento; page and Markdown also tell of the release, and
grow with it. After Mitchell and others, Model Cards for Model Reporting, 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ratchet import charts
from ratchet.recipe import Recipe
from ratchet.words import Candidate, Lineage, to_json

FORMAT = 4
"""1 had neither curves nor a confusion matrix, 2 no vocabulary and no reliability, 3 no forms and no drift."""
DATA, PAGE = "dossier.json", "dossier.html"
"""Its names among a version's artifacts in MLflow, and in the bento."""
_UNTOLD = "This copy reaches up to the verdict; `ratchet dossier RECIPE VERSION` tells of the release, too."
_TEMPLATE = Path(__file__).with_name("dossier.html")


def render(recipe: Recipe, lineage: Lineage, explained: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What the model is for, its data, its training and the verdict check by check.

    `explained` are some answers, each with its kind, what is shown, the answer, the truth and the parts.
    """
    candidate, verdict = lineage.candidate, lineage.verdict
    return {
        "format": FORMAT,
        "model": {"recipe": recipe.name, "recipe_version": recipe.version, "version": candidate.version,
                  "purpose": recipe.purpose, "classes": list(recipe.classes), "contract": recipe.contract.to_json()},
        "data": {"snapshot": to_json(candidate.snapshot), "suites": [to_json(s) for s in lineage.suites],
                 "drift": [to_json(d) for d in lineage.drift]},
        "training": {"family": candidate.family, "parameters": dict(candidate.parameters),
                     "metrics": dict(candidate.metrics), "history": [dict(h) for h in candidate.history],
                     "confusion": [list(row) for row in candidate.confusion],
                     "seconds": candidate.seconds, "run": candidate.run_id,
                     "weights_sha256": candidate.weights, "onnx_sha256": candidate.onnx,
                     "vocabulary_sha256": candidate.vocabulary, "machine": candidate.machine,
                     "twins": [_twin(c) for c in (candidate, *lineage.twins)] if lineage.twins else [],
                     "commit": candidate.commit, "lock_sha256": candidate.lock},
        "variants": [to_json(v) for v in candidate.variants],
        "verdict": to_json(verdict), "explained": [dict(e) for e in explained],
        "whole": lineage.whole,
    }  # fmt: skip


def _twin(candidate: Candidate) -> dict[str, Any]:
    """One of several of the same data and parameters: where it began, how it began and how it ended."""
    first = candidate.history[0] if candidate.history else {}
    return {"version": candidate.version, "start": str(candidate.parameters.get("start", "")),
            "first_loss": first.get("val_loss"), "seconds": candidate.seconds,
            "test": {k: v for k, v in candidate.metrics.items() if k.startswith("test_")}}  # fmt: skip


def page(dossier: Mapping[str, Any], release: Mapping[str, Any] | None = None) -> str:
    """One HTML page with nothing from elsewhere. `release` is the record of the version's releases so far."""
    import jinja2

    made = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters.update(time=_time, figure=_figure)
    d, r = _grown(dossier), _told(release)
    return made.from_string(_TEMPLATE.read_text()).render(d=d, r=r, safe=_charts(d, r))


def markdown(dossier: Mapping[str, Any], release: Mapping[str, Any] | None = None) -> str:
    """The same in short, for where Markdown is shown."""
    d, r = _grown(dossier), _told(release)
    model, snapshot, training, verdict = d["model"], d["data"]["snapshot"], d["training"], d["verdict"]
    said = "blessed" if verdict["blessed"] else "not blessed"
    checks = [
        f"| {c['outcome']} | {_cell(c['name'])} | {_figure(c['figure'])} | {_figure(c['threshold'])} "
        f"| {_cell(c['detail'])} |"
        for c in verdict["checks"]
    ]
    events = [f"| {_time(e['at'])} | {e['event']} | {_cell(e['who'])} | {_cell(e['traffic'])} | {_cell(e['why'])} |"
              for e in r["events"]]  # fmt: skip
    table = ["| when | what | who | traffic | why |", "| --- | --- | --- | --- | --- |", *events]
    return "\n".join([
        f"# {model['recipe']}, version {model['version']}: {said}" + (f", {r['state']}" if r["state"] else ""), "",
        model["purpose"], "",
        f"**Verdict.** {verdict['why']}", "",
        "| outcome | check | figure | threshold | detail |", "| --- | --- | --- | --- | --- |", *checks, "",
        f"**Data.** {snapshot['records']:,} records of {len(snapshot['batches'])} batches, snapshot "
        f"`{snapshot['fingerprint'][:16]}`.", "",
        f"**Training.** {training['family']}, {training['seconds']:.0f} s, {_tested(training)}, weights "
        f"`{training['weights_sha256'][:16]}`.", "",
        *_variants(d["variants"]),
        f"**Again.** `ratchet reproduce {model['recipe']} {model['version']}` trains it anew and compares.", "",
        "**Release.**", "", *(table if events else [r["untold"]]), "",
    ])  # fmt: skip


def _variants(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for v in variants:
        name, check = f"{v['name']} (packaged)" if v["packaged"] else v["name"], v["check"]
        figures = f"{_figure(v['milliseconds'])} | {_figure(v['megabytes'])}"
        rows.append(f"| {name} | {figures} | {check['outcome']}: {_cell(check['detail'])} | {_cell(v['where'])} |")
    head = ["| form | one answer, ms | MB | held against fp32 | measured on |", "| --- | --- | --- | --- | --- |"]
    return ["**Forms.**", "", *head, *rows, ""] if rows else []


def _grown(dossier: Mapping[str, Any]) -> Mapping[str, Any]:
    """What earlier formats wrote, as of today."""
    verdict = {"reliability": [], **dossier["verdict"]}
    data = {"drift": [], **dossier["data"]}
    training = {"history": [], "confusion": [], "vocabulary_sha256": "", "machine": "", "twins": []}
    training |= dossier["training"]
    model = {**dossier["model"], "contract": {"kind": "image", **dossier["model"]["contract"]}}
    more = {"model": model, "training": training, "verdict": verdict, "data": data}
    return {"variants": [], "explained": [], "whole": "", **dossier, **more}


def _tested(training: Mapping[str, Any]) -> str:
    """Its figures on the test side."""
    found = {k: v for k, v in training["metrics"].items() if k.startswith("test_")}
    return ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in found.items())


def _told(release: Mapping[str, Any] | None) -> dict[str, Any]:
    """The release's events, each with every field that is shown; and what became of it."""
    events = [{"why": "", "checks": [], **e} for e in (release or {}).get("events", ())]
    packages = [e["package"] for e in events if "package" in e]
    return {"events": [{**e, "traffic": _traffic(e)} for e in events], "package": packages[-1] if packages else None,
            "state": (release or {}).get("state", ""),
            "untold": _UNTOLD if release is None else "It was not on trial yet."}  # fmt: skip


def _traffic(event: Mapping[str, Any]) -> str:
    split = event["split"]
    told = ", ".join(f"{arm} {weight} %" for arm, weight in split["weights"].items())
    return told + (f", {split['percent']} % mirrored to {split['mirror']}" if split["mirror"] else "")


def _charts(d: Mapping[str, Any], r: Mapping[str, Any]) -> dict[str, Any]:
    training, history = d["training"], d["training"]["history"]
    names = sorted((n for n in (history[0] if history else ()) if f"val_{n}" in history[0]), reverse=True)
    if "mean_squared_error" in names:  # it is the loss
        names.remove("loss")
    curves = {n: {"training": [h[n] for h in history], "validation": [h[f"val_{n}"] for h in history]} for n in names}
    moments = [(e["at"], e["split"]["weights"]) for e in r["events"]]
    arms = list(dict.fromkeys(arm for _, weights in moments for arm in weights))
    matrix = training["confusion"]
    slices = [c for c in d["verdict"]["checks"] if c["name"].startswith("on ") and c.get("low") is not None]
    limits = {c["threshold"] for c in slices}
    return {
        "parts": [c["name"] for c in d["verdict"]["checks"] if c["name"].startswith("on ")],
        "slices": charts.forest(
            [(c["name"][3:], c["figure"], c["low"], c["high"]) for c in slices],
            limits.pop() if len(limits) == 1 else None,
        )
        if slices
        else "",
        "explained": [(e, _explained(d["model"]["contract"], e)) for e in d["explained"]],
        "curves": {name: charts.lines(series) for name, series in curves.items()},
        "confusion": charts.matrix(matrix, d["model"]["classes"]) if matrix else "",
        "reliability": charts.reliability(d["verdict"]["reliability"]) if d["verdict"]["reliability"] else "",
        "labels": charts.bars(d["data"]["snapshot"]["labels"]) if d["data"]["snapshot"]["labels"] else "",
        "shares": charts.shares(moments, moments[-1][0] + 1 if moments else 0.0),
        "arms": arms,
        "intervals": {
            c["name"]: charts.interval(c["figure"], c["low"], c["high"], c["threshold"])
            for c in d["verdict"]["checks"]
            if not c["name"].startswith("on ")
            if None not in (c["figure"], c.get("low"), c.get("high"), c["threshold"])
        },
    }


def _explained(contract: Mapping[str, Any], told: Mapping[str, Any]) -> Any:
    """What carried an answer, as that kind of input is looked at."""
    parts = [(part["at"], part["weight"]) for part in told["parts"]]
    match contract["kind"]:
        case "text":
            return charts.marked(told["shown"], parts)
        case "series":
            series = json.loads(told["shown"])
            return charts.foretold(series["window"], series["forecast"], series["came"], parts)
    return charts.carried(told["shown"], contract["height"], contract["width"], parts)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _figure(value: float | int | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _cell(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
