"""What starts a retraining: one cause one run, within its budget, and never for nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from expectations import triggers
from expectations.triggers import Cause, Decision, Past
from flows import deploy
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.lake import inbox
from ratchet.settings import settings
from ratchet.types import Effect, Finding, Watched
from ratchet.watch_plan import Watch
from releases import causes
from releases.ledger import Ledger
from tests.conftest import ROOT

HOUR, DAY = 3600.0, 86400.0
NOW = 1_796_000_000.0
HARM = Cause("harm v1", "harm", "the loss is 0.3")
LABELS = Cause("labels up to 3", "labels", "2000 labelled inputs have come back")


def decided(
    *present: Cause, past: tuple[Past, ...] = (), new: int = 1000, plan: Watch | None = None, promoted: float = 0.0
) -> list[Decision]:
    return triggers.decisions("r", plan or Watch(), present, past, new, NOW, promoted_at=promoted)


def why(decision: Decision) -> str:
    return decision.obstacle.why if decision.obstacle else ""


def ended(
    id: str, hours_ago: float, kind: str = "labels", result: str = "released", seconds: float = 600.0, attempts: int = 1
) -> Past:
    started = NOW - hours_ago * HOUR
    return Past(id, kind, started, started, started + seconds, result, attempts=attempts)


def test_a_cause_starts_one_run_and_of_several_at_once_one_does() -> None:
    first, second = decided(HARM, LABELS)
    assert (first.start, second.start) == (True, False)
    assert why(second) == "another cause starts a run already"
    assert decided(HARM, past=(Past(HARM.id, "harm", NOW - DAY),)) == [], "it was recorded before"


@pytest.mark.parametrize(
    ("past", "new", "plan", "expected"),
    [
        ((), 5, Watch(), "5 records with a label have come since then, and 100 are needed"),
        ((), 1000, Watch(causes=("labels",)), "do not name 'harm'"),
        ((Past("other", "labels", NOW - 60),), 1000, Watch(), "the cause 'other' has its run, or waits for it"),
        ((Past("other", "labels", NOW - DAY, NOW - DAY),), 1000, Watch(), "the cause 'other' has its run"),
        ((Past("other", "labels", NOW + 2 * HOUR),), 1000, Watch(), "the cause 'other' has its run"),
        ((ended("a", 2.0),), 1000, Watch(), "the last run started 2.0 h ago, and the cool-down is 6 h"),
        (tuple(ended(str(n), 10.0 + n) for n in range(7)), 1000, Watch(), "budget of 7 runs is spent"),
        ((ended("a", 24.0, seconds=90_000),), 1000, Watch(), "budget of 86,400 s is spent"),
        (tuple(ended(str(n), 10.0 + n, attempts=3) for n in range(3)), 1000, Watch(), "budget of 7 runs is spent"),
        ((ended("a", 90, "harm"), ended("b", 50, "harm")), 1000, Watch(), "2 retrainings did not cure it"),
        (tuple(ended(str(n), 40.0 + n, "harm", "nothing new") for n in range(4)), 1000, Watch(), "4 retrainings did"),
    ],
)
def test_a_run_that_would_be_useless_or_too_much_is_not_started_and_the_reason_is_said(
    past: tuple[Past, ...], new: int, plan: Watch, expected: str
) -> None:
    (decision,) = decided(HARM, past=past, new=new, plan=plan)
    assert not decision.start
    assert expected in why(decision)


@pytest.mark.parametrize(
    "past",
    [
        (),
        (ended("a", 7.0),),
        (ended("a", 90, "harm"), ended("b", 50, "harm", "nothing new")),
        (ended("a", 24 * 300, "harm"), ended("b", 24 * 150, "harm")),
        (ended("a", 24 * 40, "harm"), ended("b", 24 * 39, "harm")),
        (ended("a", 90, "harm"), ended("b", 50, "harm", "failed"), ended("c", 40, "harm", "cancelled")),
        (ended("a", 90, "harm"), ended("b", 50)),
        tuple(ended(str(n), 24.0 * (8 + n)) for n in range(9)),
    ],
)
def test_otherwise_it_starts(past: tuple[Past, ...]) -> None:
    (decision,) = decided(HARM, past=past)
    assert decision.start, why(decision)


def test_a_champion_that_a_person_released_may_be_retrained_again() -> None:
    past = ended("a", 90, "harm"), ended("b", 50, "harm")
    assert not decided(HARM, past=past, promoted=NOW - 50 * HOUR + 300)[0].start, "the second one was not cured, either"
    assert decided(HARM, past=past, promoted=NOW - 20 * HOUR)[0].start


def test_a_clock_that_was_set_back_starts_no_run_twice_and_blocks_none_for_ever() -> None:
    ahead = ended("other", -2.0)
    assert not decided(HARM, past=(ahead,))[0].start, "within the cool-down of a run that seems to lie ahead"
    assert decided(HARM, past=(ended("other", 7.0),))[0].start
    assert decided(HARM, past=(ended(HARM.id, -2.0),)) == []
    assert decided(HARM, past=(ended("other", -26_000.0),))[0].start, "one that ran while the clock was years ahead"


def test_inputs_that_look_broken_call_a_person_and_retrain_nothing() -> None:
    (decision,) = triggers.decisions("r", Watch(), [HARM], [], 1000, NOW, fault="city is 'Ulm' in every request")
    assert not decision.start
    assert decision.obstacle
    assert decision.obstacle.needs == "broken source"


def test_a_cause_whose_run_failed_may_start_another_a_few_times() -> None:
    tries = []
    for _ in range(4):
        past = [ended(id, 100, result="failed") for id in tries]
        tries.append(triggers.id_of("harm v1 up to 3", past))
    assert tries == ["harm v1 up to 3", "harm v1 up to 3 (try 2)", "harm v1 up to 3 (try 3)", "harm v1 up to 3"]


def test_a_cause_whose_run_failed_starts_another_also_if_what_called_for_it_has_landed() -> None:
    past = [ended("labels up to 3", 40), ended("batch b", 30, "batch", "failed")]
    (again,) = triggers.causes(None, Watch(), 3, 0, [], past)
    assert (again.id, again.kind) == ("batch b (try 2)", "batch")
    assert triggers.decisions("r", Watch(), [again], past, 0, NOW)[0].start
    later = [*past, ended("batch b (try 2)", 20, "batch", "failed"), ended("batch b (try 3)", 10, "batch", "failed")]
    assert triggers.decisions("r", Watch(), triggers.causes(None, Watch(), 3, 0, [], later), later, 0, NOW) == []
    assert triggers.causes(None, Watch(), 3, 0, [], [*past, ended("labels up to 5", 5)]) == [], "it was done since"


times = st.floats(NOW - 9 * DAY, NOW + HOUR)
pasts = st.builds(
    lambda id, kind, at, seconds, result: Past(id, kind, at, at, at + seconds if result else None, result),
    st.text(max_size=3), st.sampled_from(["harm", "labels"]), times, st.floats(0, 9000), st.sampled_from(
        ["released", "nothing new", "failed", None]),
)  # fmt: skip


@given(st.lists(pasts, max_size=12), st.integers(0, 300), st.permutations([HARM, LABELS]))
def test_whatever_happened_before_at_most_one_run_starts_and_each_budget_holds(
    past: list[Past], new: int, present: list[Cause]
) -> None:
    plan = Watch()
    decisions = triggers.decisions("r", plan, present, past, new, NOW)
    starting = [decision for decision in decisions if decision.start]
    assert len(starting) <= 1
    if starting:
        week = [each for each in past if each.started and NOW - each.started < 7 * DAY]
        assert len(week) < plan.runs_a_week
        assert all(each.result is not None for each in past)


def test_a_cause_is_recorded_once_and_claimed_by_one_run(home: Path) -> None:
    ledger = Ledger(settings().ledger)
    assert causes.add(ledger, "spam", "harm v1", "harm", "it is worse")
    assert not causes.add(ledger, "spam", "harm v1", "harm", "it is worse still")
    assert causes.claim(ledger, "spam", "harm v1", "run 1") == "run 1"
    assert causes.claim(ledger, "spam", "harm v1", "run 1") == "run 1"
    assert causes.claim(ledger, "spam", "harm v1", "run 2") == "run 1"
    with pytest.raises(Refusal, match="no such cause"):
        causes.claim(ledger, "spam", "harm v9", "run 2")
    causes.release(ledger, "spam", "run 1", cancelled=False, died_at=time.time())
    assert causes.claim(ledger, "spam", "harm v1", "run 2") == "run 2"
    causes.end(ledger, "spam", "harm v1", "released", waited=100.0)
    causes.release(ledger, "spam", "run 2", cancelled=True, died_at=time.time())
    (row,) = causes.read(ledger, "spam")
    assert (row.run, row.result) == ("run 2", "released"), "what is over stays so"
    assert row.started
    assert row.ended
    assert row.started - row.ended > 50, "waiting for a person takes nothing of the budget"
    assert causes.claim(ledger, "spam", "harm v1", "run 3") == "run 2"


def test_a_cause_of_a_cancelled_run_is_over_and_one_of_which_runs_die_ends_after_a_few(home: Path) -> None:
    ledger = Ledger(settings().ledger)
    for cause, cancelled in (("harm v1", True), ("harm v2", False)):
        causes.add(ledger, "spam", cause, "harm", "it is worse")
        for number in range(5):
            if causes.claim(ledger, "spam", cause, f"run {number}") == f"run {number}":
                causes.release(ledger, "spam", f"run {number}", cancelled, time.time())
    first, second = causes.read(ledger, "spam")
    assert (first.result, first.attempts) == ("cancelled", 1)
    assert (second.result, second.attempts) == ("failed", 3)


def test_what_runs_that_died_have_taken_counts_and_the_time_between_them_does_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is off from Friday to Monday spends nothing of the week's seconds."""
    ledger, now = Ledger(settings().ledger), time.time()

    def at(seconds: float) -> None:
        monkeypatch.setattr(causes.time, "time", lambda: now + seconds)

    causes.add(ledger, "spam", "harm v1", "harm", "it is worse")
    causes.claim(ledger, "spam", "harm v1", "run 1")
    at(3 * DAY)
    causes.release(ledger, "spam", "run 1", cancelled=False, died_at=now + 100)
    (past,) = causes.read(ledger, "spam")
    assert past.result is None, "it waits for another run"
    at(4 * DAY)
    causes.claim(ledger, "spam", "harm v1", "run 2")
    at(4 * DAY + 50)
    causes.end(ledger, "spam", "harm v1", "released")
    (past,) = causes.read(ledger, "spam")
    assert past.started
    assert past.ended
    assert past.ended - past.started == pytest.approx(150, abs=1)
    assert past.attempts == 2


