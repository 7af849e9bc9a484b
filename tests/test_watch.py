"""Watching what serves: an alarm when the loss is above what was promised, and hardly ever otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations import changed, drift, estimated, measured, season, watch
from expectations.changed import Change
from models import embedding
from ratchet.errors import Refusal
from ratchet.evaluation.promise import promise
from ratchet.evaluation.two_sample import p_value
from ratchet.types import Promise, Watched, from_json, to_json

WINDOW = 500


def sound(records: int = 10_000, loss: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Certainties that are right: an answer of certainty c is wrong with probability 1 - c."""
    chance = np.random.default_rng(seed)
    certainties = 1 - chance.beta(1, 1 / loss - 1, records)
    return certainties, (chance.random(records) > certainties).astype(float)


def promised() -> Promise:
    certainties, losses = sound()
    return promise(losses, certainties, {"a": 6000, "b": 4000}, 1.0)


def state(
    certainties: np.ndarray,
    losses: np.ndarray,
    labelled: int,
    changes: tuple[Change, ...] = (),
    tolerance: float = 0.02,
) -> Watched:
    at, new = 1e9 + 60.0 * np.arange(len(certainties)), slice(-WINDOW, None)
    served = watch.Served(len(at), at[new], certainties[new], at[:labelled], losses[:labelled], certainties[:labelled])
    return watch.watched("r", "v1", promised(), tolerance, served, changes, float(at[0]) if len(at) else 0.0)


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.4])
def test_a_sound_revision_alarms_more_rarely_than_is_stated(loss: float) -> None:
    """The mean time to an alarm is at least the threshold, so of series of a tenth of it hardly any may alarm."""
    chance, alarms, tries, labels, limit = np.random.default_rng(1), 0, 300, 100, 1000.0
    for _ in range(tries):
        losses = (chance.random(labels) < loss).astype(float)
        alarms += measured.alarm(losses, loss, limit) is not None
    assert alarms / tries <= labels / limit + 3 * np.sqrt(labels / limit / tries)


@pytest.mark.parametrize(("before", "after", "most"), [(0.05, 0.15, 600), (0.1, 0.3, 250), (0.3, 0.9, 40)])
def test_a_larger_loss_is_noticed_soon_and_its_beginning_is_named(before: float, after: float, most: int) -> None:
    chance = np.random.default_rng(2)
    losses = np.concatenate([chance.random(3000) < before, chance.random(3000) < after]).astype(float)
    alarm = measured.alarm(losses, before + 0.02, measured.threshold(100_000))
    assert alarm
    assert 3000 <= alarm.at < 3000 + most
    assert abs(alarm.since - 3000) < 200


def test_an_alarm_ends_when_the_loss_is_within_its_limit_again_and_may_come_back() -> None:
    """After two hundred bad labels of a source that was broken for a day, say."""
    chance = np.random.default_rng(3)
    good, bad, limit = chance.random(20_000) < 0.101, chance.random(200) < 0.6, 0.126
    before = np.concatenate([good[:2000], bad]).astype(float)
    assert measured.alarm(before, limit, 10_000)
    assert measured.alarm(np.concatenate([before, good[:100]]), limit, 10_000), "that is too soon to say"
    after = np.concatenate([before, good])
    assert measured.alarm(after, limit, 10_000) is None
    again = measured.alarm(np.concatenate([after, bad]), limit, 10_000)
    assert again
    assert again.since >= len(after) - 100


def test_an_alarm_hardly_ever_ends_while_the_loss_stays_above_its_limit() -> None:
    chance, ended, tries = np.random.default_rng(4), 0, 100
    for _ in range(tries):
        losses = np.concatenate([chance.random(300) < 0.6, chance.random(100) < 0.126]).astype(float)
        ended += measured.alarm(losses, 0.126, 1000) is None
    assert ended / tries <= 0.1 + 3 * np.sqrt(0.1 / tries)


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0, 1))
def test_no_losses_make_a_figure_that_is_not_finite(losses: list[float], limit: float) -> None:
    alarm = measured.alarm(np.array(losses), limit, 10_000)
    assert alarm is None or np.isfinite(alarm.evidence)
    if losses:
        level = measured.level(np.array(losses))
        assert 0 <= level.low <= level.loss + 1e-9
        assert level.loss <= level.high + 1e-9 <= 1 + 1e-9


