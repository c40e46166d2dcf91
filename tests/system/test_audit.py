"""``crewyard events``: the record of a real run, exported and followed."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import events
from crewyard.server.environment import AGENT_TOKEN
from crewyard.server.store import Store, Transaction

from .conftest import CREWYARD, Yard

KEYS = ["event_id", "at", "actor", "subject_type", "subject_id", "kind", "from_state", "to_state", "data"]


def told(yard: Yard, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*CREWYARD, "events", "--repo", str(yard.repo), "--json", *options], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def follow(yard: Yard, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*CREWYARD, "events", "--repo", str(yard.repo), "--json", "--follow", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def note(tx: Transaction, number: int) -> None:
    events.record(tx, now="2026-01-01T00:00:00.000Z", actor="t", subject_type="t", subject_id=number, kind="noted")


@pytest.fixture
def store(yard: Yard) -> Store:
    made = Store(yard.repo / "data" / "orchestrator.db")
    made.run(note, 0)
    return made


def test_r019_the_export_of_a_run_is_every_event_one_object_a_line(yard: Yard) -> None:
    assert yard.run(yard.plan({"task_id": "A"}, {"task_id": "B"})).code == 0
    rows = told(yard)
    assert [list(row) for row in rows] == [KEYS] * len(rows)
    assert [row["event_id"] for row in rows] == [
        row[0] for row in yard.rows("SELECT event_id FROM event ORDER BY event_id")
    ]
    assert {row["kind"] for row in told(yard, "--subject", "A", "--kind", "merge_*")} >= {"merge_queued"}
    assert [row["event_id"] for row in told(yard, "--after", "3", "--limit", "2")] == [4, 5]
    assert [row["event_id"] for row in told(yard, "--limit", "2")] == [rows[-2]["event_id"], rows[-1]["event_id"]]
    assert told(yard, "--since", "2099-01-01") == []


def test_who_follows_is_told_each_event_once_while_others_write(yard: Yard, store: Store) -> None:
    process = follow(yard, "--after", "0")
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["event_id"]]
    others = [
        subprocess.Popen(
            [CREWYARD[0], "-c", "import sys; from pathlib import Path; from crewyard.server import events\n"
             "from crewyard.server.store import Store\n"
             "store = Store(Path(sys.argv[1]))\n"
             "for n in range(100): store.run(events.record, now='2026', actor='o', subject_type='t',"
             " subject_id=n, kind='noted')", str(store.path)],
        )
        for _ in range(3)
    ]  # fmt: skip
    seen += [json.loads(process.stdout.readline())["event_id"] for _ in range(300)]
    assert seen == list(range(1, 302))
    assert [other.wait(30) for other in others] == [0, 0, 0]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_that_has_gone_ends_the_following_without_a_word(yard: Yard, store: Store) -> None:
    process = follow(yard)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()  # nothing happens any more that would have to be written
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_an_export_into_head_ends_without_a_word(yard: Yard, store: Store) -> None:
    def many(tx: Transaction) -> None:
        for number in range(5_000):
            note(tx, number)

    store.run(many)
    command = " ".join([*CREWYARD, "events", "--repo", f"'{yard.repo}'", "--json"])
    done = subprocess.run(["sh", "-c", f"{command} | head -1"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["event_id"] == 1
    assert done.stderr == ""


def test_following_a_quiet_yard_uses_no_cpu_to_speak_of(yard: Yard, store: Store) -> None:
    process = follow(yard)
    assert process.stdout is not None
    process.stdout.readline()
    ticks = [_ticks(process.pid)]
    process.stdout.readable()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    ticks.append(_ticks(process.pid))
    process.kill()
    process.communicate()
    assert ticks[1] - ticks[0] <= 3  # of the 100 of a second


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_an_agent_may_not_read_the_events(yard: Yard, store: Store) -> None:
    done = subprocess.run(
        [*CREWYARD, "events", "--repo", str(yard.repo)], capture_output=True, text=True, check=False,
        env={**os.environ, AGENT_TOKEN: f"{yard.repo}:x"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert "An agent of the crew cannot call `crewyard events`" in done.stderr