def test_every_recipes_loop_waits_for_its_own_event() -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    expanded = deploy.expand(declared, ["fashion-mnist", "mine"])["deployments"]
    waiting = {each["name"]: each["triggers"] for each in expanded if "triggers" in each}
    assert set(waiting) == {"fashion-mnist", "mine"}
    for name, (trigger,) in waiting.items():
        assert trigger["name"] == f"retrain {name}"
        assert trigger["match"] == {"prefect.resource.id": f"ratchet.recipe.{name}"}
        assert trigger["parameters"] == {"cause": "{{ event.payload.cause }}"}


def test_a_folder_in_the_inbox_that_is_of_no_recipe_is_named(home: Path) -> None:
    inbox.waiting("spam")
    inbox.waiting("sapm")
    assert inbox.unknown(["spam", "digits"]) == ["sapm"]


def test_a_link_to_nothing_keeps_nobody_elses_file_waiting(home: Path) -> None:
    inbox.waiting("spam")
    folder = inbox.folder("spam")
    (folder / "broken.csv").symlink_to("nowhere")
    (folder / "parts").mkdir()
    (folder / "parts" / "broken.csv").symlink_to("nowhere")
    (folder / "mails.csv").write_text("text,label")
    assert {path.name for path in inbox.waiting("spam", time.time() + 60)} == {"broken.csv", "parts", "mails.csv"}


