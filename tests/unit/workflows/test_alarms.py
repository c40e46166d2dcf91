"""An alarm has a begin, an end and a cause, and is told once (R-223)."""

import json

from crewyard.server.workflows import alarms
from crewyard.server.workflows.alarms import Alarm

from .line import LEAD, Line


def begin(line: Line, cause: str = "21 wait") -> None:
    line.run(alarms.begin, "overflow", "genesis", "critical", cause, told=["architect"], depth=21)


def boxes(line: Line) -> list[str]:
    return [row[0] for row in line.read(lambda tx: tx.all("SELECT to_agent FROM agent_message ORDER BY id"))]


def test_r223_an_alarm_that_stands_is_not_begun_again(line: Line) -> None:
    begin(line)
    line.later(60)
    begin(line, "22 wait")
    [row] = line.read(alarms.open_ones)
    assert (row["cause"], json.loads(row["facts"])) == ("21 wait", {"depth": 21})
    assert boxes(line) == [LEAD]


def test_an_alarm_ends_once_and_may_begin_anew(line: Line) -> None:
    begin(line)
    ended = line.later(60)
    for _ in range(2):
        line.run(alarms.end, "overflow", "genesis", why="it is short again")
        line.later(60)
    assert line.read(alarms.open_ones) == []
    begin(line)
    rows = line.read(lambda tx: tx.all("SELECT * FROM workflow_alert ORDER BY alert_id"))
    assert [row["ended_at"] for row in rows] == [ended, None]
    kinds = line.read(lambda tx: tx.all("SELECT kind FROM event WHERE subject_type = 'alarm' ORDER BY event_id"))
    assert [row["kind"] for row in kinds] == ["alarm_begun", "alarm_ended", "alarm_begun"]


def test_settling_begins_what_should_stand_and_ends_the_others_of_these_kinds(line: Line) -> None:
    begin(line)
    line.run(alarms.begin, "worker_offline", "dev-01", "high", "silent")
    wanted = {("slow", "genesis"): Alarm("warning", "it takes longer")}
    assert not line.read(alarms.are_as, ["overflow", "slow"], wanted)
    assert line.run(alarms.settle, ["overflow", "slow"], wanted) == [("slow", "genesis")]
    assert line.read(alarms.are_as, ["overflow", "slow"], wanted)
    assert [row["kind"] for row in line.read(alarms.open_ones)] == ["worker_offline", "slow"]
    assert [row["kind"] for row in line.read(alarms.open_ones, "slow")] == ["slow"]
