"""The database and its two faces. What needs several processes is in tests/system/test_store_processes.py."""

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from crewyard.server import events, store
from crewyard.server.async_store import AsyncStore
from crewyard.server.errors import DatabaseBusy, InvalidInput, StoreError
from crewyard.server.store import IntegrityError, Reader, Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"


def note(tx: Transaction, name: str) -> int:
    return events.record(tx, now=NOW, actor="me", subject_type="test", subject_id=name, kind="noted")


def noted(tx: Transaction) -> list[str]:
    return [row["subject_id"] for row in events.after(tx, 0)]


def note_and_break(tx: Transaction, name: str) -> None:
    note(tx, name)
    raise ZeroDivisionError


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BUSY_TIMEOUT_SECONDS", 0.05)


def test_a_unit_commits_and_returns_its_result(store: Store) -> None:
    assert store.run(note, "one") == 1
    assert store.read(noted) == ["one"]


def test_an_exception_in_a_unit_undoes_all_of_it_and_nothing_else(store: Store) -> None:
    store.run(note, "before")
    with pytest.raises(ZeroDivisionError):
        store.run(note_and_break, "broken")
    store.run(note, "after")

    assert store.read(noted) == ["before", "after"]


def test_a_broken_constraint_reaches_the_unit_that_broke_it(store: Store) -> None:
    def refers_to_nothing(tx: Transaction) -> None:
        tx.run("INSERT INTO dispatch_task (dispatch_id, task_id) VALUES ('none', 'none')")

    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        store.run(refers_to_nothing)


def test_a_number_that_is_too_large_is_refused_and_undoes_the_unit(store: Store) -> None:
    def writes_it(tx: Transaction) -> None:
        note(tx, "before")
        tx.run("UPDATE agent_lifecycle SET input_tokens = :count", {"count": 2**63})

    with pytest.raises(InvalidInput, match="larger than the database can hold"):
        store.run(writes_it)
    assert store.read(noted) == []


def test_a_reading_unit_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError, match="readonly"):
        store.read(note, "sneaked in")

    assert store.read(noted) == []


def test_a_reader_does_not_wait_for_a_writer(store: Store) -> None:
    store.run(note, "one")

    def read_meanwhile(tx: Transaction) -> list[str]:
        note(tx, "two")
        return store.read(noted)

    assert store.run(read_meanwhile) == ["one"]


def test_two_stores_see_the_same_database(store: Store, database: Path) -> None:
    other = Store(database)
    store.run(note, "here")
    other.run(note, "there")

    assert store.read(noted) == other.read(noted) == ["here", "there"]
    other.close()


