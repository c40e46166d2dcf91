"""``metrics.db`` beside the database: samples, and nothing that anything else depends on."""

import contextlib
import logging
import sqlite3
from pathlib import Path

from . import clock

log = logging.getLogger(__name__)

NAME = "metrics.db"


def beside(database: Path) -> Path:
    return database.with_name(NAME)


def attach(connection: sqlite3.Connection, database: Path) -> None:
    """One that is no database is set aside for an empty one, so that it keeps nobody from what matters.

    Whoever calls is alone in it: ``migrate.exclusive``.
    """
    path = beside(database)
    try:
        _attach(connection, str(path))
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        _detach(connection)
        log.warning("%s is damaged (%s); it lies in %s now, and samples begin anew", path, error, _set_aside(path))
        path.touch(mode=0o600)
        _attach(connection, str(path))
    connection.execute("PRAGMA metrics.journal_mode = WAL")


def attach_to_read(connection: sqlite3.Connection, database: Path) -> bool:
    """Returns False where there is none, or a broken one: something empty in memory is attached in its place."""
    path = beside(database)
    try:
        _attach(connection, f"{path.absolute().as_uri()}?mode=ro")
        return True
    except sqlite3.DatabaseError as error:
        if path.exists() and not _is_damage(error):
            raise
        _detach(connection)
        _attach(connection, ":memory:")
        return False


def _attach(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("ATTACH DATABASE ? AS metrics", (name,))
    connection.execute("SELECT count(*) FROM metrics.sqlite_schema")


def _detach(connection: sqlite3.Connection) -> None:
    if any(row[1] == "metrics" for row in connection.execute("PRAGMA database_list")):
        connection.execute("DETACH DATABASE metrics")


def _set_aside(path: Path) -> Path:
    """The file itself goes last: what a kill leaves in between is damaged as before."""
    broken = path.with_name(f"{NAME}.broken-{clock.now().replace(':', '').replace('.', '')}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(NAME + suffix).rename(broken.with_name(broken.name + suffix))
    return broken


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
