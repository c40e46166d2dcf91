"""Writers take turns: who waits goes before who comes back, and nobody who died or stopped is waited for."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crewyard.server.store import Store, Transaction
from crewyard.server.turns import Turns


def note(tx: Transaction) -> None:
    tx.run("INSERT INTO main.metrics (agent, task_type, duration_ms) VALUES ('a', 't', 1)")


def noted(tx: Transaction) -> int:
    return int(tx.value("SELECT count(*) FROM main.metrics"))


@contextmanager
def taken(database: Path) -> Iterator[None]:
    turns = Turns(database)
    turns.take(1.0)
    yield
    turns.give()
    turns.close()


def is_locked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_who_waits_bars_the_way_for_whoever_comes_later(store: Store, database: Path) -> None:
    queue = database.with_name("orchestrator.db-queue")
    with taken(database):
        waiter = threading.Thread(target=store.run, args=(note,))
        waiter.start()
        while not is_locked(queue):
            assert waiter.is_alive()
        assert store.read(noted) == 0
    waiter.join()
    assert store.read(noted) == 1
    assert not is_locked(queue)


def test_a_writer_that_was_killed_in_its_turn_is_not_waited_for(store: Store, database: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from crewyard.server.turns import Turns\n"
        "turns = Turns(Path(sys.argv[1])); turns.take(1.0); print('mine', flush=True); sys.stdin.readline()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "mine\n"
    assert is_locked(database.with_name("orchestrator.db-turn"))
    other.kill()
    other.communicate()
    store.run(note)
    assert store.read(noted) == 1


def test_a_writer_that_keeps_its_turn_holds_nobody_up_for_ever(
    store: Store, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewyard.server.store.BUSY_TIMEOUT_SECONDS", 0.05)
    with taken(database):  # and has not begun to write
        store.run(note)
    assert store.read(noted) == 1


def test_what_locks_is_for_its_owner_only(store: Store, database: Path) -> None:
    store.run(note)
    for name in ("queue", "turn"):
        assert database.with_name(f"orchestrator.db-{name}").stat().st_mode & 0o777 == 0o600
