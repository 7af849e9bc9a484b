"""The version that a run waits with for a person, how long, and who approved it: a status in the ledger."""

import time
from typing import Any

from releases import api


def request(recipe: str, version: str, run: str) -> None:
    """Records that a run waits with a version from now on."""
    api.open_ledger().publish(f"approval:{recipe}", {"version": version, "run": run, "since": time.time()}, time.time())


def approve(recipe: str, run: str, who: str) -> None:
    """Records who approves the version."""
    _note(recipe, run, by=who)


def end(recipe: str, run: str) -> None:
    """Records that the run waits no longer, for whatever reason."""
    _note(recipe, run, until=time.time())


def version(recipe: str, run: str) -> str:
    """The version that a run waits with; empty if that is not known."""
    return str(_approval(recipe, run).get("version", ""))


def by(recipe: str, run: str) -> str:
    """Who approved the version by a command; empty if nobody did."""
    return str(_approval(recipe, run).get("by", ""))


def waited(recipe: str, run: str) -> float:
    """The seconds that a run has waited, or waits now."""
    approval = _approval(recipe, run)
    return max(0.0, approval.get("until", time.time()) - approval["since"]) if approval else 0.0


def _note(recipe: str, run: str, **fields: Any) -> None:
    if approval := _approval(recipe, run):
        api.open_ledger().publish(f"approval:{recipe}", {**approval, **fields}, time.time())


def _approval(recipe: str, run: str) -> dict[str, Any]:
    status = api.open_ledger().statuses("approval").get(recipe)
    return dict(status.body) if status and status.body["run"] == run else {}
