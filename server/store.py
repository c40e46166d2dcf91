"""The only module that opens SQLite.

A unit of work is a plain function ``fn(tx, ...)``. It never commits, awaits, touches git or processes, or reads the
clock. ``Store`` runs it on the calling thread, ``AsyncStore`` in one hop on aiosqlite's thread; both go through
``in_transaction``, so there is one body and no sync/async twin (design 3).

Writers take turns (``turns``), and every write is ``BEGIN IMMEDIATE``: with deferred transactions six processes got
SQLITE_BUSY in two of three, so that no unit could rely on having run. A cancelled coroutine does not cancel the unit:
it commits or rolls back whole.
"""

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from . import migrate, sample_file
from .announcements import Announcer
from .errors import DatabaseBusy, DatabaseCorrupt, InvalidInput, StoreError
from .turns import Turns

P = ParamSpec("P")
T = TypeVar("T")
Row = sqlite3.Row
Parameters = Sequence[Any] | Mapping[str, Any]

IntegrityError = sqlite3.IntegrityError

BUSY_TIMEOUT_SECONDS = 5.0
# full: what was accepted survives a power cut, not only a kill (design 7).
Durability = Literal["full", "normal"]


class Transaction:
    """What a unit of work may do with the database: read and write, never begin or commit.

    ``subjects`` are the types of what it has recorded events of; ``has_changed`` any row.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.subjects: set[str] = set()
        self.has_changed = False

    def _execute(self, sql: str, parameters: Parameters) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, parameters)
        except UnicodeEncodeError:  # what git names may be no UTF-8, which SQLite takes no other text than
            if isinstance(parameters, Mapping):
                return self._connection.execute(sql, {name: _as_text(value) for name, value in parameters.items()})
            return self._connection.execute(sql, [_as_text(value) for value in parameters])
        except OverflowError as error:
            raise InvalidInput(
                "A number is larger than the database can hold.", hint=f"Give whole numbers up to {2**63 - 1}."
            ) from error

    def one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        row: Row | None = self._execute(sql, parameters).fetchone()
        return row

    def only(self, sql: str, parameters: Parameters = ()) -> Row:
        """The row that is known to be there (an INSERT's RETURNING, a key that a foreign key guards)."""
        row = self.one(sql, parameters)
        if row is None:
            raise LookupError(sql)
        return row

    def all(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        return self._execute(sql, parameters).fetchall()

    def tuples(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows without their names, in less than half the time: for queries that give a hundred thousand."""
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql).fetchall()

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, parameters)
        return None if row is None else row[0]

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        """Execute a write; returns the number of rows it changed."""
        return self._execute(sql, parameters).rowcount

    def insert(self, sql: str, parameters: Parameters = ()) -> int:
        """Insert one row; returns its rowid, which costs less than RETURNING."""
        return self._execute(sql, parameters).lastrowid or 0

    def many(self, sql: str, rows: Sequence[Parameters]) -> None:
        self._connection.executemany(sql, rows)


def data_version(tx: Transaction) -> int:
    """A number that changes when another connection has committed."""
    return int(tx.value("PRAGMA data_version"))


def _as_text(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


Unit = Callable[Concatenate[Transaction, P], T]


def connect(path: Path, *, query_only: bool = False, durability: Durability = "full") -> sqlite3.Connection:
    """Open ``orchestrator.db`` at ``path`` with ``metrics.db`` attached, at the present schema."""
    with _mapped_errors(path), _closed_on_error(_open_files(path)) as connection:
        connection.row_factory = sqlite3.Row
        # One process at a time: the switch to WAL of a new file does not wait as other statements do.
        with migrate.exclusive(path):
            connection.execute("PRAGMA main.journal_mode = WAL")
            sample_file.attach(connection, path)
            connection.execute(f"PRAGMA main.synchronous = {durability}")
            # Samples: that a power cut takes the last of them does no harm.
            connection.execute("PRAGMA metrics.synchronous = normal")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate.bring_up_to_date(connection, path)
        if query_only:
            connection.execute("PRAGMA query_only = ON")
        return connection


def _open_files(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in (path, sample_file.beside(path)):
            # Before SQLite makes them: its -wal and -shm files take their rights from these. Never open()ed here:
            # closing any descriptor of a database drops the locks that this process has on it.
            if not file.exists():
                file.touch(mode=0o600)
            elif file.is_file():
                file.chmod(0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="Check that its folder can be written to.") from error
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_SECONDS)


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


class Reader:
    """The database for whoever only looks: it makes, migrates and writes nothing. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError where it is no database, OldSchema where opening it to write makes it one to read."""
        self.path = path
        self._lock = threading.Lock()
        with _mapped_errors(path):
            self._connection = _read_only(path)
        with _closed_on_error(self._connection), _mapped_errors(path):
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("SELECT count(*) FROM main.sqlite_schema")
            if not sample_file.attach_to_read(self._connection, path):
                migrate.make_samples(self._connection)
            migrate.require_present(self._connection, path)

    def read(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``Store.read``."""
        with self._lock:
            return in_transaction(Transaction(self._connection), self.path, None, unit, args, kwargs)

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Health:
    """How a database file stands: its schema, the one that this version knows, and what is wrong with what it holds."""

    version: int
    known: int
    damage: list[str]


def health(path: Path) -> Health:
    """Look through the whole file, which takes a second for some hundred MB. Raises StoreError where it is none."""
    with _mapped_errors(path), closing(_read_only(path)) as connection:
        damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        damage += [
            f"row {row[1]} of {row[0]} names a row of {row[2]} that is not there"
            for row in connection.execute("PRAGMA foreign_key_check")
        ]
        return Health(int(connection.execute("PRAGMA user_version").fetchone()[0]), migrate.VERSION, damage)


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_SECONDS,
    )


class Store:
    """The database, for callers with a thread of their own. Safe to share between threads."""

    def __init__(
        self,
        path: Path,
        *,
        after_commit: Callable[[Collection[str]], None] = lambda _: None,
        durability: Durability = "full",
    ) -> None:
        """``after_commit`` gets the types of what there are new events of."""
        self.path = path
        self._after_commit = after_commit
        self._announcer = Announcer(path)
        self._durability = durability
        self._writer = connect(path, durability=durability)
        self._reader = connect(path, query_only=True)
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._turns = Turns(path)

    def run(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of work that writes, in one transaction. Raises DatabaseBusy after five seconds' wait."""
        tx = Transaction(self._writer)
        with self._write_lock:
            result = in_transaction(tx, self.path, self._turns, unit, args, kwargs)
        tell(tx, self._announcer, self._after_commit)
        return result

    def run_again_if_lost(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``run``, for what a power cut may undo, since it is done again then: what is taken in from files, say.

        It is on disk with the next transaction at the latest, and does not wait for the disk itself.
        """
        tx = Transaction(self._writer)
        with self._write_lock, unsynced(self._writer, self.path, self._durability):
            result = in_transaction(tx, self.path, self._turns, unit, args, kwargs)
        tell(tx, self._announcer, self._after_commit)
        return result

    def note(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``run``, for samples: nobody is told, since nobody waits for them."""
        with self._write_lock:
            return in_transaction(
                Transaction(self._writer), sample_file.beside(self.path), self._turns, unit, args, kwargs
            )

    def read(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of work that only reads; it never waits for a writer."""
        with self._read_lock:
            return in_transaction(Transaction(self._reader), self.path, None, unit, args, kwargs)

    def close(self) -> None:
        """Returns when the units at work on other threads are done. May be called twice."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()
            self._turns.close()


@contextmanager
def unsynced(connection: sqlite3.Connection, path: Path, durability: Durability) -> Iterator[None]:
    """Within the block commits do not wait for the disk; the next one outside of it does, for them as well."""
    if durability == "normal":  # none ever waits
        yield
        return
    with _mapped_errors(path):
        connection.execute("PRAGMA main.synchronous = normal")
        try:
            yield
        finally:
            connection.execute(f"PRAGMA main.synchronous = {durability}")


def in_transaction(
    tx: Transaction,
    path: Path,
    turns: Turns | None,
    unit: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> T:
    """Run the unit in a transaction of its own, which writes where there are ``turns`` to take, else reads."""
    try:
        if turns is None:
            return _in_transaction(tx, "BEGIN", unit, args, kwargs)
        turns.take(BUSY_TIMEOUT_SECONDS)
        try:
            return _in_transaction(tx, "BEGIN IMMEDIATE", unit, args, kwargs)
        finally:
            turns.give()
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise _ours(error, path) from error


def _in_transaction(
    tx: Transaction, begin: str, unit: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> T:
    connection = tx._connection
    before = connection.total_changes
    connection.execute(begin)
    try:
        result = unit(tx, *args, **kwargs)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    tx.has_changed = connection.total_changes != before
    return result


def tell(tx: Transaction, announcer: Announcer, after_commit: Callable[[Collection[str]], None]) -> None:
    """Say that the unit of ``tx`` is committed, where it has changed anything."""
    if tx.has_changed:
        announcer.announce()
        after_commit(tx.subjects)


@contextmanager
def _mapped_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise _ours(error, path) from error


def _ours(error: sqlite3.DatabaseError, path: Path) -> StoreError:
    """The one place where sqlite's errors become ours; a broken constraint is the unit's own business."""
    if not isinstance(error, sqlite3.OperationalError):
        is_damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
        return (DatabaseCorrupt if is_damaged else StoreError)(
            f"{path} cannot be read as a database: {error}",
            hint="It holds samples only: once nothing runs, move it away, and a new one is made."
            if path.name == sample_file.NAME
            else "Look with `crewyard doctor` which file it is; put a backup in its place.",
        )
    # The lower byte is the kind of error; the rest says more of it.
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseBusy(
            f"Another process holds {path} for longer than {BUSY_TIMEOUT_SECONDS:g} s.",
            hint="Call again; if it stays so, look for a process that has the file open.",
        )
    return StoreError(f"{path}: {error}", hint="Check that the disk is not full and the file writable.")
