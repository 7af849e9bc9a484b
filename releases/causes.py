"""What started retrainings, in the ledger: recorded once, claimed by one run, and ended with what became of it."""

import time
from collections.abc import Sequence

import sqlalchemy as sa

from ratchet.errors import Refusal
from releases.ledger import CAUSES, Ledger


def add(ledger: Ledger, recipe: str, cause: str, kind: str, why: str) -> bool:
    """Records a cause; False if it was recorded before, by whomever."""
    row = {"recipe": recipe, "cause": cause, "at": time.time(), "kind": kind, "why": why[:1000]}
    try:
        with ledger.begin() as connection:
            connection.execute(CAUSES.insert(), row)
    except sa.exc.IntegrityError:
        return False
    return True


def read(ledger: Ledger, recipe: str) -> Sequence[sa.RowMapping]:
    """Every cause of a recipe, oldest first."""
    with ledger.begin() as connection:
        return (
            connection.execute(CAUSES.select().where(CAUSES.c.recipe == recipe).order_by(CAUSES.c.at)).mappings().all()
        )


def claim(ledger: Ledger, recipe: str, cause: str, run: str) -> None:
    """Gives the cause to the run. Raises Refusal if there is no such cause, or another run has it."""
    mine = (CAUSES.c.recipe == recipe) & (CAUSES.c.cause == cause)
    available = sa.or_(CAUSES.c.run.is_(None), CAUSES.c.run == run)
    with ledger.begin() as connection:
        values = {"run": run, "started": time.time()}
        if connection.execute(CAUSES.update().where(mine, available).values(**values)).rowcount:
            return
        other = connection.scalar(sa.select(CAUSES.c.run).where(mine))
    if other is None:
        raise Refusal("there is no such cause", cause, "Start the loop without one")
    raise Refusal(f"the flow run {other} has this cause already", cause, "See it in Prefect")


def end(ledger: Ledger, recipe: str, cause: str, result: str) -> None:
    """Records what became of the run of a cause."""
    mine = (CAUSES.c.recipe == recipe) & (CAUSES.c.cause == cause)
    with ledger.begin() as connection:
        connection.execute(CAUSES.update().where(mine).values(ended=time.time(), result=result))


def release(ledger: Ledger, recipe: str, run: str) -> None:
    """Takes unfinished causes from a run that is dead, so that another may have them."""
    mine = (CAUSES.c.recipe == recipe) & (CAUSES.c.run == run) & CAUSES.c.ended.is_(None)
    with ledger.begin() as connection:
        connection.execute(CAUSES.update().where(mine).values(run=None, started=None))
