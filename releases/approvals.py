"""Which version a run waits with for a person, and who approved it: a status in the ledger for each recipe."""

import time

from releases import api


def request(recipe: str, version: str, run: str) -> None:
    """Records that a run waits with a version."""
    api.open_ledger().publish(f"approval:{recipe}", {"version": version, "run": run}, time.time())


def version(recipe: str, run: str) -> str:
    """The version that a run waits with; empty if that is not known."""
    return _approval(recipe, run).get("version", "")


def approve(recipe: str, run: str, who: str) -> None:
    """Records who approves the version."""
    if approval := _approval(recipe, run):
        api.open_ledger().publish(f"approval:{recipe}", {**approval, "by": who}, time.time())


def by(recipe: str, run: str) -> str:
    """Who approved the version by a command; empty if nobody did."""
    return _approval(recipe, run).get("by", "")


def _approval(recipe: str, run: str) -> dict[str, str]:
    status = api.open_ledger().statuses("approval").get(recipe)
    return dict(status.body) if status and status.body["run"] == run else {}