@pytest.mark.parametrize("hard", [0.0, 0.3, 0.6])
def test_the_estimate_contains_the_true_loss_when_harder_inputs_come(hard: float) -> None:
    own, misses = promised(), 0
    for seed in range(40):
        easy, harder = sound(1000, 0.1, seed), sound(1000, 0.2, seed + 1000)
        chosen = np.random.default_rng(seed).random(1000) < hard
        certainties, losses = (np.where(chosen, b, a) for a, b in zip(easy, harder, strict=True))
        level = estimated.level(own, certainties)
        true = 1 - certainties.mean()
        misses += not level.low - 0.01 <= true <= level.high + 0.01
        assert not estimated.is_wrong(own, certainties, losses)
    assert misses <= 4


def test_labels_switch_an_estimate_off_that_the_certainty_does_not_carry() -> None:
    certainties, _ = sound(2000)
    wrong = (np.random.default_rng(3).random(2000) < 0.5).astype(float)
    assert estimated.is_wrong(promised(), certainties, wrong)
    result = state(certainties, wrong, 2000)
    assert result.estimated is None
    assert "switched off" in result.remarks[0]


def test_what_many_labels_have_shown_of_an_estimate_a_few_of_the_newest_do_not_take_back() -> None:
    """Less certain answers than on the benchmark, as often right: a fault of the estimate, and no harm."""
    certainties, _ = sound(4000, 0.2, 5)
    chance = np.random.default_rng(6)
    losses = (chance.random(4000) < np.where(np.arange(4000) < 3600, 0.1, 0.17)).astype(float)
    recent = slice(-WINDOW, None)
    assert not estimated.is_wrong(promised(), certainties[recent], losses[recent]), "the newest alone do not show it"
    result = state(certainties, losses, 4000, tolerance=0.05)
    assert result.estimated is None
    assert not [finding for finding in result.findings if finding.tier == "estimated"]


def test_a_loss_in_a_small_unit_is_watched_as_well_and_hardly_any_loss_has_a_scale() -> None:
    chance = np.random.default_rng(4)
    small = promise(chance.exponential(0.003, 5000), chance.random(5000), {})
    assert small.loss > 0.03, "in shares of what is common, not of 1"
    rare = promise(np.where(np.arange(5000) < 10, 7.0, 0.0), chance.random(5000), {})
    assert (rare.scale, np.isfinite(rare.loss)) == (7.0, True)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 50), min_size=1, max_size=40), st.integers(0, 1000))
def test_a_promise_of_any_losses_is_finite_and_round_trips(losses: list[float], seed: int) -> None:
    certainties = np.random.default_rng(seed).normal(size=len(losses))
    own = promise(np.array(losses), certainties, {})
    assert np.isfinite([own.loss, own.scale, own.deviation, *own.losses]).all()
    assert 0 <= own.loss <= 1
    assert own.scale > 0
    assert sum(own.counts) == len(losses)
    assert from_json(Promise, to_json(own)) == own


CHANGE = Change("hour", "hour has drifted (index 0.30, from 0.1)", "p = 0.001")


def test_a_change_is_benign_while_the_loss_is_within_its_limit_and_harmful_when_it_is_not() -> None:
    good, bad = sound(2000, 0.1, 5), sound(2000, 0.35, 6)
    for (certainties, losses), labelled, effect in ((good, 0, "benign"), (good, 2000, "benign"), (bad, 0, "harmful"),
                                                    (bad, 2000, "harmful")):  # fmt: skip
        result = state(certainties, losses, labelled, (CHANGE,), tolerance=0.05)
        assert {finding.effect for finding in result.findings} == {effect}
        assert result.harmed == (effect == "harmful")
        assert [f.subject for f in result.findings if f.tier == "changed"] == ["hour"]


def test_without_enough_predictions_or_labels_the_effect_of_a_change_is_unknown_and_nothing_is_nan() -> None:
    result = state(*sound(50), 0, (CHANGE,))
    assert [finding.effect for finding in result.findings] == ["unknown"]
    assert (result.measured, result.estimated) == (None, None)
    assert "50 predictions are too few" in result.remarks[0]
    empty = state(np.empty(0), np.empty(0), 0)
    assert (empty.answered, empty.findings) == (0, ())
    assert from_json(Watched, to_json(result)) == result


def test_every_finding_says_since_when_and_how_sure() -> None:
    certainties, losses = sound(1500, 0.35, 7)
    for finding in state(certainties, losses, 1500, (CHANGE,)).findings:
        assert 1e9 <= finding.since <= 1e9 + 60 * 1500
        assert any(character.isdigit() for character in finding.sure)


