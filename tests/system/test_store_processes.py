"""The database under several processes at once."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from crewyard.server import events
from crewyard.server.store import Store

WRITER = """
import sys
from pathlib import Path
from crewyard.server import events
from crewyard.server.store import Store

def read_and_write(tx, name):
    # Reads first: with a deferred transaction this is where two processes collide.
    count = tx.value("SELECT count(*) FROM event")
    events.record(tx, now="2026-01-01T00:00:00.000Z", actor=name, subject_type="test", subject_id=count, kind="noted")

print("ready", flush=True)
sys.stdin.readline()
store = Store(Path(sys.argv[1]))
for _ in range(int(sys.argv[3])):
    store.run(read_and_write, sys.argv[2])
store.close()
"""

KILLED_IN_ITS_TRANSACTION = """
import os, signal, sys
from pathlib import Path
from crewyard.server import events
from crewyard.server.store import Store

def write_and_die(tx):
    events.record(tx, now="2026-01-01T00:00:00.000Z", actor="me", subject_type="test", subject_id=1, kind="noted")
    os.kill(os.getpid(), signal.SIGKILL)

Store(Path(sys.argv[1])).run(write_and_die)
"""


def started_together(scripts: Sequence[Sequence[str]]) -> list[int]:
    """Run ``python -c`` with each script and its arguments; all begin when the last has come up."""
    processes = [
        subprocess.Popen([sys.executable, "-c", *script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for script in scripts
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    return [process.returncode for process in processes]


def test_four_processes_that_write_at_once_lose_nothing(database: Path) -> None:
    assert started_together([(WRITER, str(database), f"p{number}", "50") for number in range(4)]) == [0] * 4

    store = Store(database)
    rows = store.read(events.after, 0, limit=1000)
    store.close()
    # Each saw exactly what the ones before it had written: no transaction overlapped another.
    assert [int(row["subject_id"]) for row in rows] == list(range(200))
    assert {row["actor"] for row in rows} == {"p0", "p1", "p2", "p3"}


@pytest.mark.parametrize("attempt", range(5))
def test_four_processes_that_create_it_at_once_all_can_use_it(database: Path, attempt: int) -> None:
    assert started_together([(WRITER, str(database), f"p{number}", "1") for number in range(4)]) == [0] * 4


def test_a_process_killed_in_its_transaction_leaves_neither_a_lock_nor_a_row(database: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_ITS_TRANSACTION, str(database)], check=False)

    store = Store(database)
    assert killed.returncode == -9
    assert store.read(events.after, 0) == []
    store.run(events.record, now="", actor="", subject_type="", subject_id="", kind="")
    store.close()
