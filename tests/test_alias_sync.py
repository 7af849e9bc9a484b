"""An alias that a person moved is followed; every other difference is overwritten from the ledger."""

from hypothesis import given
from hypothesis import strategies as st

from commands.history import _detail
from releases.alias_sync import moved_since
from releases.state import Outcome, Sync

VERSIONS = st.sampled_from("123456")


def test_an_alias_that_was_moved_before_the_last_release_was_synced_is_not_overwritten() -> None:
    back_to_1 = Sync(("1", None, None), (Outcome("1", "promoted", ""), Outcome("2", "rolled back", "")))
    assert moved_since("3", back_to_1, ("2", None, None))


def test_a_request_by_alias_that_failed_is_decided_once_and_the_alias_goes_back() -> None:
    failed = Sync(("1", None, None), (Outcome("2", "failed", "golden input 0"),))
    assert not moved_since("2", failed, ("1", None, None))


@given(champion=VERSIONS, written=VERSIONS | st.none(), there=VERSIONS | st.none(), decided=st.lists(VERSIONS))
def test_only_a_version_that_ratchet_did_not_write_was_chosen_by_a_person(
    champion: str, written: str | None, there: str | None, decided: list[str]
) -> None:
    sync = Sync((champion, None, None), tuple(Outcome(v, "failed", "") for v in decided))
    ours = {written, champion, *decided}
    assert moved_since(there, sync, (written, None, None)) == (
        written is not None and there is not None and there not in ours
    )


def test_the_history_tells_what_mlflow_has_and_not_what_was_wanted() -> None:
    left = {"aliases": ["2", None, "1"], "outcomes": 0, "in_mlflow": ["3", None, "1"]}
    assert _detail("synced", left) == "MLflow has @champion 3, @challenger none, @previous 1"
    assert _detail("synced", {**left, "in_mlflow": None}) == "MLflow has @champion 2, @challenger none, @previous 1"
    assert _detail("synced", {"aliases": ["2", None, "1"], "outcomes": 0}).startswith("MLflow has @champion 2")


def test_with_no_alias_written_yet_the_ledger_writes() -> None:
    assert not moved_since("7", Sync(("1", None, None), ()), (None, None, None))
