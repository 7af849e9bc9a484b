"""MLflow's and Prefect's databases: SQLite under the home, or beside the ledger in Postgres."""

from __future__ import annotations

import sqlalchemy as sa

from ratchet.errors import Refusal
from ratchet.settings import Settings

SERVERS = {"mlflow": "postgresql+psycopg", "prefect": "postgresql+asyncpg"}
"""Each with the driver that it takes."""


def environment(settings: Settings, server: str) -> dict[str, str]:
    """What tells a server its database. Not its command line, which everybody on the machine may read."""
    name = settings.database(server)
    if name:
        url = sa.engine.make_url(settings.ledger).set(drivername=SERVERS[server], database=name)
        told = url.render_as_string(hide_password=False)
    if server == "prefect":
        return {"PREFECT_API_DATABASE_CONNECTION_URL": told} if name else {}
    return {"MLFLOW_BACKEND_STORE_URI": told if name else f"sqlite:///{settings.home / 'mlflow' / 'mlflow.db'}"}


def make(settings: Settings) -> None:
    """Makes the servers' databases where they are not there.

    Raises Refusal where Postgres does not answer, or does not let this role make them.
    """
    names = [name for server in SERVERS if (name := settings.database(server))]
    if not names:
        return
    engine = sa.create_engine(settings.ledger, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            for name in names:
                if not connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}):
                    connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    except sa.exc.SQLAlchemyError as error:
        raise Refusal(
            f"the servers' databases cannot be made ({str(error).splitlines()[0]})", ", ".join(names),
            "Mend RATCHET_LEDGER_URL, or make them: `createdb NAME`",
        ) from error  # fmt: skip
    finally:
        engine.dispose()
