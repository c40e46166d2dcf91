"""``agents`` with kill, kill_stalled, restart and restart_failed: what is recorded, and what the caller is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from crewyard.server import clock, dispatches, holds
from crewyard.server.errors import DirtyWorkingDirectory

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("call", ["auto"], indirect=True),  # the eras differ in the frame only
]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kills.KILL_SLACK_SECONDS", "restarting.START_SECONDS"):
        monkeypatch.setattr(f"crewyard.server.{name}", 0.05)


@asynccontextmanager
async def meanwhile(bench: Any, *acts: Callable[[], Any]) -> AsyncIterator[None]:
    """Once an agent is to be ended, do what the supervisor would."""

    async def supervise() -> None:
        with anyio.fail_after(5):
            while not bench.value("SELECT count(*) FROM agent_lifecycle WHERE kill_requested_at IS NOT NULL"):
                await anyio.sleep(0.002)
        for act in acts:
            act()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise)
        yield


def silence(bench: Any, agent_id: str, seconds: float) -> None:
    at = clock.plus(clock.now(), -seconds)
    sql = "UPDATE agent_lifecycle SET last_heartbeat = ? WHERE agent_id = ?"
    bench.store.run(lambda tx: tx.run(sql, (at, agent_id)))


async def test_kill_tells_which_process_was_ended_how_and_when(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A", pid=77)
    async with meanwhile(bench, lambda: bench.finish(agent_id, "killed", signal=15)):
        done = await call("agents", action="kill", agent_id=agent_id)
    row = bench.row("agent_lifecycle")
    assert {name: done[name] for name in ("pid", "task_id", "killed_gracefully", "kill_signal", "agents_killed")} == {
        "pid": 77, "task_id": "A", "killed_gracefully": True, "kill_signal": "SIGTERM", "agents_killed": 1,
    }  # fmt: skip
    assert done["killed_at"] == row["completed_at"]
    assert "SIGTERM" in done["message"]
    assert row["workspace"] in done["message"], "kept as C-35 says"
    assert row["kill_grace_seconds"] == 10
    task = bench.row("specs_task")
    assert (task["status"], task["error_code"], task["error_message"]) == ("failed", "killed", "killed by lead")


async def test_an_agent_that_ended_by_itself_first_was_not_killed(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    async with meanwhile(bench, lambda: bench.finish(agent_id, "completed", code=0)):
        done = await call("agents", action="kill", agent_id=agent_id)
    assert (done["agents_killed"], done.get("kill_signal")) == (0, None)
    assert "by itself" in done["message"]


async def test_only_the_stalled_are_killed_and_their_tasks_go_on(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B", "C")
    well, slow, stalled = (bench.add_agent(task) for task in "ABC")
    silence(bench, slow, 299)
    silence(bench, stalled, 301)
    async with meanwhile(bench, lambda: bench.finish(stalled, "killed", signal=9)):
        done = await call("agents", action="kill_stalled")
    assert done["agents_killed"] == 1
    [killed] = done["killed_agents"]
    assert (killed["agent_id"], killed["task_id"], killed["kill_signal"]) == (stalled, "C", "SIGKILL")
    assert killed["seconds_since_heartbeat"] == pytest.approx(301, abs=5)
    row = bench.row("agent_lifecycle", agent_id=stalled)
    assert (row["kill_outcome"], row["kill_code"], row["kill_grace_seconds"]) == ("restart", "agent_stalled", 10)
    work = bench.row("orchestrator_task", task_id="C")
    assert (work["status"], work["retry_count"], work["error_code"]) == ("assigned", 1, "agent_stalled")
    assert "no sign of life for 301 s" in work["next_prompt"]
    for name in (well, slow):
        assert bench.row("agent_lifecycle", agent_id=name)["kill_requested_at"] is None


async def test_where_none_is_stalled_none_is_killed(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    done = await call("agents", action="kill_stalled", force=True)
    assert (done["status"], done["agents_killed"], done["killed_agents"]) == ("success", 0, [])


async def test_a_stalled_agent_that_nobody_ends_is_told_of(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    silence(bench, bench.add_agent("A"), 400)
    done = await call("agents", action="kill_stalled", grace_period_seconds=0)
    assert (done["status"], done["agents_killed"]) == ("partial", 0)
    assert bench.row("agent_lifecycle")["kill_grace_seconds"] == 0


async def test_r165_r174_an_agent_is_restarted_and_the_new_one_named(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    old = bench.add_agent("A")
    new: list[str] = []
    acts = (lambda: bench.finish(old, "killed", signal=15), lambda: new.append(bench.add_agent("A")))
    async with meanwhile(bench, *acts):
        done = await call("agents", action="restart", agent_id=old, grace_period_seconds=5)
    assert bench.operations.calls == [("require_fit", {"agent_types": {"builder"}})]
    assert {name: done[name] for name in ("status", "old_agent_id", "task_id", "attempt", "restarting_in_seconds")} == {
        "status": "success", "old_agent_id": old, "task_id": "A", "attempt": 2, "restarting_in_seconds": 0,
    }  # fmt: skip
    assert done["new_agent_id"] == new[0] != old


async def test_a_restart_that_is_recorded_and_not_done_yet_is_partial(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    old = bench.add_agent("A")
    done = await call("agents", action="restart", agent_id=old, grace_period_seconds=0)
    assert (done["status"], done.get("new_agent_id"), done["attempt"]) == ("partial", None, 2)
    assert "recorded" in done["message"]
    assert bench.row("agent_lifecycle")["kill_outcome"] == "restart", "a successor of this server carries it out"


async def test_a_restart_that_must_wait_tells_how_long(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    old = bench.add_agent("A")
    bench.finish(old, "failed", code=1)
    until = clock.plus(clock.now(), 100)
    bench.store.run(holds.hold, "builder", "quota", "limit", until=until, now=clock.now(), actor="test")
    done = await call("agents", action="restart", agent_id=old)
    assert done["restarting_in_seconds"] == pytest.approx(100, abs=5)
    assert "limit" in done["message"]


async def test_a_restart_that_could_not_start_changes_nothing(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    old = bench.add_agent("A")
    bench.operations.refuse = DirtyWorkingDirectory("in the way")
    assert (await call.fails("agents", action="restart", agent_id=old))["code"] == "dirty_working_directory"
    assert bench.row("agent_lifecycle")["kill_requested_at"] is None


async def test_a_task_that_failed_too_often_is_refused_and_forced(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    for _ in range(4):
        last = bench.add_agent("A")
        bench.finish(last, "failed", code=1)
    error = await call.fails("agents", action="restart", agent_id=last)
    assert error["code"] == "max_retries_exceeded"
    assert "force=true" in error["hint"]
    done = await call("agents", action="restart", agent_id=last, force=True)
    assert (done["status"], done["attempt"]) == ("partial", 5)
    assert bench.row("specs_task")["status"] == "assigned"


async def test_every_delayed_restart_is_scheduled_at_once(bench: Any, call: Any) -> None:
    assert (await call("agents", action="restart_failed"))["agents_scheduled"] == []
    bench.add_tasks("A", "B", "C")
    first = bench.add_agent("A")
    bench.finish(first, "failed", code=3, message="exit code 3")
    for _ in range(4):
        last = bench.add_agent("B")
        bench.finish(last, "failed", code=1)
    done = await call("agents", action="restart_failed")
    [scheduled] = done["agents_scheduled"]
    assert (scheduled["agent_id"], scheduled["task_id"], scheduled["restarting_in_seconds"]) == (first, "A", 0)
    assert "exit code 3" in scheduled["reason"]
    done = await call("agents", action="restart_failed", force=True)
    assert [(each["agent_id"], each["task_id"]) for each in done["agents_scheduled"]] == [(last, "B")]
    assert bench.value("SELECT count(*) FROM dispatch WHERE status = 'active'") == 1


async def test_a_long_list_of_restarts_is_cut_and_says_so(bench: Any, call: Any) -> None:
    names = [f"T{n:03d}" for n in range(100)]
    bench.add_tasks(*names)
    bench.store.run(dispatches.open_or_join, names, max_parallel=99, agent_type=None, now=clock.now(), actor="lead")
    for name in names:
        bench.finish(bench.add_agent(name), "failed", code=1, message="x" * 250, at=clock.plus(clock.now(), 3))
    done = await call("agents", action="restart_failed")
    assert done["total"] == 100
    assert "cut" in done["note"]
    assert bench.value("SELECT count(*) FROM orchestrator_task WHERE not_before IS NOT NULL") == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"action": "restart"}, "invalid_input"),
        ({"action": "restart", "agent_id": "nobody"}, "agent_not_found"),
        ({"action": "restart", "agent_id": "x", "task_id": "A"}, "invalid_input"),
        ({"action": "restart_failed", "agent_id": "x"}, "invalid_input"),
        ({"action": "restart_failed", "agent_type": "bilder"}, "invalid_input"),
        ({"action": "kill_stalled", "agent_id": "x"}, "invalid_input"),
        ({"action": "kill_stalled", "grace_period_seconds": -1}, "invalid_input"),
        ({"action": "health", "agent_id": "nobody"}, "agent_not_found"),
        ({"action": "health", "agent_type": "bilder"}, "invalid_input"),
        ({"action": "health", "force": True}, "invalid_input"),
        ({"action": "list", "lines": 5}, "invalid_input"),
        ({"action": "kill", "agent_id": "x", "lines": 5}, "invalid_input"),
        ({"action": "log", "agent_id": "x", "grace_period_seconds": 0}, "invalid_input"),
    ],
)
async def test_r165_errors(bench: Any, call: Any, arguments: Any, code: str) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    error = await call.fails("agents", **arguments)
    assert error["code"] == code
    assert error["hint"]


async def test_a_worker_may_only_beat_and_list(bench: Any, call: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as of_a:
        for action in ("health", "restart", "restart_failed", "kill_stalled", "spawn", "log"):
            assert (await of_a.fails("agents", action=action))["code"] == "not_authorized"
        assert (await of_a.fails("agents", state="all"))["code"] == "invalid_input", "heartbeat takes no state"