def test_what_was_taken_from_the_inbox_is_kept_as_long_as_the_log(home: Path) -> None:
    inbox.waiting("spam")
    for name in ("mails.csv", "parts"):
        (inbox.folder("spam") / name).mkdir() if name == "parts" else (inbox.folder("spam") / name).write_text("x")
        inbox.take(inbox.folder("spam") / name)
    inbox.expire("spam", 1.0)
    assert len(list((inbox.folder("spam") / ".taken").iterdir())) == 2
    inbox.expire("spam", -1.0)
    assert list((inbox.folder("spam") / ".taken").iterdir()) == []


def test_what_is_put_into_the_inbox_is_taken_when_it_is_complete(home: Path) -> None:
    folder = inbox.folder("spam")
    assert inbox.waiting("spam") == []
    (folder / "mails.csv").write_text("text,label")
    (folder / ".hidden").write_text("x")
    (folder / "labels-1.csv").write_text("a,spam")
    assert inbox.waiting("spam") == [], "somebody may still write to it"
    assert [path.name for path in inbox.waiting("spam", time.time() + 60)] == ["mails.csv", "labels-1.csv"]
    old = time.time() - 60
    os.utime(folder / "mails.csv", (old, old))
    (path,) = inbox.waiting("spam")
    assert not inbox.is_labels(path)
    assert inbox.is_labels(folder / "labels-1.csv")
    inbox.take(path)
    inbox.take(folder / "labels-1.csv", "the file holds no label: labels-1.csv. Give rows of `request id,label`.")
    assert [path.name.partition("-")[2] for path in (folder / ".taken").iterdir()] == ["mails.csv"]
    (why,) = (folder / ".refused").glob("*.why.txt")
    assert "no label" in why.read_text()


