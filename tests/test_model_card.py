"""The dossier: one page with nothing from elsewhere, and nothing in it that a name could smuggle in."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import charts
from ratchet.recipe import Recipe, ReleasePlan, Step
from ratchet.types import (
    Candidate,
    Check,
    Drift,
    EvaluationReport,
    ExpectationResult,
    Lineage,
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


PARTS = [{"at": [0, 3, 0, 3], "weight": 0.2}] * 2
EXPLAINED = [{"kind": "right", "shown": PIXEL, "answer": "yes (99 %)", "truth": "yes", "parts": PARTS},
             {"kind": "wrong", "shown": EVIL, "answer": EVIL, "truth": EVIL, "parts": []}]  # fmt: skip


def lineage(recipe: Recipe, blessed: bool = True, name: str = "accuracy") -> Lineage:
    snapshot = Snapshot(recipe.name, 3, "f" * 64, 3000, ("batch-1",), dict.fromkeys(recipe.classes, 300))
    history = tuple({"loss": 1 / n, "accuracy": 1 - 0.4 / n, "val_loss": 1.1 / n, "val_accuracy": 1 - 0.5 / n}
                    for n in (1, 2, 3))  # fmt: skip
    n = len(recipe.classes)
    confusion = tuple(tuple(90 if row == column else 1 for column in range(n)) for row in range(n))
    candidate = Candidate(recipe.name, "7", "m-1", "run", "cnn", "a" * 64, "b" * 64, snapshot, {"epochs": 3},
                          {"test_accuracy": 0.91}, 21.4, "c" * 40, "d" * 64, history, confusion)  # fmt: skip
    checks = (Check(name, 0.89, 0.88, "passed", "0.8900, at least 0.88"),
              Check("no worse than the champion", 0.002, -0.01, "passed" if blessed else "failed", "+.002", -0.004, 0.008),
              Check("fairness", None, None, "skipped", "the recipe names no groups"))  # fmt: skip
    verdict = EvaluationReport(recipe.name, "7", "6", blessed, "every check passed" if blessed else "no worse: fail", "e" * 64,
                      checks)  # fmt: skip
    suite = SuiteResult(
        "batch-1", True, 3000, (ExpectationResult("ExpectX", "mean", True, "observed 3", "0..255"),), "docs"
    )
    forms = (Variant("fp32", "model.onnx", "b" * 64, 0.38, checks[0], 0.08, "host-a", packaged=True),
             Variant("int8", "", "", 0.0, Check("no worse than fp32", None, None, "error", name)))  # fmt: skip
    twin = replace(candidate, version="6", parameters={"epochs": 3, "start": "9" * 64})
    drifted = (Drift(name, 0.3), Drift("mean", 0.01))
    whole = "http://127.0.0.1:5000/#/x"
    return Lineage(replace(candidate, variants=forms), verdict, (suite,), drifted, (twin,), whole)


AT_ONCE = ReleasePlan().with_strategy("all_at_once")
NEXT = Package("r", "8", "key 8", "r:v8-kk", "1" * 64, "p")


def entries(*after: Event) -> list[Entry]:
    """A release that failed at its half, as the ledger has it; or what came `after` the half."""
    old, new = (Package("r", v, f"key {v}", f"r:v{v}-kk", "1" * 64, "p") for v in ("6", "7"))
    half, at_once = ReleasePlan(steps=(Step(50),)), AT_ONCE
    failed = Check("failed", 0.2, 0.01, "failed", "20 of 100")
    told: list[Event] = [
        Requested(old, "release", "the first", True, ("h",), at_once, 60.0, 30.0),
        Healthy(1, {"h": 1.0}),
        Promoted(1, "6"),
        Requested(new, "release", "blessed candidate", False, ("h",), half, 60.0, 30.0),
        Healthy(2, {"h": 1.0}),
        *(after or (Failed(2, f"failed: {EVIL}", (failed,)),)),
    ]
    bodies = [event_codec.to_body(event) for event in told]
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
def test_the_page_asks_nothing_of_the_network_and_tells_all(small: Recipe, blessed: bool, released: bool) -> None:
    told = model_card.render(small, lineage(small, blessed), EXPLAINED)
    release = history.release(entries(), "7") if released else None
    page = Page(model_card.page(json.loads(json.dumps(told)), release))
    assert page.open == []
    assert page.fetched == []
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert ("blessed" if blessed else "not blessed") in page.text
    for word in (
        small.purpose,
        "f" * 64,
        "a" * 64,
        "b" * 64,
        "skipped",
        "batch-1",
        "0.91",
        "another population",
        "host-a",
        "packaged",
        "ratchet reproduce small-fashion 7",
        *small.classes,
    ):
        assert word in page.text
    assert ("rolled back" in page.text) == released
    assert ("1" * 64 in page.text) == released, "the bento's digest"


def test_what_a_name_holds_is_shown_and_never_run(small: Recipe) -> None:
    told = model_card.render(small, lineage(small, name=EVIL), EXPLAINED)
    told["model"]["classes"] = [EVIL] * len(small.classes)
    told["data"]["snapshot"]["labels"] = {EVIL: 3}
    page = Page(model_card.page(told, history.release(entries(), "7")))
    assert "script" not in page.tags
    assert EVIL in page.text


@given(st.text(max_size=80), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 20), numbers), max_size=9))
def test_a_text_is_shown_whole_however_its_parts_are_marked(text: str, drawn: list[tuple[int, int, float]]) -> None:
    at, parts = 0, []
    for gap, size, weight in drawn:
        start, stop = at + gap, at + gap + size
        if stop > len(text):
            break
        parts.append(((start, stop), weight))
        at = stop
    page = Page(str(charts.marked(text, parts)))
    assert page.open == []
    assert page.text.replace("\r", "\n") == text.replace("\r", "\n")


@pytest.mark.parametrize("kind", ["image", "text", "series"])
def test_the_page_is_whole_in_a_browser(kind: str, small: Recipe, tmp_path: Path) -> None:
    told = model_card.render(small, lineage(small))
    told["model"]["contract"]["kind"] = kind
    series = json.dumps({"window": [1.0, 2.0, 3.0], "forecast": [4.0], "came": [4.5]})
    shown = {"image": PIXEL, "text": "a free prize " * 40 + "x" * 300, "series": series}[kind]
    at = [[0, 14, 0, 14]] if kind == "image" else [[0, 2], [2, 3]]
    parts = [{"at": a, "weight": 0.1} for a in at]
    told["explained"] = [{"kind": "right", "shown": shown, "answer": "yes", "truth": "", "parts": parts}] * 8
    (tmp_path / "page.html").write_text(model_card.page(told, history.release(entries(), "7")))
    assert faults((tmp_path / "page.html").as_uri(), tmp_path) == []


def test_the_record_of_a_release_is_in_the_page_and_in_the_markdown(small: Recipe) -> None:
    told, release = model_card.render(small, lineage(small)), history.release(entries(), "7")
    page, text = model_card.page(told, release), model_card.markdown(told, release)
    assert "v6-kk 50 %, v7-kk 50 %" in text
    assert "&lt;script>" in text
    assert "20 of 100" in page
    assert "1970-01-01 00:19:40" in page
    assert "# small-fashion, version 7: blessed, rolled back" in text
    assert "reaches up to the verdict" in model_card.markdown(told)
    assert "not on trial yet" in model_card.markdown(told, history.release([], "7"))


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ([Passed(2, 0, ()), Promoted(2, "7")], "released"),
        ([Passed(2, 0, ()), Promoted(2, "7"), Failed(2, "it rots"), Promoted(3, "6")], "rolled back"),
        ([Passed(2, 0, ()), Promoted(2, "7"), Baked(2, ()),
          Requested(NEXT, "release", "", True, ("h",), AT_ONCE, 9.0, 9.0), Healthy(3, {"h": 1.0}),
          Promoted(3, "8")], "replaced"),
    ],
)  # fmt: skip
def test_what_became_of_a_version_is_told_whatever_came_after_it(more: list[Event], state: str) -> None:
    assert history.release(entries(*more), "7")["state"] == state


def test_what_format_1_wrote_is_still_shown(small: Recipe) -> None:
    told = model_card.render(small, lineage(small))
    del told["training"]["history"], told["training"]["confusion"], told["variants"], told["whole"]
    del told["model"]["contract"]["kind"], told["training"]["machine"], told["training"]["twins"]
    del told["explained"], told["verdict"]["reliability"], told["data"]["drift"]
    assert "0.91" in Page(model_card.page({**told, "format": 1})).text


names = st.text("ab<>&\"'é", max_size=5)


@given(
    st.dictionaries(names, st.lists(numbers | st.just(math.nan), max_size=20), max_size=3), numbers, numbers, numbers
)
def test_charts_take_whatever_figures_there_are(series: dict[str, list[float]], a: float, b: float, c: float) -> None:
    low, figure, high = sorted((a, b, c))
    moments = [(float(i), {name: 100.0}) for i, name in enumerate(series)]
    bins = [(abs(math.sin(v)), abs(math.cos(v)), n) for n, v in enumerate((a, b, c))]
    rows = [(name, figure, low, high) for name in series]
    parts = [((n, n + 1), v) for n, v in enumerate((a, b, c))]
    shown = [v for s in series.values() for v in s if math.isfinite(v)]
    found = [
        charts.forest(rows, a), charts.forest(rows, None), charts.foretold(shown, [a], [b], parts),
        charts.foretold([], [], [], []), charts.attribution(PIXEL, 4, 5, [((0, 1, 2, 3), a)]),
        charts.lines(series), charts.interval(figure, low, high, a), charts.shares(moments, 50.0),
        charts.reliability(bins), charts.reliability([]), charts.bars({n: len(s) for n, s in series.items()}),
    ]  # fmt: skip
    for chart in found:
        assert Page(str(chart)).open == []
        assert "nan" not in chart