def test_labels_of_predictions_before_a_change_do_not_make_it_benign() -> None:
    """The labels are those of a sound time; what the newest predictions are like is only estimated."""
    (good, losses), (bad, wrong) = sound(1500, 0.1, 8), sound(500, 0.15, 9)
    result = state(np.concatenate([good, bad]), np.concatenate([losses, wrong]), 1500, (CHANGE,))
    assert result.measured is None
    assert {finding.effect for finding in result.findings} != {"benign"}


def test_a_broken_source_is_a_fault_and_values_are_named_only_where_inputs_may_be_shown() -> None:
    (change,) = (each for each in changed.changes([TRAINED], window(**rows(1, city=["Ulm"] * 1000)), show=False)
                 if each.column == "city")  # fmt: skip
    assert change.fault
    assert "Ulm" not in change.what
    new = changed.changes([TRAINED], window(**rows(1, city=["Ulm", "Bonn", "Kiel", "Kiel"] * 250)), show=False)
    assert not any("Kiel" in each.what or each.fault for each in new)


def window(**columns: object) -> drift.Summary:
    return drift.summarize(pd.DataFrame(columns), (), like=TRAINED)


def rows(seed: int, **more: object) -> dict[str, object]:
    chance = np.random.default_rng(seed)
    return {"size": chance.normal(size=1000), "city": chance.choice(["Ulm", "Bonn"], 1000), **more}


TRAINED = drift.summarize(pd.DataFrame(rows(0)), ())


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (rows(1), []),
        (rows(1, size=np.random.default_rng(2).normal(1, 1, 1000)), ["size has drifted"]),
        (rows(1, size=np.zeros(1000)), ["size is 0 in every request"]),
        (rows(1, city=["Ulm"] * 1000), ["city is 'Ulm' in every request"]),
        (rows(1, city=["Ulm", "Bonn", "Kiel", "Kiel"] * 250), ["city has values that training has not seen: 'Kiel'"]),
        (rows(1, size=[None, 1.0] * 500), ["size is 1 in every request", "size (missing) has drifted"]),
    ],
)
def test_each_kind_of_change_is_its_own_finding(columns: dict[str, object], said: list[str]) -> None:
    sentences = [change.what for change in changed.changes([TRAINED], window(**columns), show=True)]
    for each in said:
        assert any(sentence.startswith(each) for sentence in sentences), sentences
    assert bool(sentences) == bool(said)


def test_a_whole_number_has_one_name_whether_its_column_may_have_gaps_or_not() -> None:
    """A column of the lake with gaps holds 1.0 where a request had 1; a summary kept before this was seen, too."""
    days = [1, 2, 3, 4] * 250
    trained = drift.summarize(pd.DataFrame({"day": [float(day) for day in days]}), ())
    old = replace(
        trained, categories={"day": {f"{name}.0": count for name, count in trained.categories["day"].items()}}
    )
    served = drift.summarize(pd.DataFrame({"day": days}), (), like=trained)
    assert changed.changes([trained], served, show=True) == ()
    assert changed.changes([drift.upgraded(old)], served, show=True) == ()


def test_fewer_missing_values_are_a_change_and_no_fault_of_the_source() -> None:
    gaps = [None, *np.random.default_rng(3).normal(size=9)] * 100
    trained = drift.summarize(pd.DataFrame({"size": gaps}), ())
    served = drift.summarize(pd.DataFrame({"size": np.random.default_rng(4).normal(size=1000)}), (), like=trained)
    assert not any(each.fault for each in changed.changes([trained], served, show=True))
    for missing, is_fault in ((3, False), (5, True)):
        values = pd.DataFrame({"size": [*[None] * missing, *gaps[missing:10]] * 100})
        changes = changed.changes([trained], drift.summarize(values, (), like=trained), show=True)
        assert [each.fault for each in changes if each.column == "size (missing)"] == [is_fault]


DAY = 86400.0


@given(st.integers(0, 11), st.integers(-5, 5), st.floats(0, 29))
def test_a_window_is_compared_with_the_same_season_of_whatever_year(month: int, years: int, day: float) -> None:
    spans = {f"month {each}": (30.0 * each * DAY, (30.0 * each + 29) * DAY) for each in range(12)}
    since = (360.0 * years + 30 * month + day) * DAY
    chosen = season.of_the_same(spans, (since, since), 360)
    assert chosen == [f"month {month}"]


def test_a_season_may_span_new_year_or_have_no_batch() -> None:
    spans = {"January": (0.0, 30 * DAY), "February": (31 * DAY, 58 * DAY)}
    july = (181 * DAY, 190 * DAY)
    assert season.of_the_same(spans, july, 365) == []
    assert season.of_the_same(spans, (-DAY, DAY), 365) == ["January"], "over New Year"
    assert season.of_the_same(spans, (0.0, 400 * DAY), 365) == list(spans), "a window longer than a season"


