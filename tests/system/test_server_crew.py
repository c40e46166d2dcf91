"""A crew driven by tools alone, through a real server process, with real agents and real git."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

pytestmark = pytest.mark.anyio
SERVE = (
    "import sys; from pathlib import Path; from crewyard.server.compose import serve_stdio;"
    "sys.exit(serve_stdio(Path('.')))"
)
CONFIGURATION = """\
[crew]
default_agent = "builder"
on_exit = "stop"
[agents.builder]
kind = "command"
command = ["sh", "-c", "echo $CREWYARD_TASK_ID | tee $CREWYARD_TASK_ID.txt; git add -A; git commit -qm work"]
[agents.sleeper]
kind = "command"
command = ["sleep", "60"]
[agents.busy]
kind = "command"
command = ["sh", "-c", "(while :; do :; done) & wait"]
[agents.broken]
kind = "command"
command = ["sh", "-c", "exit 3"]
[health]
check_interval_seconds = 0.2
warn_after_seconds = 1
stale_after_seconds = 2
on_stalled = "warn"
[launch]
max_cpu_percent = 100
"""


@pytest.fixture(params=["auto", "legacy"])
async def call(request: pytest.FixtureRequest, git_repo: Path) -> AsyncIterator[Any]:
    (git_repo / "crewyard.toml").write_text(CONFIGURATION)
    parameters = StdioServerParameters(command=sys.executable, args=["-c", SERVE], cwd=git_repo, env=dict(os.environ))
    async with Client(stdio_client(parameters), mode=request.param) as client:

        async def succeed(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.structured_content
            assert result.structured_content is not None
            return result.structured_content

        yield succeed


async def test_r195_tasks_are_assigned_worked_off_merged_and_cleaned_up(git_repo: Path, git: Any, call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A"}, {"task_id": "B", "depends_on": ["A"]}])
    dispatch = await call("assign")
    assert [each["task_id"] for each in dispatch["assignments"]] == ["A"]
    with anyio.fail_after(30):
        while "is completed" not in (await call("why", subject=dispatch["dispatch_id"]))["because"]:
            await anyio.sleep(0.02)
    assert git(git_repo, "show", "roadmap:B.txt") == "B"
    assert "merged into roadmap as" in (await call("why", subject="B"))["because"]
    assert (await call("worktrees"))["total"] == 0
    first = (await call("agents", state="all"))["agents"][0]
    assert (await call("agents", action="log", agent_id=first["agent_id"]))["text"] == "A"


async def test_r190_a_worktree_is_made_and_cleaned_up_on_demand(call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A"}])
    made = await call("worktrees", action="create", task_id="A")
    assert Path(made["worktree_path"]).is_dir()
    done = await call("worktrees", action="cleanup", task_id="A")
    assert done["cleaned_up"] == 1
    assert not Path(made["worktree_path"]).exists()


async def test_an_agent_is_spawned_and_killed_on_demand(call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A", "agent_type": "sleeper"}])
    agent = await call("agents", action="spawn", task_id="A")
    assert Path(f"/proc/{agent['pid']}").exists() or sys.platform != "linux"
    killed = await call("agents", action="kill", agent_id=agent["agent_id"])
    assert (killed["agents_killed"], killed["killed_gracefully"]) == (1, True)
    assert not Path(f"/proc/{agent['pid']}").exists()
    assert (await call("plan", task_id="A"))["tasks"][0]["status"] in ("in_progress", "failed")


async def test_health_is_measured_over_the_whole_tree_of_each_agent(call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A", "agent_type": "busy"}, {"task_id": "B"}])
    busy = await call("agents", action="spawn", task_id="A")
    began = anyio.current_time()
    seen = await call("agents", action="health", agent_id=busy["agent_id"])
    assert anyio.current_time() - began < 5
    [agent] = seen["agents"]
    assert (agent["process_alive"], agent["pid"]) == (True, busy["pid"])
    share = 100 / (os.cpu_count() or 1)  # one child of the shell's takes one core, as far as the machine has one
    assert 0.5 < agent["cpu_percent"] <= share * 1.3, "how much of that core it gets is up to what else runs"
    assert 0.5 < agent["memory_mb"] < 50
    await call("agents", action="kill", agent_id=busy["agent_id"], force=True)
    seen = await call("agents", action="health", agent_id=busy["agent_id"])
    assert (seen["agents"][0]["health"], seen["agents"][0]["process_alive"]) == ("failed", False)
    assert seen["agents_killed"] == 1
    assert "cpu_percent" not in seen["agents"][0], "nothing of it runs"


async def test_an_agent_is_restarted_on_demand(call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A", "agent_type": "sleeper"}])
    old = await call("agents", action="spawn", task_id="A")
    done = await call("agents", action="restart", agent_id=old["agent_id"])
    assert (done["status"], done["old_agent_id"], done["attempt"]) == ("success", old["agent_id"], 2)
    assert not Path(f"/proc/{old['pid']}").exists()
    [live] = (await call("agents"))["agents"]
    assert live["agent_id"] == done["new_agent_id"] != old["agent_id"]
    assert (await call("agents", action="health"))["agents_restarted"] == 1


async def test_r163_the_stalled_are_killed_on_demand_and_their_tasks_go_on(call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A", "agent_type": "sleeper"}])
    old = await call("agents", action="spawn", task_id="A")
    assert (await call("agents", action="kill_stalled"))["agents_killed"] == 0
    with anyio.fail_after(20):
        while (await call("agents", action="health"))["agents_stalled"] == 0:
            await anyio.sleep(0.05)
    done = await call("agents", action="kill_stalled")
    [killed] = done["killed_agents"]
    assert (killed["agent_id"], killed["kill_signal"]) == (old["agent_id"], "SIGTERM")
    assert killed["seconds_since_heartbeat"] >= 2
    with anyio.fail_after(20):
        while not (await call("agents"))["agents"]:
            await anyio.sleep(0.05)


async def test_what_waits_or_has_failed_is_started_again_on_demand(call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A", "agent_type": "broken"}])
    await call("assign")
    with anyio.fail_after(20):
        while "restart 2" not in (await call("why", subject="A"))["because"]:
            await anyio.sleep(0.02)
    done = await call("agents", action="restart_failed")
    assert [each["task_id"] for each in done["agents_scheduled"]] == ["A"]
    assert "exit code 3" in done["agents_scheduled"][0]["reason"]
    with anyio.fail_after(20):
        while "restart 1" not in (await call("why", subject="A"))["because"]:  # counted from nought again
            await anyio.sleep(0.02)
    assert (await call("agents", state="all"))["total"] == 3
