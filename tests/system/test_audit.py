"""The record of what happened: of a real run exported, followed, asked and replayed."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import events, states
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


# ------------------------------------------------------------------------------------ what the record answers


QUESTIONS = dict(
    re.findall(r"```sql\n-- (\w+)\n(.*?)```", (Path(__file__).parents[2] / "docs/monitoring.md").read_text(), re.DOTALL)
)
AGENTS = """
[agents.clumsy]
command = ["sh", "-c", "test $CREWYARD_ATTEMPT = 1 && exit 3; echo x > clumsy.txt"]
[agents.slow]
command = ["sleep", "60"]
timeout_seconds = 0.3
[agents.large]
command = ["python3", "-c", "import time; kept = bytearray(300 << 20); time.sleep(60)"]
memory_limit_mb = 100
"""


@pytest.fixture
def troubled(yard: Yard) -> Yard:
    """A run in which an agent crashes once, one runs out of time, one out of memory, and two branches conflict."""
    yard.configure(f"max_restarts = 1\n{AGENTS}")
    plan = yard.plan(
        {"task_id": "good"},
        {"task_id": "crash", "agent_type": "clumsy"},
        {"task_id": "late", "agent_type": "slow"},
        {"task_id": "huge", "agent_type": "large"},
    )
    assert yard.run(plan).code == 1
    return yard


@pytest.fixture
def answer(troubled: Yard, tmp_path: Path) -> Any:
    """``answer(name)``: the rows that the documented query gives where there is the table of events and no other."""
    copy = sqlite3.connect(tmp_path / "events.db")
    copy.row_factory = sqlite3.Row
    copy.execute("ATTACH ? AS yard", (str(troubled.repo / "data" / "orchestrator.db"),))
    copy.execute("CREATE TABLE event AS SELECT * FROM yard.event")
    copy.commit()
    copy.execute("DETACH yard")
    with contextlib.closing(copy):
        yield lambda name: copy.execute(QUESTIONS[name]).fetchall()


def test_r305_r306_the_events_alone_answer_every_question(troubled: Yard, answer: Any) -> None:
    rows = troubled.rows("SELECT * FROM agent_lifecycle ORDER BY agent_id")
    by_task = {row["task_id"]: [each["agent_id"] for each in rows if each["task_id"] == row["task_id"]] for row in rows}

    stands = {(row["subject_type"], row["to_state"]): row["number"] for row in answer("status")}
    assert stands["task", "completed"] == 2
    assert stands["task", "failed"] == 2
    assert stands["dispatch", "completed"] == 1
    assert answer("running") == []

    up = {row["agent"]: row["seconds"] for row in answer("uptime")}
    assert up == pytest.approx({row["agent_id"]: row["duration_ms"] / 1000 for row in rows}, abs=0.1)

    crashes = {row["agent"]: row for row in answer("crashes")}
    assert set(crashes) == {row["agent_id"] for row in rows if row["status"] != "completed"}
    first = crashes[by_task["crash"][0]]
    assert (first["kind"], first["exit_code"], first["task"]) == ("agent_failed", 3, "crash")
    assert "exit code 3" in first["why"]

    restarts = [row for row in answer("restarts") if row["agent"] == by_task["crash"][0]]
    assert [(row["code"], row["attempt"], row["successor"]) for row in restarts] == [
        ("agent_failed", 1, by_task["crash"][1])
    ]
    limits = {(row["agent"], row["limit"], row["value"]) for row in answer("limits")}
    assert {(by_task["late"][0], "timeout_seconds", 0.3), (by_task["huge"][0], "memory_limit_mb", 100)} <= limits
    assert {row["agent"] for row in answer("limits")} == {*by_task["late"], *by_task["huge"]}


def test_r305_who_chose_a_subset_of_the_agents_stands_in_the_events(troubled: Yard, store: Store) -> None:
    from crewyard.server import holds

    store.run(holds.start_only, ["scripted"], ["scripted", "slow"], now="2026-01-02T00:00:00.000Z", actor="cli")
    with contextlib.closing(sqlite3.connect(troubled.repo / "data" / "orchestrator.db")) as connection:
        rows = connection.execute(QUESTIONS["chosen"]).fetchall()
    _, actor, agent_type, kind, reason, message = rows[-1]
    assert (actor, agent_type, kind, reason) == ("cli", "slow", "launches_held", "not_started")
    assert "--agents scripted" in message


def test_r019_the_events_of_a_run_replayed_give_every_state_that_there_is(troubled: Yard) -> None:
    """No state was changed without its event, and no event tells of a change that was not."""
    present: dict[tuple[str, str], str] = {}
    for row in troubled.rows("SELECT * FROM event WHERE to_state IS NOT NULL ORDER BY event_id"):
        subject = (row["subject_type"], row["subject_id"])
        if row["from_state"] is not None:
            assert present[subject] == row["from_state"], tuple(row)
        present[subject] = row["to_state"]
    compared = 0
    for machine in states.MACHINES:
        for key, status in troubled.rows(f"SELECT {machine.key}, status FROM {machine.table}"):
            assert present[machine.subject, str(key)] == status
            compared += 1
    assert compared > 20
    assert troubled.rows("SELECT 1 FROM event WHERE actor = '' OR at NOT LIKE '____-__-__T%Z'") == []
