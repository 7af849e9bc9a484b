"""What started retrainings, in the ledger: recorded once, claimed by one run, and ended with what became of it."""

import time
from typing import Any

import sqlalchemy as sa

from expectations.triggers import Past
from ratchet import clock
from ratchet.errors import Refusal
from releases.ledger import CAUSES, Ledger

_ATTEMPTS = 3
"""Runs of one cause that may die."""


def add(ledger: Ledger, recipe: str, cause: str, kind: str, why: str) -> bool:
    """Records a cause; False if it was recorded before, by whomever."""
    row = {"recipe": recipe, "cause": cause, "at": time.time(), "kind": kind, "why": why[:1000], "attempts": 0}
    try:
        with ledger.begin() as connection:
            connection.execute(CAUSES.insert(), row)
    except sa.exc.IntegrityError:
        return False
    return True


def read(ledger: Ledger, recipe: str) -> list[Past]:
    """Every cause of a recipe, oldest first, in the time of data."""
    query = CAUSES.select().where(CAUSES.c.recipe == recipe).order_by(CAUSES.c.at)
    with ledger.begin() as connection:
        rows = connection.execute(query).all()
    return [_past(row) for row in rows]


def _past(row: Any) -> Past:
    at, started, ended = (real and clock.played(real) for real in (row.at, row.started, row.ended))
    return Past(row.cause, row.kind, at, started, ended, row.result, row.run, row.why, row.attempts)


def claim(ledger: Ledger, recipe: str, cause: str, run: str) -> str:
    """Gives the cause to the run; returns the run that has it. Raises Refusal if there is no such cause."""
    mine = (CAUSES.c.recipe == recipe) & (CAUSES.c.cause == cause)
    available = sa.or_(CAUSES.c.run.is_(None), CAUSES.c.run == run)
    with ledger.begin() as connection:
        unfinished, now = CAUSES.c.result.is_(None), time.time()
        # What runs that died have taken counts, and the time between them does not.
        before = sa.func.coalesce(CAUSES.c.ended - CAUSES.c.started, 0.0)
        started = sa.case((CAUSES.c.run == run, CAUSES.c.started), else_=now - before)
        values = {"run": run, "started": started, "ended": None, "attempts": CAUSES.c.attempts + 1}
        if connection.execute(CAUSES.update().where(mine, available, unfinished).values(**values)).rowcount:
            return run
        row = connection.execute(sa.select(CAUSES.c.run).where(mine)).first()
    if row is None:
        raise Refusal("there is no such cause", cause, "Start the loop without one")
    return str(row.run or "that had it last")


def end(ledger: Ledger, recipe: str, cause: str, result: str, waited: float = 0.0) -> None:
    """Records what became of the run of a cause; the seconds that it waited for a person do not count."""
    mine = (CAUSES.c.recipe == recipe) & (CAUSES.c.cause == cause)
    with ledger.begin() as connection:
        connection.execute(CAUSES.update().where(mine).values(ended=time.time() - waited, result=result))


def release(ledger: Ledger, recipe: str, run: str, cancelled: bool, died_at: float, waited: float = 0.0) -> None:
    """Takes unfinished causes from a run that died without a word, after it waited so long for a person.

    Another run may have them, unless a person cancelled it, or as many runs have died of them.
    """
    mine = (CAUSES.c.recipe == recipe) & (CAUSES.c.run == run) & CAUSES.c.result.is_(None)
    over = mine if cancelled else mine & (CAUSES.c.attempts >= _ATTEMPTS)
    ended, result = died_at - waited, "cancelled" if cancelled else "failed"
    at_least = sa.case((CAUSES.c.started > ended, CAUSES.c.started), else_=ended)
    with ledger.begin() as connection:
        connection.execute(CAUSES.update().where(mine).values(ended=at_least))
        connection.execute(CAUSES.update().where(over).values(result=result))
        connection.execute(CAUSES.update().where(mine).values(run=None))
