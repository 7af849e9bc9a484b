"""The ledger, what happened and is in progress: one table of events that is only appended, and leases beside it.

Inserting the next `seq` is the compare-and-set, the state is the fold of the rows, and the history is the same
rows. It is SQLite by default, and any SQLAlchemy URL otherwise.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ratchet.errors import Busy, Refusal

FORMAT = 1
"""Of an entry. Raise it when an event changes its shape, and make `event_codec` read the format before."""
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
_STATUSES = sa.Table(
    "statuses", _META, sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("at", sa.Float, nullable=False), sa.Column("body", sa.JSON, nullable=False),
)  # fmt: skip
_LABELS = sa.Table(
    "labels", _META, sa.Column("recipe", sa.String(100), primary_key=True),
    sa.Column("request", sa.String(100), primary_key=True),
    sa.Column("at", sa.Float, nullable=False), sa.Column("label", sa.Integer, nullable=False),
    sa.Index("labels_at", "recipe", "at"),
)  # fmt: skip
CAUSES = sa.Table(
    "causes", _META, sa.Column("recipe", sa.String(100), primary_key=True),
    sa.Column("cause", sa.String(200), primary_key=True), sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False), sa.Column("why", sa.String(1000), nullable=False),
    sa.Column("run", sa.String(100), nullable=True), sa.Column("started", sa.Float, nullable=True),
    sa.Column("ended", sa.Float, nullable=True), sa.Column("result", sa.String(40), nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
)  # fmt: skip
"""What starts a retraining: its key is what makes one cause start one run."""
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
class Status:
    """What one process published last; its next status replaces it."""

    at: float
    body: Mapping[str, Any]


class Conflict(Exception):
    """Somebody else wrote this `seq` first: fold again and decide again."""


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
                sa.event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA secure_delete=ON"))
            else:
                # A network that drops packets, or a machine that is gone, must not delay a tick forever.
                patience = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 5,
                            "keepalives_interval": 2, "keepalives_count": 3}  # fmt: skip
                engine = sa.create_engine(self.url, pool_pre_ping=True, connect_args=patience)
            try:
                _META.create_all(engine)
            except sa.exc.DBAPIError:
                _META.create_all(engine)  # another process created the tables in between
        except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
            raise self._refused(error) from error
        return engine

    def _refused(self, error: Exception) -> Busy:
        what = f"the ledger cannot be opened ({str(error).splitlines()[0]})"
        is_file = self.url.startswith("sqlite")
        next = "Make RATCHET_HOME writable, or correct RATCHET_LEDGER_URL" if is_file else "Correct RATCHET_LEDGER_URL"
        return Busy(what, self._location, next)

    @property
    def _location(self) -> str:
        """The URL without its password."""
        return sa.engine.url.make_url(self.url).render_as_string() if "://" in self.url else "RATCHET_LEDGER_URL"

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction. Raises Refusal if the database does not answer; IntegrityError is left to the caller."""
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
        """Writes entry `seq`, which must be the next one. Raises Conflict if it exists already."""
        entry = Entry(recipe, seq, time.time() if at is None else at, kind, who, body)
        row = {**vars(entry), "body": dict(body)}
        try:
            with self.begin() as connection:
                connection.execute(_EVENTS.insert(), row)
        except sa.exc.IntegrityError as error:
            raise Conflict from error
        return entry

    def read(self, recipe: str, after: int = 0) -> list[Entry]:
        """A recipe's entries after `seq`, oldest first. Raises Refusal on a newer format."""
        query = _EVENTS.select().where(_EVENTS.c.recipe == recipe, _EVENTS.c.seq > after).order_by(_EVENTS.c.seq)
        with self.begin() as connection:
            rows = connection.execute(query).mappings().all()
        if rows and max(r["format"] for r in rows) > FORMAT:
            raise Refusal("the ledger was written by a newer Ratchet", self._location, "Upgrade this one")
        return [Entry(**r) for r in rows]

    def recipes(self) -> list[str]:
        with self.begin() as connection:
            return list(connection.scalars(sa.select(_EVENTS.c.recipe).distinct().order_by(_EVENTS.c.recipe)))

    def publish(self, name: str, body: Mapping[str, Any], at: float) -> None:
        """Replaces the status of `name`. No history of it is kept."""
        row = {"at": at, "body": dict(body)}
        with self.begin() as connection:
            if connection.execute(_STATUSES.update().where(_STATUSES.c.name == name).values(**row)).rowcount:
                return
        with suppress(sa.exc.IntegrityError), self.begin() as connection:
            connection.execute(_STATUSES.insert(), {"name": name, **row})

    def statuses(self, kind: str) -> dict[str, Status]:
        """The statuses named `kind:NAME`, by NAME."""
        query = _STATUSES.select().where(_STATUSES.c.name.startswith(f"{kind}:", autoescape=True))
        with self.begin() as connection:
            rows = connection.execute(query).mappings().all()
        return {r["name"].partition(":")[2]: Status(r["at"], r["body"]) for r in rows}

    def unpublish(self, name: str) -> None:
        with self.begin() as connection:
            connection.execute(_STATUSES.delete().where(_STATUSES.c.name == name))

    def add_labels(self, recipe: str, labels: Mapping[str, int], at: float) -> None:
        """Keeps the number of the right class by request id for `LABELS_KEPT`; an earlier label is replaced."""
        own = _LABELS.c.recipe == recipe
        rows = [{"recipe": recipe, "request": id, "at": at, "label": label} for id, label in labels.items()]
        previous = _LABELS.delete().where(_LABELS.c.recipe == sa.bindparam("r"), _LABELS.c.request == sa.bindparam("i"))
        try:
            with self.begin() as connection:
                connection.execute(_LABELS.delete().where(own, _LABELS.c.at < at - LABELS_KEPT))
                connection.execute(previous, [{"r": recipe, "i": id} for id in labels])
                connection.execute(_LABELS.insert(), rows)
        except sa.exc.IntegrityError as error:
            what = "another process writes labels of the same requests at this moment"
            raise Refusal(what, recipe, "Run it again") from error

    def labels_since(self, recipe: str, since: float) -> dict[str, int]:
        """The labels that came at `since` or later, by request id."""
        query = sa.select(_LABELS.c.request, _LABELS.c.label).where(_LABELS.c.recipe == recipe, _LABELS.c.at >= since)
        with self.begin() as connection:
            return {row.request: row.label for row in connection.execute(query)}

    def remove_labels(self, recipe: str, requests: Collection[str]) -> None:
        """Removes the labels of these requests, and of SQLite also the bytes that they leave behind."""
        mine = _LABELS.delete().where(_LABELS.c.recipe == recipe, _LABELS.c.request == sa.bindparam("i"))
        if not requests:
            return
        with self.begin() as connection:
            connection.execute(mine, [{"i": id} for id in requests])
        if self.url.startswith("sqlite"):
            with self.begin() as connection:
                connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def lease(
        self, name: str, holder: str, seconds: float, now: float | None = None, unrenewed: float | None = None
    ) -> bool:
        """Takes or renews the lease `name` for `seconds`; False while another holds it.

        One that still expires at `unrenewed` is taken, too: its holder did not renew it in the meantime.
        """
        now = time.time() if now is None else now
        available = sa.or_(_LEASES.c.holder == holder, _LEASES.c.expires < now, _LEASES.c.expires == unrenewed)
        row = {"name": name, "holder": holder, "expires": now + seconds}
        with self.begin() as connection:
            renew = _LEASES.update().where(_LEASES.c.name == name, available).values(**row)
            if connection.execute(renew).rowcount:
                return True
        try:
            with self.begin() as connection:
                connection.execute(_LEASES.insert(), row)
        except sa.exc.IntegrityError:
            return False
        return True

    def release_lease(self, name: str, holder: str) -> None:
        """Returns the lease."""
        with self.begin() as connection:
            connection.execute(_LEASES.delete().where(_LEASES.c.name == name, _LEASES.c.holder == holder))

    def holder(self, name: str, now: float | None = None) -> str | None:
        """Who holds the lease now, or None."""
        query = sa.select(_LEASES.c.holder).where(_LEASES.c.name == name, _LEASES.c.expires >= (now or time.time()))
        with self.begin() as connection:
            return connection.scalar(query)

    def expiry(self, name: str) -> float | None:
        """When the lease expires, in seconds since 1970; None if there is none."""
        with self.begin() as connection:
            return connection.scalar(sa.select(_LEASES.c.expires).where(_LEASES.c.name == name))


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""It counts while the machine is suspended, and nobody sets it."""


def _wait_for_lease(ledger: Ledger, name: str, holder: str, seconds: float, patience: float) -> None:
    """Takes a lease, that of a dead holder once it expires or has not been renewed for `seconds`.

    The clock may have been set back since a holder died. Raises Refusal if another process holds the lease.
    """
    first, start = ledger.expiry(name), time.clock_gettime(_CLOCK)
    while not ledger.lease(name, holder, seconds):
        waited = time.clock_gettime(_CLOCK) - start
        if waited > seconds + 1 and first is not None and ledger.lease(name, holder, seconds, unrenewed=first):
            return
        if waited > max(seconds + 1, patience):
            raise Refusal(f"{ledger.holder(name)} is working on it", name, "Wait until it ends")
        time.sleep(1)


@contextmanager
def hold_lease(
    ledger: Ledger, name: str, holder: str, seconds: float = 30.0, patience: float = 0.0
) -> Iterator[Callable[[], None]]:
    """Holds a lease with a heartbeat while the block runs; after a crash it expires in `seconds`.

    Yields a function that raises Refusal if the lease was lost, to be called before anything that must not be done
    twice. Raises Refusal if another process holds the lease for longer than a dead holder's takes to expire, and than
    `patience` in seconds.
    """
    _wait_for_lease(ledger, name, holder, seconds, patience)
    stopped, last = threading.Event(), [time.clock_gettime(_CLOCK)]

    def require_lease() -> None:
        if time.clock_gettime(_CLOCK) - last[0] > seconds:
            what = "this run lost its lease while it was suspended, and another one may have started"
            raise Refusal(what, name, "Run it again")

    def renew() -> None:
        while not stopped.wait(seconds / 5):
            with suppress(Refusal):  # the ledger is busy: the next heartbeat is in time
                if ledger.lease(name, holder, seconds):
                    last[0] = time.clock_gettime(_CLOCK)
                else:
                    last[0] = -seconds - 1.0  # another took it

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield require_lease
    finally:
        stopped.set()
        thread.join()
        ledger.release_lease(name, holder)
