"""What happened and is under way: one table of events, appended, and a lease beside it.

Inserting the next `seq` is the compare-and-set; the state is the fold of the rows; the history is
the same rows. SQLite by default, any SQLAlchemy URL otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ratchet.errors import Refusal

FORMAT = 2
"""Of an entry. `entries.py` reads the one before."""
_META = sa.MetaData()
_EVENTS = sa.Table(
    "events", _META,
    sa.Column("recipe", sa.String(100), primary_key=True), sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False), sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("who", sa.String(200), nullable=False), sa.Column("format", sa.Integer, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)  # fmt: skip
_LEASES = sa.Table(
    "leases", _META, sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("holder", sa.String(200), nullable=False), sa.Column("expires", sa.Float, nullable=False),
)  # fmt: skip
_SAID = sa.Table(
    "said", _META, sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("at", sa.Float, nullable=False), sa.Column("body", sa.JSON, nullable=False),
)  # fmt: skip


_LABELS = sa.Table(
    "labels", _META, sa.Column("recipe", sa.String(100), primary_key=True),
    sa.Column("request", sa.String(100), primary_key=True),
    sa.Column("at", sa.Float, nullable=False), sa.Column("label", sa.Integer, nullable=False),
    sa.Index("labels_at", "recipe", "at"),
)  # fmt: skip
LABELS_KEPT = 7 * 86400.0
"""Seconds."""


@dataclass(frozen=True)
class Entry:
    recipe: str
    seq: int
    at: float
    kind: str
    who: str
    body: Mapping[str, Any]
    format: int = FORMAT


@dataclass(frozen=True)
class Said:
    """The last word of one process, replaced by its next."""

    at: float
    body: Mapping[str, Any]


class Lost(Exception):
    """Somebody else wrote this `seq` first: fold again and decide anew."""


@dataclass(frozen=True)
class Ledger:
    url: str

    @cached_property
    def _engine(self) -> sa.Engine:
        try:
            if self.url.startswith("sqlite:///"):
                Path(self.url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
                engine = sa.create_engine(self.url, connect_args={"timeout": 15})
                # WAL: readers (status, flows) never block the controller.
                sa.event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA journal_mode=WAL"))
            else:
                # A network that swallows everything, or a machine that is gone, must not hold a tick for ever.
                patience = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 5,
                            "keepalives_interval": 2, "keepalives_count": 3}  # fmt: skip
                engine = sa.create_engine(self.url, pool_pre_ping=True, connect_args=patience)
            try:
                _META.create_all(engine)
            except sa.exc.DBAPIError:
                _META.create_all(engine)  # another process made the tables in between
        except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
            raise self._refused(error) from error
        return engine

    def _refused(self, error: Exception) -> Refusal:
        what = f"the ledger cannot be opened ({str(error).splitlines()[0]})"
        own = "See that RATCHET_HOME is a folder that you may write, or mend RATCHET_LEDGER_URL"
        return Refusal(what, self._place, own if self.url.startswith("sqlite") else "Mend RATCHET_LEDGER_URL")

    @property
    def _place(self) -> str:
        """Without its password."""
        return sa.engine.url.make_url(self.url).render_as_string() if "://" in self.url else "RATCHET_LEDGER_URL"

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        """A transaction. Raises Refusal when the database is not there; IntegrityError is the caller's."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.IntegrityError:
            raise
        except sa.exc.SQLAlchemyError as error:
            raise self._refused(error) from error

    def append(
        self, recipe: str, seq: int, kind: str, who: str, body: Mapping[str, Any], at: float | None = None
    ) -> Entry:
        """Writes entry `seq`, which must be the next. Raises Lost when it is there already."""
        entry = Entry(recipe, seq, time.time() if at is None else at, kind, who, body)
        row = {**vars(entry), "body": dict(body)}
        try:
            with self._begin() as connection:
                connection.execute(_EVENTS.insert(), row)
        except sa.exc.IntegrityError as error:
            raise Lost from error
        return entry

    def read(self, recipe: str, after: int = 0) -> list[Entry]:
        """A recipe's entries after `seq`, oldest first. Raises Refusal on a newer format."""
        query = _EVENTS.select().where(_EVENTS.c.recipe == recipe, _EVENTS.c.seq > after).order_by(_EVENTS.c.seq)
        with self._begin() as connection:
            rows = connection.execute(query).mappings().all()
        if rows and max(r["format"] for r in rows) > FORMAT:
            raise Refusal("the ledger was written by a newer Ratchet", self._place, "Upgrade this one")
        return [Entry(**r) for r in rows]

    def recipes(self) -> list[str]:
        with self._begin() as connection:
            return list(connection.scalars(sa.select(_EVENTS.c.recipe).distinct().order_by(_EVENTS.c.recipe)))

    def say(self, name: str, body: Mapping[str, Any], at: float) -> None:
        """Replaces what `name` said last: where it is, what it sees. No history is kept of it."""
        row = {"at": at, "body": dict(body)}
        with self._begin() as connection:
            if connection.execute(_SAID.update().where(_SAID.c.name == name).values(**row)).rowcount:
                return
        with suppress(sa.exc.IntegrityError), self._begin() as connection:
            connection.execute(_SAID.insert(), {"name": name, **row})

    def heard(self, kind: str) -> dict[str, Said]:
        """What those named `kind:NAME` said last, by NAME."""
        query = _SAID.select().where(_SAID.c.name.startswith(f"{kind}:", autoescape=True))
        with self._begin() as connection:
            rows = connection.execute(query).mappings().all()
        return {r["name"].partition(":")[2]: Said(r["at"], r["body"]) for r in rows}

    def forget(self, name: str) -> None:
        with self._begin() as connection:
            connection.execute(_SAID.delete().where(_SAID.c.name == name))

    def label(self, recipe: str, labels: Mapping[str, int], at: float) -> None:
        """Keeps what the right class was, by request id, for `LABELS_KEPT`; one that came before is replaced."""
        mine = _LABELS.c.recipe == recipe
        rows = [{"recipe": recipe, "request": id, "at": at, "label": label} for id, label in labels.items()]
        gone = _LABELS.delete().where(_LABELS.c.recipe == sa.bindparam("r"), _LABELS.c.request == sa.bindparam("i"))
        try:
            with self._begin() as connection:
                connection.execute(_LABELS.delete().where(mine, _LABELS.c.at < at - LABELS_KEPT))
                connection.execute(gone, [{"r": recipe, "i": id} for id in labels])
                connection.execute(_LABELS.insert(), rows)
        except sa.exc.IntegrityError as error:
            raise Refusal("another tells labels of the same requests at this moment", recipe, "Run it again") from error

    def labels(self, recipe: str, since: float) -> dict[str, int]:
        """Those that came at `since` or later, by request id."""
        query = sa.select(_LABELS.c.request, _LABELS.c.label).where(_LABELS.c.recipe == recipe, _LABELS.c.at >= since)
        with self._begin() as connection:
            return {row.request: row.label for row in connection.execute(query)}

    def lease(self, name: str, holder: str, seconds: float, now: float | None = None) -> bool:
        """Takes or renews the lease `name` for `seconds`; False while another holds it."""
        now = time.time() if now is None else now
        mine = sa.or_(_LEASES.c.holder == holder, _LEASES.c.expires < now)
        with self._begin() as connection:
            renewed = connection.execute(
                _LEASES.update().where(_LEASES.c.name == name, mine).values(holder=holder, expires=now + seconds)
            )
            if renewed.rowcount:
                return True
        try:
            with self._begin() as connection:
                connection.execute(_LEASES.insert(), {"name": name, "holder": holder, "expires": now + seconds})
        except sa.exc.IntegrityError:
            return False
        return True

    def release(self, name: str, holder: str) -> None:
        """Gives the lease back."""
        with self._begin() as connection:
            connection.execute(_LEASES.delete().where(_LEASES.c.name == name, _LEASES.c.holder == holder))

    def holder(self, name: str, now: float | None = None) -> str | None:
        """Who holds the lease now, or None."""
        query = sa.select(_LEASES.c.holder).where(_LEASES.c.name == name, _LEASES.c.expires >= (now or time.time()))
        with self._begin() as connection:
            return connection.scalar(query)


@contextmanager
def held(book: Ledger, name: str, holder: str, seconds: float = 30.0) -> Iterator[Callable[[], None]]:
    """Holds a lease with a heartbeat while the block runs; a crash frees it after `seconds`.

    Yields a function that raises Refusal when the lease was lost, to call before what must not be
    done twice. Raises Refusal when another holds it, also after waiting once for a dead holder's to expire.
    """
    until = time.time() + seconds + 1
    while not book.lease(name, holder, seconds):
        if time.time() > until:
            raise Refusal(f"{book.holder(name)} is at it", name, "Wait for it to end")
        time.sleep(1)
    done, last = threading.Event(), [time.time()]

    def still() -> None:
        if time.time() - last[0] > seconds:
            raise Refusal("this run stood still for so long that another may have begun", name, "Run it again")

    def beat() -> None:
        while not done.wait(seconds / 5):
            with suppress(Refusal):  # busy: the next beat is in time
                if book.lease(name, holder, seconds):
                    last[0] = time.time()
                else:
                    last[0] = 0.0  # another took it

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield still
    finally:
        done.set()
        thread.join()
        book.release(name, holder)
