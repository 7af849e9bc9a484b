"""MLflow's and Prefect's databases: SQLite under the home, or beside the ledger in Postgres."""

from __future__ import annotations

import sqlalchemy as sa

from ratchet.errors import Refusal
from ratchet.settings import Settings

SERVERS = {"mlflow": "postgresql+psycopg", "prefect": "postgresql+asyncpg"}
"""Each with the driver that it takes."""


def name(settings: Settings, server: str) -> str:
    """Of a server's database in Postgres; empty where it is SQLite."""
    url = sa.engine.make_url(settings.ledger)
    return "" if url.get_backend_name() == "sqlite" else f"{url.database}_{server}"


def environment(settings: Settings, server: str) -> dict[str, str]:
    """What tells a server its database. Not its command line, which everybody on the machine may read."""
    told = f"sqlite:///{settings.home / 'mlflow' / 'mlflow.db'}"
    if database := name(settings, server):
        url = sa.engine.make_url(settings.ledger).set(drivername=SERVERS[server], database=database)
        if server == "prefect":  # asyncpg knows none of libpq's parameters, and this one by another name
            url = url.set(query={"ssl": mode} if (mode := url.query.get("sslmode")) else {})
        told = url.render_as_string(hide_password=False)
    elif server == "prefect":
        return {}
    return {"PREFECT_API_DATABASE_CONNECTION_URL" if server == "prefect" else "MLFLOW_BACKEND_STORE_URI": told}


def make(settings: Settings) -> None:
    """Makes the servers' databases where they are not there.

    Raises Refusal where Postgres does not answer, or does not let this role make them.
    """
    wanted = [found for server in SERVERS if (found := name(settings, server))]
    if not wanted:
        return
    try:
        engine = sa.create_engine(settings.ledger, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
        with engine.connect() as connection:
            for database in wanted:
                query = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
                if not connection.scalar(query, {"name": database}):
                    connection.execute(sa.text(f'CREATE DATABASE "{database}"'))
        engine.dispose()
    except sa.exc.SQLAlchemyError as error:
        raise Refusal(
            f"the servers' databases cannot be made ({str(error).splitlines()[0]})", ", ".join(wanted),
            "Mend RATCHET_LEDGER_URL, or make them: `createdb NAME`",
        ) from error  # fmt: skip
