"""MLflow's and Prefect's databases: SQLite under the home, or beside the ledger in Postgres."""

import sqlalchemy as sa

from ratchet.errors import Refusal
from ratchet.settings import Settings

SERVERS = {"mlflow": "postgresql+psycopg", "prefect": "postgresql+asyncpg"}
"""Each server with the driver that it uses."""


def name(settings: Settings, server: str) -> str:
    """The name of a server's database in Postgres; empty if it is SQLite."""
    url = sa.engine.make_url(settings.ledger)
    return "" if url.get_backend_name() == "sqlite" else f"{url.database}_{server}"


def environment(settings: Settings, server: str) -> dict[str, str]:
    """The variable that names a server's database. Everybody on the machine could read a command line."""
    database = name(settings, server)
    if server == "prefect" and not database:
        return {}
    location = f"sqlite:///{settings.home / 'mlflow' / 'mlflow.db'}"
    if database:
        url = sa.engine.make_url(settings.ledger).set(drivername=SERVERS[server], database=database)
        if server == "prefect":  # asyncpg accepts none of libpq's parameters but this, under another name
            url = url.set(query={"ssl": mode} if (mode := url.query.get("sslmode")) else {})
        location = url.render_as_string(hide_password=False)
    variable = "PREFECT_API_DATABASE_CONNECTION_URL" if server == "prefect" else "MLFLOW_BACKEND_STORE_URI"
    return {variable: location}


def create(settings: Settings) -> None:
    """Creates the servers' databases if they do not exist.

    Raises Refusal if Postgres does not answer, or does not let this role create them.
    """
    wanted = [database for server in SERVERS if (database := name(settings, server))]
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
        what = f"the servers' databases cannot be created ({str(error).splitlines()[0]})"
        next = "Correct RATCHET_LEDGER_URL, or create them: `createdb NAME`"
        raise Refusal(what, ", ".join(wanted), next) from error
