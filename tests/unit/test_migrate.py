"""Creating and migrating the database."""

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from crewyard.server import migrate
from crewyard.server.errors import StoreError
from crewyard.server.migrate import Migration
from crewyard.server.store import Store, Transaction, connect

ADDS_A_COLUMN = Migration(migrate.VERSION + 1, "ALTER TABLE roadmap_priority ADD COLUMN colour TEXT;")
FAILS_HALFWAY = Migration(
    migrate.VERSION + 1, "ALTER TABLE roadmap_priority ADD COLUMN colour TEXT; INSERT INTO no_such_table VALUES (1);"
)


def migrated(database: Path, steps: Sequence[Migration]) -> None:
    connection = connect(database)
    try:
        with migrate.exclusive(database):
            migrate.bring_up_to_date(connection, database, steps, migrate.VERSION + len(steps))
    finally:
        connection.close()


def columns(tx: Transaction) -> set[str]:
    return {row["name"] for row in tx.all("PRAGMA table_info(roadmap_priority)")}


def version_of(database: Path) -> int:
    connection = sqlite3.connect(database)
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    connection.close()
    return version


def backups(database: Path) -> list[Path]:
    return sorted(database.parent.glob("*.backup"))


def schema_of(connection: sqlite3.Connection) -> dict[str, str]:
    """Every object's name and its definition with the spaces made alike."""
    rows = connection.execute(
        "SELECT name, sql FROM main.sqlite_master UNION ALL SELECT 'metrics.' || name, sql FROM metrics.sqlite_master"
    )
    return {name: alike(sql or "") for name, sql in rows if "sqlite_autoindex" not in name}


def alike(sql: str) -> str:
    return re.sub(r" ?([(),]) ?", r"\1", " ".join(sql.split()))


@pytest.fixture
def existing(database: Path) -> Path:
    """A database at the present schema with something in it."""
    store = Store(database)
    store.run(lambda tx: tx.run("INSERT INTO roadmap_priority (id, title) VALUES ('P', 'kept')"))
    store.close()
    return database


def test_each_change_of_the_schema_has_its_migration() -> None:
    assert sorted({step.version for step in migrate.MIGRATIONS}) == list(range(2, migrate.VERSION + 1))


def test_schema_and_all_migrations_give_the_same_database(tmp_path: Path) -> None:
    """The first schema is kept beside this file as schema-1.sql as soon as there is a migration to start from it."""
    first = Path(__file__).with_name("schema-1.sql")
    assert first.exists() or not migrate.MIGRATIONS
    fresh = connect(tmp_path / "fresh" / "orchestrator.db")
    old = sqlite3.connect(tmp_path / "orchestrator.db", isolation_level=None)
    old.execute("ATTACH DATABASE ? AS metrics", (str(tmp_path / "metrics.db"),))
    if first.exists():
        old.executescript(first.read_text() + "PRAGMA user_version = 1; PRAGMA metrics.user_version = 1;")
    migrate.bring_up_to_date(old, tmp_path / "orchestrator.db")

    assert schema_of(old) == schema_of(fresh)
    migrate.require_present(old, tmp_path / "orchestrator.db")
    fresh.close()
    old.close()


def test_what_is_up_to_date_is_not_backed_up(existing: Path) -> None:
    Store(existing).close()

    assert backups(existing) == []


def test_a_migration_keeps_the_rows_and_leaves_a_backup_of_before(existing: Path) -> None:
    migrated(existing, [ADDS_A_COLUMN])

    assert version_of(existing) == migrate.VERSION + 1
    connection = sqlite3.connect(existing)
    assert connection.execute("SELECT id, title, colour FROM roadmap_priority").fetchall() == [("P", "kept", None)]
    connection.close()
    [backup] = backups(existing)
    assert version_of(backup) == migrate.VERSION
    assert backup.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_backup_left_goes_with_the_next_one(existing: Path) -> None:
    for name in ("orchestrator.db.v4-20260101T000000000Z.part", "orchestrator.db.v4-20260101T000000000Z.part-journal"):
        existing.with_name(name).write_bytes(b"half")
    migrated(existing, [ADDS_A_COLUMN])

    assert list(existing.parent.glob("*.part*")) == []
    assert len(backups(existing)) == 1


def test_a_migration_that_fails_leaves_the_database_as_it_was(existing: Path) -> None:
    with pytest.raises(StoreError, match="no_such_table"):
        migrated(existing, [FAILS_HALFWAY])

    store = Store(existing)
    assert "colour" not in store.read(columns)
    assert store.read(lambda tx: tx.value("SELECT title FROM roadmap_priority")) == "kept"
    store.close()
    assert len(backups(existing)) == 1


def test_a_migration_goes_on_where_it_was_interrupted(existing: Path) -> None:
    second = Migration(migrate.VERSION + 2, "ALTER TABLE roadmap_priority ADD COLUMN weight REAL;")
    migrated(existing, [ADDS_A_COLUMN])

    raw = sqlite3.connect(existing, isolation_level=None)
    raw.row_factory = sqlite3.Row
    raw.execute("ATTACH DATABASE ? AS metrics", (str(existing.with_name("metrics.db")),))
    migrate.bring_up_to_date(raw, existing, [ADDS_A_COLUMN, second], migrate.VERSION + 2)

    assert {"colour", "weight"} <= columns(Transaction(raw))
    raw.close()


def test_a_database_of_a_newer_crewyard_is_refused_and_left_alone(existing: Path) -> None:
    connection = sqlite3.connect(existing)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = existing.read_bytes()

    with pytest.raises(StoreError, match="newer Crewyard") as caught:
        Store(existing)

    assert "Upgrade" in caught.value.hint
    assert existing.read_bytes() == before
    assert backups(existing) == []


def test_someone_elses_database_of_the_same_name_is_refused_and_left_alone(database: Path) -> None:
    database.parent.mkdir()
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE agent_message (mine TEXT)")
    connection.commit()
    connection.close()

    with pytest.raises(StoreError, match="agent_message already exists"):
        Store(database)

    connection = sqlite3.connect(database)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("agent_message",)]
    connection.close()
