"""Waiting for what another process commits: woken by its announcement, and by looking where nobody announced."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from crewyard.server.announcements import Announcer, Listener
from crewyard.server.async_store import AsyncStore
from crewyard.server.changes import Changes
from crewyard.server.store import Store, Transaction

pytestmark = pytest.mark.anyio

COMMIT = """
import sys
from pathlib import Path
from crewyard.server.store import Store
store = Store(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
store.run(lambda tx: tx.run("INSERT INTO metrics (agent, task_type, duration_ms) VALUES ('a', 't', 1)"))
"""


def noted(tx: Transaction) -> bool | None:
    return tx.one("SELECT 1 FROM main.metrics") is not None or None


async def waited(database: Path, write: Callable[[], object]) -> bool | None:
    """What a waiter sees of a write that happens while it waits."""
    store = AsyncStore(database)
    await store.open()
    try:
        changes = Changes(store)
        looked = anyio.Event()

        async def look() -> bool | None:
            found = await store.read(noted)
            looked.set()
            return found

        found: list[bool | None] = []

        async def wait() -> None:
            found.append(await changes.until(look, timeout_seconds=20))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await looked.wait()
            await anyio.to_thread.run_sync(write)
        return found[0]
    finally:
        await store.close()


async def test_a_commit_of_another_process_ends_the_wait(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewyard.server.changes.LOOK_SECONDS", 3600)  # the announcement alone
    other = subprocess.Popen(
        [sys.executable, "-c", COMMIT, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    began = time.monotonic()
    assert await waited(database, lambda: other.communicate("go\n"))
    assert time.monotonic() - began < 10


async def test_a_commit_that_nobody_announced_is_noticed(store: Store, database: Path) -> None:
    def write() -> None:
        connection = sqlite3.connect(database)
        connection.execute("INSERT INTO metrics (agent, task_type, duration_ms) VALUES ('a', 't', 1)")
        connection.commit()
        connection.close()

    assert await waited(database, write)


async def test_a_process_that_cannot_be_woken_looks_by_itself(database: Path) -> None:
    Store(database).close()
    database.with_name("orchestrator.db-listeners").write_text("not a folder")
    other = Store(database)
    write = partial(
        other.run, lambda tx: tx.run("INSERT INTO main.metrics (agent, task_type, duration_ms) VALUES ('a', 't', 1)")
    )
    assert await waited(database, write)
    other.close()


async def test_who_leaves_takes_its_pipe_along(database: Path) -> None:
    store = AsyncStore(database)
    await store.open()
    changes = Changes(store)
    folder = database.with_name("orchestrator.db-listeners")
    async with changes.heard(), changes.heard():
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []
    await store.close()


def test_the_pipe_of_a_killed_listener_is_removed(store: Store, database: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from crewyard.server.announcements import Listener;"
        "listener = Listener(Path(sys.argv[1])); print('open', flush=True); sys.stdin.readline()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    mine = Listener(database)
    other.kill()
    other.communicate()
    folder = database.with_name("orchestrator.db-listeners")
    assert len(list(folder.iterdir())) == 2
    Announcer(database).announce()
    assert [path.name.split("-")[0] for path in folder.iterdir()] == [str(os.getpid())]
    mine.drain()
    mine.close()


def test_where_nobody_can_be_told_what_was_committed_is_no_failure(store: Store, database: Path) -> None:
    database.with_name("orchestrator.db-listeners").write_text("not a folder")
    store.run(lambda tx: tx.run("INSERT INTO main.metrics (agent, task_type, duration_ms) VALUES ('a', 't', 1)"))
    assert store.read(noted)


def test_what_is_no_pipe_is_left_alone(store: Store, database: Path) -> None:
    Listener(database).close()
    precious = database.with_name("precious")
    precious.write_text("precious")
    folder = database.with_name("orchestrator.db-listeners")
    (folder / "link").symlink_to(precious)
    (folder / "file").write_text("theirs")
    Announcer(database).announce()
    assert (precious.read_text(), (folder / "file").read_text()) == ("precious", "theirs")


def test_a_listener_that_reads_nothing_hinders_no_commit(store: Store, database: Path) -> None:
    listener = Listener(database)
    announcer = Announcer(database)
    for _ in range(70_000):  # more than a pipe takes
        announcer.announce()
    listener.close()