def test_two_samples_of_one_distribution_differ_as_often_as_is_said_and_others_do() -> None:
    rng = np.random.default_rng(7)
    same = [p_value(*(rng.normal(size=(60, 5)) for _ in range(2)), seed=seed) for seed in range(100)]
    assert 0 <= sum(p <= 0.05 for p in same) <= 12
    assert 35 <= sum(p <= 0.5 for p in same) <= 65
    shifted = rng.normal(size=(60, 5)) + np.float64([1, 0, 0, 0, 0])
    assert p_value(rng.normal(size=(60, 5)), shifted) <= 0.01
    wider = 2 * rng.normal(size=(60, 5))
    assert p_value(rng.normal(size=(60, 5)), wider) <= 0.01, "its mean is the same"
    assert p_value(np.ones((20, 3)), np.ones((20, 3))) == 1.0


def test_a_model_is_cut_after_a_layer_and_one_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"], name="net/double/Add"),
        helper.make_node("Neg", ["twice"], ["negative"], name="net/double/Neg"),
        helper.make_node("Add", ["negative", "negative"], ["y"], name="net/last/Add"),
    ]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2])  # noqa: E731
    graph = helper.make_graph(nodes, "net", [value("x")], [value("y")])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "model.onnx")
    embedding._write_until(tmp_path / "model.onnx", "double", tmp_path / "cut.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "cut.onnx", providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"x": np.float32([[1, 2]])})
    assert outputs.tolist() == [[-2, -4]]
    with pytest.raises(Refusal, match=r"no layer 'nothing'.*double, last, net"):
        embedding._write_until(tmp_path / "model.onnx", "nothing", tmp_path / "cut.onnx")


def unchanged(rows: int, chance: np.random.Generator) -> pd.DataFrame:
    """A rare flag, a number that is nearly always 0, and categories of which many are rare."""
    shares = 1 / np.arange(1, 181)
    return pd.DataFrame({
        "flag": chance.random(rows) < 0.001,
        "number": np.where(chance.random(rows) < 0.98, 0.0, chance.normal(size=rows)),
        "city": chance.choice(180, rows, p=shares / shares.sum()).astype(str),
    })  # fmt: skip


@pytest.mark.parametrize(("trained", "window"), [(1000, 1000), (2000, 500), (20_000, 1000)])
def test_rare_values_are_neither_a_broken_source_nor_new_where_nothing_changed(trained: int, window: int) -> None:
    """Of 100 windows, at a stated rate of one in a thousand each."""
    chance, alarms = np.random.default_rng(5), 0
    for _ in range(100):
        before = drift.summarize(unchanged(trained, chance), ())
        now = drift.summarize(unchanged(window, chance), (), like=before)
        changes = changed.changes([before], now, show=True)
        alarms += any("in every request" in each.what or "has not seen" in each.what for each in changes)
    assert alarms <= 1


def test_one_value_alone_and_new_values_are_noticed_where_they_are_no_chance() -> None:
    chance = np.random.default_rng(6)
    before, frame = drift.summarize(unchanged(5000, chance), ()), unchanged(1000, chance)
    frame["flag"], frame["number"] = True, 7.5
    frame.loc[:29, "city"] = "Atlantis"
    changes = changed.changes([before], drift.summarize(frame, (), like=before), show=True)
    assert {change.column: change.fault for change in changes} == {"flag": True, "number": True, "city": False}
    assert "'Atlantis'" in next(change.what for change in changes if change.column == "city")


def test_an_input_is_unusual_by_what_lies_outside_of_training() -> None:
    before = drift.summarize(unchanged(5000, np.random.default_rng(7)), ())
    usual, new, far = {"number": 0.0, "city": 1.0}, {"number": 0.0, "city": "x"}, {"number": 99.0, "city": "x"}
    assert changed.unusual([before], [usual, new, far]).tolist() == [0.0, 0.5, 1.0]


def test_a_column_that_no_request_has_is_not_compared() -> None:
    """The arrival delay of a flight, say, which is known once it has landed."""
    chance = np.random.default_rng(8)
    later = pd.DataFrame({"size": chance.normal(size=1000), "delay": [None] * 900 + [1.0] * 100})
    before = drift.summarize(later, ())
    served = drift.summarize(pd.DataFrame({"size": chance.normal(size=1000)}), (), like=before)
    assert changed.changes([before], served, show=True) == ()