def test_threads_share_a_store(store: Store) -> None:
    threads = [threading.Thread(target=lambda: [store.run(note, "n") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(store.read(noted)) == 80


@pytest.mark.usefixtures("impatient")
def test_a_database_that_another_holds_is_busy_and_says_so(store: Store, database: Path) -> None:
    held = sqlite3.connect(database, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    impatient = Store(database)

    with pytest.raises(DatabaseBusy, match=r"orchestrator\.db") as caught:
        impatient.run(note, "refused")

    assert caught.value.retryable
    held.execute("ROLLBACK")
    impatient.run(note, "accepted")
    assert store.read(noted) == ["accepted"]
    held.close()
    impatient.close()


def test_events_are_never_changed_or_removed(store: Store) -> None:
    store.run(note, "one")

    for sql in ("UPDATE event SET actor = 'you'", "DELETE FROM event"):
        with pytest.raises(IntegrityError, match="append-only"):
            store.run(lambda tx, sql=sql: tx.run(sql))

    assert store.read(noted) == ["one"]


def test_what_is_no_database_is_refused_as_it_is(database: Path) -> None:
    database.parent.mkdir()
    database.write_bytes(b"this is no database" * 100)

    with pytest.raises(StoreError, match="cannot be read as a database"):
        Store(database)

    assert database.read_bytes() == b"this is no database" * 100


def test_broken_samples_keep_nobody_from_the_database_and_are_set_aside(store: Store, database: Path) -> None:
    store.run(note, "kept")
    store.close()
    samples = database.with_name("metrics.db")
    samples.write_bytes(b"this is no database" * 500)

    with closing(Reader(database)) as reader:
        assert reader.read(noted) == ["kept"]
    again = Store(database)
    assert again.read(noted) == ["kept"]
    assert again.read(lambda tx: tx.value("SELECT count(*) FROM metrics.metrics")) == 0
    again.close()
    Reader(database).close()
    [aside] = [path for path in database.parent.glob("metrics.db.broken-*") if path.is_file()]
    assert aside.read_bytes() == b"this is no database" * 500
    assert stat.S_IMODE(samples.stat().st_mode) == 0o600


def test_samples_that_are_gone_keep_nobody_from_looking_and_are_made_anew_by_who_writes(
    store: Store, database: Path
) -> None:
    store.run(note, "kept")
    store.close()
    database.with_name("metrics.db").unlink()

    with closing(Reader(database)) as reader:
        assert reader.read(noted) == ["kept"]
    assert not database.with_name("metrics.db").exists()
    Store(database).close()
    assert database.with_name("metrics.db").exists()


def test_a_broken_database_is_named_although_its_samples_are_gone(store: Store, database: Path) -> None:
    store.close()
    database.with_name("metrics.db").unlink()
    database.write_bytes(b"this is no database" * 500)

    with pytest.raises(StoreError, match=r"orchestrator\.db cannot be read as a database"):
        Reader(database)


def test_samples_that_break_while_they_are_taken_are_named_and_nothing_else_is_hindered(
    store: Store, database: Path
) -> None:
    sample = "INSERT INTO metrics.metrics (timestamp, metric_type, value, unit) VALUES (?, 'cpu_percent', 1.0, 'x')"
    store.run(lambda tx: tx.many(sample, [(f"{NOW}{number}",) for number in range(2000)]))
    store.close()
    samples = database.with_name("metrics.db")
    with samples.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (samples.stat().st_size - 4096))

    again = Store(database)
    with pytest.raises(StoreError, match=r"metrics\.db cannot be read") as caught:
        again.note(lambda tx: tx.run(sample, (NOW,)))
    assert "samples only" in caught.value.hint
    again.run(note, "kept")
    assert again.read(noted) == ["kept"]
    again.close()


def test_a_page_that_was_damaged_is_a_store_error(store: Store, database: Path) -> None:
    for number in range(200):
        store.run(note, f"{number}" * 50)
    store.close()
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))

    with pytest.raises(StoreError):
        Store(database).read(noted)


@pytest.mark.parametrize("in_the_way", ["a folder", "a file where its folder should be"])
def test_a_place_where_no_file_can_be_is_a_store_error(tmp_path: Path, in_the_way: str) -> None:
    database = tmp_path / "data" / "orchestrator.db"
    if in_the_way == "a folder":
        database.mkdir(parents=True)
    else:
        database.parent.touch()

    with pytest.raises(StoreError, match=r"orchestrator\.db"):
        Store(database)


def test_only_the_owner_can_read_any_of_its_files(store: Store, database: Path) -> None:
    store.run(note, "one")
    rights = {file.name: stat.S_IMODE(file.stat().st_mode) for file in database.parent.iterdir()}

    assert {"orchestrator.db", "orchestrator.db-wal", "metrics.db"} <= rights.keys()
    assert set(rights.values()) == {0o600}
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700


def test_every_commit_is_announced_and_no_rollback(database: Path) -> None:
    commits: list[int] = []
    store = Store(database, after_commit=lambda _: commits.append(1))
    store.run(note, "one")
    with pytest.raises(ZeroDivisionError):
        store.run(note_and_break, "two")
    store.read(noted)
    store.close()

    assert len(commits) == 1


def test_a_commit_tells_of_what_there_are_new_events(database: Path) -> None:
    told: list[set[str]] = []
    store = Store(database, after_commit=lambda subjects: told.append(set(subjects)))
    store.run(lambda tx: [of(tx, "task"), of(tx, "message")])
    store.run(noted)
    store.close()

    assert told == [{"task", "message"}], "and nothing of what changed nothing"


def of(tx: Transaction, subject_type: str) -> int:
    return events.record(
        tx, now="2026-01-01T00:00:00.000Z", actor="test", subject_type=subject_type, subject_id="1", kind="seen"
    )


@pytest.mark.anyio
async def test_a_glance_sees_what_is_committed_and_a_closed_store_has_none_left_open(database: Path) -> None:
    other = AsyncStore(database)
    await other.open()
    await other.run(note, "one")
    assert await other.glance(noted) == ["one"]
    opened = open_files(database.parent)
    await other.close()

    assert opened
    assert open_files(database.parent) == []


def open_files(folder: Path) -> list[Path]:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [target for link in links if (target := link.readlink()).is_relative_to(folder)]


@pytest.mark.anyio
async def test_both_faces_see_the_same_database(store: Store, database: Path) -> None:
    other = AsyncStore(database)
    await other.open()
    await other.run(note, "from a coroutine")
    store.run(note, "from a thread")

    assert await other.read(noted) == store.read(noted) == ["from a coroutine", "from a thread"]
    await other.close()


@pytest.mark.anyio
async def test_an_exception_reaches_the_coroutine_and_undoes_the_unit(store: Store, database: Path) -> None:
    other = AsyncStore(database)
    await other.open()

    with pytest.raises(ZeroDivisionError):
        await other.run(note_and_break, "broken")

    assert store.read(noted) == []
    await other.close()


@pytest.mark.anyio
async def test_a_rollback_of_one_coroutine_leaves_the_writes_of_others(database: Path) -> None:
    shared = AsyncStore(database)
    await shared.open()

    async def write(number: int) -> None:
        if number % 2:
            with pytest.raises(ZeroDivisionError):
                await shared.run(note_and_break, f"{number}")
        else:
            await shared.run(note, f"{number}")

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(write, number)

    assert sorted(await shared.read(noted), key=int) == [f"{number}" for number in range(0, 40, 2)]
    await shared.close()


@pytest.mark.anyio
async def test_a_cancelled_coroutine_leaves_no_transaction_open(store: Store, database: Path) -> None:
    """Cancelled while its unit runs: the unit goes on to its end, is announced, and the next writer need not wait."""
    commits: list[int] = []
    shared = AsyncStore(database, after_commit=lambda _: commits.append(1))
    await shared.open()
    begun, go_on = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        note(tx, "slow")
        begun.set()
        go_on.wait(30)

    async with anyio.create_task_group() as group:
        group.start_soon(shared.run, slow)
        await anyio.to_thread.run_sync(begun.wait)
        group.cancel_scope.cancel()
    go_on.set()
    await shared.run(note, "next")

    assert store.read(noted) == ["slow", "next"]
    assert len(commits) == 2
    store.run(note, "another connection")
    await shared.close()


@pytest.mark.anyio
async def test_a_coroutine_cancelled_while_it_waits_for_the_lock_leaves_no_transaction_open(
    store: Store, database: Path
) -> None:
    shared = AsyncStore(database)
    await shared.open()

    store._writer.execute("BEGIN IMMEDIATE")
    with anyio.move_on_after(0.01):
        await shared.run(note, "waited for the lock")
    store._writer.execute("COMMIT")
    await shared.run(note, "next")

    assert store.read(noted) == ["waited for the lock", "next"]
    store.run(note, "another connection")
    await shared.close()


@pytest.mark.anyio
async def test_a_database_that_cannot_be_opened_leaves_no_thread_behind(database: Path) -> None:
    database.parent.mkdir()
    database.write_bytes(b"this is no database" * 100)
    before = set(threading.enumerate())
    broken = AsyncStore(database)

    with pytest.raises(StoreError):
        await broken.open()
    await broken.close()

    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


def test_what_can_be_taken_in_again_leaves_the_next_transaction_as_durable_as_ever(store: Store) -> None:
    def note(tx: Transaction) -> int:
        tx.run("INSERT INTO roadmap_priority (id) VALUES ('P')")
        return int(tx.value("PRAGMA main.synchronous"))

    full = store.run(lambda tx: tx.value("PRAGMA main.synchronous"))
    assert store.run_again_if_lost(note) < full
    assert store.run(lambda tx: tx.value("PRAGMA main.synchronous")) == full
    assert store.read(lambda tx: tx.value("SELECT count(*) FROM roadmap_priority")) == 1
    with pytest.raises(sqlite3.IntegrityError):
        store.run_again_if_lost(note)
    assert store.run(lambda tx: tx.value("PRAGMA main.synchronous")) == full
