"""A worker that falls silent is offline, its work goes to another, and it is restarted (R-240, R-248)."""

from typing import Any

import pytest

from crewyard.server import agents, assignments, backoff, consequences, failed_starts, holds, launches, reports, tasks
from crewyard.server.kinds import Heard
from crewyard.server.store import Row, Transaction
from crewyard.server.workflows import alarms, assignment, failover, flow

from .line import REPOSITORY, Line

RULES = consequences.Rules(
    backoff.Policy(3, 2.0, 120.0, healthy_after=600.0, max_launches=20),
    failed_starts.Limits(seconds=5.0, tasks=3, pause=10.0, cap=120.0, pauses=5),
    quota_pause_seconds=300.0,
)


@pytest.fixture
def begun(line: Line) -> str:
    """A project that genesis-01 works on by a live agent."""
    name = line.dispatch()
    line.distribute()
    launch(line, name)
    return name


def launch(line: Line, name: str) -> str:
    """The agent of what the project has in work starts; returns its id."""

    def unit(tx: Transaction, *, now: str, actor: str) -> str:
        task_id = tx.value("SELECT task_id FROM queue_item WHERE project_id = ? ORDER BY item_id DESC", (name,))
        work = assignments.of_task(tx, task_id)
        assert work is not None
        order = launches.LaunchOrder(
            "builder", "command", task_id, work["orchestrator_task_id"], f"/w/{task_id}", "/runs", 60.0, None,
            agents.hash_token(f"{task_id} {now}"), 1,
        )  # fmt: skip
        agent_id = str(launches.plan_launch(tx, order, now=now, actor=actor)["agent_id"])
        launches.runner_started(tx, agent_id, pid=2, start_time="1", boot_id="b")
        launches.started(tx, agent_id, pid=3, start_time="1", boot_id="b", at=now, actor=actor)
        assignments.started(tx, work["orchestrator_task_id"], agent_id, now=now, actor=actor)
        return agent_id

    return str(line.run(unit))


def look(line: Line) -> bool:
    """One of the foreman's; whether it had anything to attend to."""
    called = bool(line.read(failover.is_called_for, line.pipeline, now=line.now))
    if called:
        line.run(failover.attend, line.pipeline, grace_seconds=10.0)
    for item in line.read(flow.to_settle):
        line.run(flow.settle, line.pipeline, item["item_id"], flow.Left())
    line.distribute()
    return called


def agent_of(line: Line, name: str) -> Row:
    task_id = line.item(name)["task_id"]
    row: Row = line.read(agents.of_task, task_id)[-1]
    return row


def ends(line: Line, name: str, status: str = "killed", **how: Any) -> None:
    """Its agent ends, and what follows from that happens, as the keeper has it."""
    agent_id = agent_of(line, name)["agent_id"]
    heard = how.pop("heard", Heard())
    how = {"code": None, **how}
    line.run(consequences.of_end, agent_id, agents.Exit(status, line.now, **how), code=None, heard=heard, rules=RULES)


def fall_silent(line: Line, name: str) -> None:
    """Its agent is silent for five minutes, is found out, and ends."""
    line.later(300)
    look(line)
    ends(line, name)
    look(line)


def standing(line: Line) -> dict[str, str]:
    return {row["kind"]: row["subject"] for row in line.read(alarms.open_ones)}


def test_r248_nothing_is_done_before_five_minutes_of_silence(line: Line, begun: str) -> None:
    line.later(299.9)
    assert not look(line)


def test_r248_a_silent_worker_is_offline_and_its_agent_is_ended(line: Line, begun: str) -> None:
    line.later(300)
    look(line)
    worker = line.worker("genesis-01")
    assert (worker["status"], worker["offline_since"]) == ("offline", line.now)
    agent = agent_of(line, begun)
    assert (agent["kill_outcome"], agent["kill_grace_seconds"]) == ("release", 10.0)
    [alarm] = line.read(alarms.open_ones)
    assert alarm["cause"].startswith(f"its agent {agent['agent_id']} has given no sign of life since 2026")
    assert not look(line), "now its end is waited for"


def test_r240_its_work_goes_to_another_worker_once_its_agent_has_ended(line: Line, begun: str) -> None:
    fall_silent(line, begun)
    item = line.item(begun)
    assert (item["status"], item["worker_id"]) == ("working", "genesis-02")
    outcomes = line.read(lambda tx: tx.all("SELECT worker_id, outcome FROM work_spell ORDER BY spell_id"))
    assert [tuple(row) for row in outcomes] == [("genesis-01", "failed_over"), ("genesis-02", None)]
    assert len(line.read(lambda tx: tx.all("SELECT 1 FROM specs_task"))) == 1, "it goes on in the same worktree"


def test_r248_the_restart_follows_at_once_and_ends_the_alarm(line: Line, begun: str) -> None:
    fall_silent(line, begun)
    look(line)
    worker = line.worker("genesis-01")
    assert (worker["status"], worker["restarted_at"]) == ("idle", line.now)
    assert standing(line) == {}
    assert not look(line)


