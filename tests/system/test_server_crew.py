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
[agents.builder]
kind = "command"
command = ["sh", "-c", "echo $CREWYARD_TASK_ID | tee $CREWYARD_TASK_ID.txt; git add -A; git commit -qm work"]
[agents.sleeper]
kind = "command"
command = ["sleep", "60"]
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


async def test_tasks_are_assigned_worked_off_merged_and_cleaned_up(git_repo: Path, git: Any, call: Any) -> None:
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


async def test_a_worktree_is_made_and_cleaned_up_on_demand(call: Any) -> None:
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