def test_a_name_that_is_not_utf_8_is_refused_with_its_reason(home: Path) -> None:
    inbox.waiting("spam")
    path = inbox.folder("spam") / os.fsdecode(b"bad\xffname.csv")
    path.write_text("x")
    inbox.take(path, inbox.printable(f"unknown format: {path.name}"))
    (why,) = (inbox.folder("spam") / ".refused").glob("*.why.txt")
    assert why.read_text() == "unknown format: bad\\udcffname.csv\n"


def test_what_lies_in_a_bucket_is_moved_into_the_inbox(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Arrow's file systems, of which the local one is here."""
    bucket, old = tmp_path / "bucket" / "spam", time.time() - 60
    bucket.mkdir(parents=True)
    for name in ("mails.csv", "large.csv", "new.csv"):
        (bucket / name).write_text("text,label" * (200_000 if name == "large.csv" else 1))
        os.utime(bucket / name, (old, old) if name != "new.csv" else None)
    monkeypatch.setenv("RATCHET_INBOX", (tmp_path / "bucket").as_uri())
    monkeypatch.setenv("RATCHET_INGEST_DISK_MB", "1")
    settings.cache_clear()
    with pytest.raises(Refusal, match=r"large\.csv in the bucket of the inbox has more than 1 MB"):
        inbox.fetch("spam")
    assert [path.name for path in inbox.waiting("spam")] == ["mails.csv"]
    assert sorted(path.name for path in bucket.iterdir()) == ["large.csv", "new.csv"]
    inbox.fetch("digits")
    for url, what in (("s3x://nowhere", "s3x"), ((tmp_path / "misspelt").as_uri(), "there is no /.*misspelt")):
        monkeypatch.setenv("RATCHET_INBOX", url)
        settings.cache_clear()
        with pytest.raises(Refusal, match=rf"{what}.*RATCHET_INBOX"):
            inbox.fetch("spam")


def test_a_recipe_says_how_it_is_watched_and_a_wrong_value_is_named(home: Path) -> None:
    from dataclasses import replace

    recipe = recipes.load("small-fashion")
    with pytest.raises(ValueError, match=r"causes\[0\] must be one of 'harm', 'labels', 'batch', 'drift', not 'sun'"):
        replace(recipe, watch=Watch(causes=("sun",)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="an image cannot be redacted"):
        replace(recipe, log=recipes.Log(redact=("face",)))
    with pytest.raises(ValueError, match=r"recipe\.log\.sample must be at least 0 and at most 1, not 2"):
        replace(recipe, log=recipes.Log(sample=2))


def test_a_former_champion_is_compared_seldom_and_only_where_harm_may_start_something() -> None:
    """Labels come one after another, and who looks after each finds something by chance."""
    looks, last = [], 0
    for labels in range(1, 2001):
        if triggers.should_compare(labels, last):
            looks.append(labels)
            last = labels
    assert looks == [100, 200, 400, 800, 1600]
    harm = "the loss is larger"
    assert triggers.may_roll_back(Watch(), "idle", frozen=False, harm=harm)
    assert not triggers.may_roll_back(Watch(), "idle", frozen=False, harm="")
    assert not triggers.may_roll_back(Watch(causes=("labels",)), "idle", frozen=False, harm=harm)
    assert not triggers.may_roll_back(Watch(), "trial", frozen=False, harm=harm)
    assert not triggers.may_roll_back(Watch(), "idle", frozen=True, harm=harm)


def test_harm_comes_before_labels_and_batches_and_a_benign_change_is_only_drift() -> None:
    def kinds(*effects: Effect, waiting: int = 0, pending: tuple[str, ...] = ()) -> list[str]:
        findings = tuple(Finding("changed", "size has drifted", effect, NOW, "p = 0.001") for effect in effects)
        state = Watched("r", "v1-a", 0.1, 0.15, 500, None, None, findings)
        return [cause.kind for cause in triggers.causes(state, Watch(labels=10), 3, waiting, pending, ())]

    assert kinds() == []
    assert kinds("harmful", "harmful", waiting=10, pending=("ab", "cd")) == ["harm", "labels", "batch", "batch"]
    assert kinds("benign") == kinds("unknown", waiting=9) == ["drift"]


def test_the_same_harm_is_another_cause_once_labels_have_landed() -> None:
    state = Watched("r", "v1-a", 0.1, 0.15, 500, None, None, (Finding("measured", "x", "harmful", NOW, "y"),))
    first, again, later = (triggers.causes(state, Watch(), learnt, 0, (), ())[0].id for learnt in (3, 3, 4))
    assert first == again != later