def test_an_agent_that_beats_or_waits_for_an_answer_is_left_alone(line: Line, begun: str) -> None:
    line.later(290)
    line.run(lambda tx, now, **_: agents.heartbeat(tx, agent_of(line, begun)["agent_id"], now=now))
    line.later(290)
    assert not look(line)
    line.run(lambda tx, now, **_: reports.record(tx, agent_of(line, begun)["agent_id"], "question", "Red?", now=now))
    line.later(3600)
    assert not look(line)


def test_a_restart_that_cannot_be_is_an_alarm_until_it_can(line: Line, begun: str) -> None:
    line.later(300)
    look(line)
    line.run(holds.hold, "builder", "not_logged_in", "builder is not logged in", until=None)
    ends(line, begun)
    look(line)
    look(line)
    assert standing(line) == {"worker_offline": "genesis-01", "restart_failed": "genesis-01"}
    assert "builder is not logged in" in line.read(alarms.open_ones, "restart_failed")[0]["cause"]
    assert not look(line)
    line.run(holds.lift, "builder", "not_logged_in")
    look(line)
    assert line.worker("genesis-01")["status"] == "idle"
    assert standing(line) == {}


def test_an_agent_that_does_not_end_is_an_alarm(line: Line, begun: str) -> None:
    line.later(300)
    look(line)
    line.later(41)
    look(line)
    assert "does not end" in line.read(alarms.open_ones, "restart_failed")[0]["cause"]


def test_one_that_falls_silent_again_is_restarted_later_and_warned_of_until_it_works(line: Line) -> None:
    again = [line.dispatch()]
    line.run(assignment.by_hand, line.pipeline, "genesis", again[0], "genesis-01")
    launch(line, again[0])
    fall_silent(line, again[0])
    look(line)
    again.append(line.dispatch())
    line.run(assignment.by_hand, line.pipeline, "genesis", again[1], "genesis-01")
    launch(line, again[1])
    line.run(lambda tx, **_: tx.run("UPDATE agent_lifecycle SET last_heartbeat = '2027' WHERE task_id = ?",
                                         (line.item(again[0])["task_id"],)))  # fmt: skip
    fall_silent(line, again[1])
    look(line)
    assert line.worker("genesis-01")["status"] == "offline"
    assert "it fell silent 2 times" in line.read(alarms.open_ones, "restart_failed")[0]["cause"]
    line.later(300)
    look(line)
    assert line.worker("genesis-01")["status"] in ("idle", "busy")
    assert "restart_failed" in standing(line), "until its work goes well"


@pytest.mark.parametrize(("times", "minutes"), [(1, 0), (2, 5), (3, 10), (4, 20), (9, 60)])
def test_restarts_come_later_and_later(times: int, minutes: int) -> None:
    due = failover.restart_due("2026-01-01T00:00:00.000Z", None, times, 300.0)
    hours, rest = divmod(minutes, 60)
    assert due == f"2026-01-01T{hours:02d}:{rest:02d}:00.000Z"


def test_who_asks_for_a_restart_does_not_wait() -> None:
    asked = "2026-01-01T00:01:00.000Z"
    assert failover.restart_due("2026-01-01T00:00:00.000Z", asked, 5, 300.0) == "2026-01-01T00:00:00.000Z"


def test_an_item_over_which_three_workers_fall_silent_waits_for_a_judgement(line: Line, begun: str) -> None:
    for _ in range(2):
        fall_silent(line, begun)
        look(line)
        launch(line, begun)
    fall_silent(line, begun)
    item = line.item(begun)
    assert (item["status"], item["error_code"]) == ("review", "agent_stalled")
    assert item["error_message"].startswith("3 workers fell silent over it")


def test_an_agent_that_dies_before_it_is_ended_is_not_started_again_for_a_worker_offline(
    line: Line, begun: str
) -> None:
    line.later(300)
    look(line)
    ends(line, begun, "failed", code=1)
    assert line.task(begun)["status"] == "assigned"
    look(line)
    assert (line.item(begun)["status"], line.item(begun)["worker_id"]) == ("working", "genesis-02")


def test_work_that_was_done_in_that_moment_counts(line: Line, begun: str) -> None:
    line.later(300)
    look(line)
    ends(line, begun, "completed", code=0)
    line.finish(begun, REPOSITORY)
    look(line)
    assert line.item(begun, "genesis")["status"] == "done"
    assert line.worker("genesis-01")["status"] == "idle"


def test_a_worker_offline_gets_nothing(line: Line, begun: str) -> None:
    line.later(300)
    look(line)
    names = [line.dispatch() for _ in range(3)]
    look(line)
    assert [line.item(name)["worker_id"] for name in names].count("genesis-01") == 0
    assert line.read(tasks.get, line.item(names[0])["task_id"])["status"] == "assigned"


def test_what_was_assigned_to_one_that_goes_offline_waits_for_it_no_more(line: Line, begun: str) -> None:
    wanted = line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", wanted, "genesis-01")
    line.later(300)
    look(line)
    assert line.item(wanted)["worker_id"] == "genesis-02"
