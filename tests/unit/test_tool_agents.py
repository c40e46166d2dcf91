"""``agents``: list, spawn, heartbeat, kill, log."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from crewyard.server.errors import SingletonViolation

pytestmark = pytest.mark.anyio


async def test_r164_r167_the_list_shows_live_agents_with_the_documented_fields(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    first, second = bench.add_agent("A"), bench.add_agent("B", agent_type="architect")
    bench.end_agent(second)
    listed = await call("agents")
    assert [agent["agent_id"] for agent in listed["agents"]] == [first]
    assert {"agent_type", "status", "task_id", "pid", "uptime_seconds", "last_heartbeat", "restarts"} <= set(
        listed["agents"][0]
    )
    everyone = await call("agents", action="list", state="all")
    assert everyone["total"] == 2
    assert len((await call("agents", agent_type="architect", state="completed"))["agents"]) == 1


async def test_a_long_list_comes_in_pages_that_fit(bench: Any, call: Any) -> None:
    for n in range(60):
        bench.add_tasks(f"T{n:03d}")
        bench.add_agent(f"T{n:03d}")
    seen, cursor = [], ""
    while True:
        listed = await call("agents", limit=500, cursor=cursor)
        seen += [agent["agent_id"] for agent in listed["agents"]]
        cursor = listed.get("next_cursor", "")
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 60


async def test_spawn_asks_for_the_agent_and_tells_where_it_works(bench: Any, call: Any) -> None:
    done = await call("agents", action="spawn", agent_type="architect", task_id="A", timeout_seconds=5)
    assert (done["agent_id"], done["pid"], done["worktree_path"]) == ("builder-1", 42, "/w/A")
    assert bench.operations.calls[-1] == (
        "spawn",
        {"task_id": "A", "agent_type": "architect", "timeout_seconds": 5, "actor": "lead"},
    )
    bench.operations.refuse = SingletonViolation("one runs", pid=3)
    error = await call.fails("agents", action="spawn", task_id="A")
    assert (error["code"], error["details"]) == ("singleton_violation", {"pid": 3})


async def test_a_heartbeat_is_written_and_the_next_is_due_in_a_minute(bench: Any, call: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as of_a:
        beat = await of_a("agents")
        assert beat["last_heartbeat"] < beat["next_heartbeat_due"]
        assert bench.value("SELECT last_heartbeat FROM agent_lifecycle") == beat["last_heartbeat"]
        assert (await of_a.fails("agents", agent_id="other"))["code"] == "not_authorized"
        assert (await of_a.fails("agents", action="kill", agent_id="other"))["code"] == "not_authorized"
        assert (await of_a("agents", action="list"))["total"] == 1


async def test_r166_kill_waits_for_the_end_and_tells_how(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    result: dict[str, Any] = {}
    async with anyio.create_task_group() as tasks:

        async def kill() -> None:
            result.update(await call("agents", action="kill", agent_id=agent_id, force=True))

        tasks.start_soon(kill)
        with anyio.fail_after(5):
            while bench.value("SELECT kill_requested_at FROM agent_lifecycle") is None:
                await anyio.sleep(0.005)
        bench.end_agent(agent_id, "killed", signal=9)
    assert result["agents_killed"] == 1
    assert (result["killed_gracefully"], result["kill_signal"]) == (False, "SIGKILL")
    row = bench.store.read(lambda tx: tx.only("SELECT * FROM agent_lifecycle"))
    assert (row["kill_outcome"], row["kill_grace_seconds"]) == ("fail", 0)


async def test_a_kill_that_nobody_carries_out_is_partial(
    bench: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewyard.server.kills.KILL_SLACK_SECONDS", 0.05)
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    done = await call("agents", action="kill", agent_id=agent_id, grace_period_seconds=0)
    assert (done["status"], done["agents_killed"]) == ("partial", 0)


async def test_the_log_is_the_end_of_the_output(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    assert (await call("agents", action="log", agent_id=agent_id))["text"] == ""
    folder = Path(bench.value("SELECT run_dir FROM agent_lifecycle"))
    folder.mkdir(parents=True)
    (folder / "output.log").write_bytes(b"".join(b"line %d\n" % n for n in range(100_000)) + b"\xff\x00end\n")
    log = await call("agents", action="log", agent_id=agent_id, lines=2)
    assert log["text"] == "line 99999\n\ufffd\x00end"
    assert log["uri"] == f"crewyard://agents/{agent_id}/log"
    (folder / "output.log").write_bytes(b"\x01" * 100_000)
    assert len((await call("agents", action="log", agent_id=agent_id, lines=1000))["text"]) > 1_000


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"state": "asleep"}, "invalid_input"),
        ({"action": "spawn"}, "invalid_input"),
        ({"action": "spawn", "task_id": "A", "agent_type": "bilder"}, "invalid_input"),
        ({"action": "spawn", "task_id": "A", "timeout_seconds": 0}, "invalid_input"),
        ({"action": "heartbeat"}, "invalid_input"),
        ({"action": "heartbeat", "agent_id": "nobody"}, "agent_not_found"),
        ({"action": "kill"}, "invalid_input"),
        ({"action": "kill", "agent_id": "nobody"}, "agent_not_found"),
        ({"action": "log"}, "invalid_input"),
        ({"action": "log", "agent_id": "nobody"}, "agent_not_found"),
        ({"action": "log", "agent_id": "nobody", "lines": "many"}, "invalid_input"),
        ({"action": "resurrect"}, "invalid_input"),
        ({"agent": "x"}, "invalid_input"),
    ],
)
@pytest.mark.parametrize("call", ["auto"], indirect=True)  # an error is made before the eras differ
async def test_r172_errors(call: Any, arguments: Any, code: str) -> None:
    assert (await call.fails("agents", **arguments))["code"] == code


async def test_an_agent_that_has_ended_neither_beats_nor_dies_again(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.end_agent(agent_id)
    for action in ("kill", "heartbeat"):
        assert (await call.fails("agents", action=action, agent_id=agent_id))["code"] == "illegal_transition"
