"""The model card: one page that loads nothing from elsewhere, and shows every name as plain text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import charts, model_card
from ratchet.kinds.image import show as image_show
from ratchet.kinds.series import show as series_show
from ratchet.kinds.text import show as text_show
from ratchet.recipe import Recipe, ReleasePlan, Step
from ratchet.types import (
    Candidate,
    CardSources,
    Check,
    Drift,
    EvaluationReport,
    ExpectationResult,
    Package,
    Snapshot,
    SuiteResult,
    Variant,
)
from releases import event_codec, history
from releases.ledger import Entry
from releases.state import Baked, Event, Failed, Healthy, Passed, Promoted, Requested
from tests.pages import faults

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVQI12NgAAAAAgAB4iG8MwAAAABJRU5ErkJggg=="
)
numbers = st.floats(-1e6, 1e6)
EVIL = '<script>alert("x")</script>'


REGIONS = [{"region": [0, 3, 0, 3], "weight": 0.2}] * 2
EXPLANATIONS = [
    {"kind": "right", "input": PIXEL, "prediction": "yes (99 %)", "truth": "yes", "attributions": REGIONS},
    {"kind": "wrong", "input": EVIL, "prediction": EVIL, "truth": EVIL, "attributions": []},
]


def sources(recipe: Recipe, blessed: bool = True, name: str = "accuracy") -> CardSources:
    snapshot = Snapshot(recipe.name, 3, "f" * 64, 3000, ("batch-1",), dict.fromkeys(recipe.answers.classes, 300))
    history = tuple({"loss": 1 / n, "accuracy": 1 - 0.4 / n, "val_loss": 1.1 / n, "val_accuracy": 1 - 0.5 / n}
                    for n in (1, 2, 3))  # fmt: skip
    n = len(recipe.answers.classes)
    confusion = tuple(tuple(90 if row == column else 1 for column in range(n)) for row in range(n))
    candidate = Candidate(recipe.name, "7", "m-1", "run", "1", "cnn", "a" * 64, "b" * 64, snapshot, {"epochs": 3},
                          {"test_accuracy": 0.91}, 21.4, "c" * 40, "d" * 64, history, confusion)  # fmt: skip
    compared = "passed" if blessed else "failed"
    checks = (
        Check(name, 0.89, 0.88, "passed", "0.8900, at least 0.88", role="metric"),
        Check("no worse than the champion", 0.002, 0.01, compared, "+.002", -0.004, 0.008),
        Check("fairness", None, None, "skipped", "the recipe names no groups"),
    )
    why = "every check passed" if blessed else "no worse: failed"
    report = EvaluationReport(recipe.name, "7", "6", blessed, why, "e" * 64, checks)
    suite = SuiteResult(
        "batch-1", True, 3000, (ExpectationResult("ExpectX", "mean", True, "observed 3", "0..255"),), "docs"
    )
    variants = (Variant("fp32", "model.onnx", "b" * 64, 0.38, checks[0], 0.08, "host-a", packaged=True),
             Variant("int8", "", "", 0.0, Check("no worse than fp32", None, None, "error", name)))  # fmt: skip
    sibling = replace(candidate, version="6", parameters={"epochs": 3, "initial_weights": "9" * 64})
    drifted = (Drift(name, 0.3, 0.001, True), Drift("mean", 0.01, 0.8), Drift("few", 0.4))
    url = "http://127.0.0.1:5000/#/x"
    return CardSources(replace(candidate, variants=variants), report, (suite,), drifted, (sibling,), url)


AT_ONCE = ReleasePlan().with_strategy("all_at_once")
NEXT = Package("r", "8", "key 8", "r:v8-kk", "1" * 64, "p")


def entries(*after: Event) -> list[Entry]:
    """A release that failed at its half, as the ledger has it; or what came `after` the half."""
    old, new = (Package("r", v, f"key {v}", f"r:v{v}-kk", "1" * 64, "p") for v in ("6", "7"))
    half, at_once = ReleasePlan(steps=(Step(50),)), AT_ONCE
    failed = Check("failed", 0.2, 0.01, "failed", "20 of 100")
    events: list[Event] = [
        Requested(old, "release", "the first", True, ("h",), at_once, 60.0, 30.0),
        Healthy(1, {"h": 1.0}),
        Promoted(1, "6"),
        Requested(new, "release", "blessed candidate", False, ("h",), half, 60.0, 30.0),
        Healthy(2, {"h": 1.0}),
        *(after or (Failed(2, f"failed: {EVIL}", (failed,)),)),
    ]
    bodies = [event_codec.to_body(event) for event in events]
    return [Entry("r", n, 1000.0 + 30 * n, kind, "controller", body) for n, (kind, body) in enumerate(bodies, 1)]


class Page(HTMLParser):
    """What a browser would fetch or run, and whether every element is closed."""

    EMPTY = ("meta", "br", "line", "circle", "rect", "polyline", "image")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = [str(v) for k, v in attrs if k in ("src", "href", "data", "action", "xlink:href")]
        if tag != "a":  # a person follows it
            self.fetched += [v for v in named if not v.startswith("data:image/png;base64,") and v]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("blessed", [True, False])
@pytest.mark.parametrize("released", [True, False])
def test_the_page_needs_no_network_and_shows_everything(small: Recipe, blessed: bool, released: bool) -> None:
    card = model_card.to_data(small, sources(small, blessed), EXPLANATIONS)
    release = history.release(entries(), "7") if released else None
    page = Page(model_card.to_html(json.loads(json.dumps(card)), release))
    assert page.open == []
    assert page.fetched == []
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert ("blessed" if blessed else "rejected") in page.text
    for word in (
        small.purpose,
        "accuracy on the benchmark, which decides",
        "accuracy on the test side of its data",
        "f" * 64,
        "a" * 64,
        "b" * 64,
        "skipped",
        "batch-1",
        "0.91",
        "not tested",
        "host-a",
        "packaged",
        "ratchet reproduce small-fashion 7",
        *small.answers.classes,
    ):
        assert word in page.text
    assert ("rolled back" in page.text) == released
    assert ("1" * 64 in page.text) == released, "the bento's digest"


def test_a_first_release_says_that_there_was_nothing_to_share_and_draws_no_empty_box(small: Recipe) -> None:
    first = history.release(entries(), "6")
    events = [event for event in first["events"] if len(event["split"]["weights"]) < 2]
    page = Page(model_card.to_html(model_card.to_data(small, sources(small)), {**first, "events": events}))
    assert "there was nothing to share it with" in page.text
    both = Page(model_card.to_html(model_card.to_data(small, sources(small)), history.release(entries(), "7")))
    assert "there was nothing to share it with" not in both.text


def test_what_a_release_costs_at_most_is_in_the_page_and_in_the_markdown(small: Recipe) -> None:
    cost = "With probability 99%, this release costs at most 650 wrong answers"
    for shown in ("", cost):
        data = model_card.to_data(small, replace(sources(small), cost=shown))
        assert (cost in model_card.to_html(data)) == bool(shown)
        assert (cost in model_card.to_markdown(data)) == bool(shown)


def test_a_name_is_shown_and_never_run(small: Recipe) -> None:
    card = model_card.to_data(small, sources(small, name=EVIL), EXPLANATIONS)
    card["model"]["classes"] = [EVIL] * len(small.answers.classes)
    card["data"]["snapshot"]["labels"] = {EVIL: 3}
    page = Page(model_card.to_html(card, history.release(entries(), "7")))
    assert "script" not in page.tags
    assert EVIL in page.text


@given(st.text(max_size=80), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 20), numbers), max_size=9))
def test_a_text_is_shown_completely_whatever_its_attributions(text: str, drawn: list[tuple[int, int, float]]) -> None:
    at, parts = 0, []
    for gap, size, weight in drawn:
        start, stop = at + gap, at + gap + size
        if stop > len(text):
            break
        parts.append(((start, stop), weight))
        at = stop
    page = Page(str(text_show.attribution({}, text, parts)))
    assert page.open == []
    assert page.text.replace("\r", "\n") == text.replace("\r", "\n")


@pytest.mark.parametrize("kind", ["image", "text", "series"])
def test_the_page_is_complete_in_a_browser(kind: str, small: Recipe, tmp_path: Path) -> None:
    card = model_card.to_data(small, sources(small))
    card["model"]["contract"]["kind"] = kind
    series = json.dumps({"window": [1.0, 2.0, 3.0], "forecast": [4.0], "actual": [4.5]})
    inputs = {"image": PIXEL, "text": "a free prize " * 40 + "x" * 300, "series": series}
    regions = [[0, 14, 0, 14]] if kind == "image" else [[0, 2], [2, 3]]
    attributions = [{"region": region, "weight": 0.1} for region in regions]
    shown = {"kind": "right", "input": inputs[kind], "prediction": "yes", "truth": "", "attributions": attributions}
    card["explanations"] = [shown] * 8
    (tmp_path / "page.html").write_text(model_card.to_html(card, history.release(entries(), "7")))
    assert faults((tmp_path / "page.html").as_uri(), tmp_path) == []


def test_the_history_of_a_release_is_in_the_page_and_in_the_markdown(small: Recipe) -> None:
    card, release = model_card.to_data(small, sources(small)), history.release(entries(), "7")
    page, text = model_card.to_html(card, release), model_card.to_markdown(card, release)
    assert "v6-kk 50 %, v7-kk 50 %" in text
    assert "&lt;script>" in text
    assert "20 of 100" in page
    assert "1970-01-01 00:19:40" in page
    assert "# small-fashion, version 7: blessed, rolled back" in text
    assert "ends with the evaluation" in model_card.to_markdown(card)
    assert "not on trial yet" in model_card.to_markdown(card, history.release([], "7"))


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ([Passed(2, 0, ()), Promoted(2, "7")], "released"),
        ([Passed(2, 0, ()), Promoted(2, "7"), Failed(2, "it got worse"), Promoted(3, "6")], "rolled back"),
        ([Passed(2, 0, ()), Promoted(2, "7"), Baked(2, ()),
          Requested(NEXT, "release", "", True, ("h",), AT_ONCE, 9.0, 9.0), Healthy(3, {"h": 1.0}),
          Promoted(3, "8")], "replaced"),
    ],
)  # fmt: skip
def test_the_state_of_a_version_is_shown_whatever_came_after_it(more: list[Event], state: str) -> None:
    assert history.release(entries(*more), "7")["state"] == state


names = st.text("ab<>&\"'é", max_size=5)


def window(values: list[float], forecast: list[float], actual: list[float]) -> str:
    return json.dumps({"window": values, "forecast": forecast, "actual": actual})


@given(
    st.dictionaries(names, st.lists(numbers | st.just(math.nan), max_size=20), max_size=3), numbers, numbers, numbers
)
def test_charts_accept_any_values(series: dict[str, list[float]], a: float, b: float, c: float) -> None:
    low, value, high = sorted((a, b, c))
    moments = [(float(i), {name: 100.0}) for i, name in enumerate(series)]
    bins = [(abs(math.sin(v)), abs(math.cos(v)), n) for n, v in enumerate((a, b, c))]
    rows = [(name, value, low, high) for name in series]
    parts = [((n, n + 1), v) for n, v in enumerate((a, b, c))]
    finite = [v for s in series.values() for v in s if math.isfinite(v)]
    drawn = [
        charts.forest(rows, a), charts.forest(rows, None), series_show.attribution({}, window(finite, [a], [b]), parts),
        series_show.attribution({}, window([], [], []), []),
        image_show.attribution({"height": 4, "width": 5}, PIXEL, [((0, 1, 2, 3), a)]),
        charts.lines(series), charts.interval(value, low, high, a), charts.shares(moments, 50.0),
        charts.reliability(bins), charts.reliability([]), charts.bars({n: len(s) for n, s in series.items()}),
    ]  # fmt: skip
    for chart in drawn:
        assert Page(str(chart)).open == []
        assert "nan" not in chart
