"""What a server that ends does with its agents (setting on_exit), and what the next one finds."""

import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from crewyard.server import journals, process
from crewyard.server.compose import build_app, build_yard
from crewyard.server.process import Identity


class Server:
    """``crewyard serve`` with its pipes in our hands."""

    def __init__(self, repo: Path) -> None:
        command = [sys.executable, "-m", "crewyard.server.cli", "serve", "--repo", str(repo)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self._asked = 0
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.ask("initialize", hello)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        content: dict[str, Any] = answer["result"]["structuredContent"]
        return content

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._asked += 1
        self._write({"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params})
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == self._asked:
                return answer
        raise AssertionError("the server ended")

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()


def agent_of(repo: Path) -> tuple[Identity, Identity]:
    """The one agent and its runner, as recorded."""
    with closing(sqlite3.connect(repo / "data/orchestrator.db")) as connection:
        row = connection.execute(
            "SELECT pid, pid_start_time, runner_pid, runner_start_time, boot_id FROM agent_lifecycle"
        ).fetchone()
    return Identity(row[0], row[1], row[4]), Identity(row[2], row[3], row[4])


@pytest.fixture
def ends(git_repo: Path) -> Iterator[None]:
    """Nothing that a test starts outlives it."""
    yield
    for prompt in (git_repo / "data/crewyard/agents").glob("*/prompt.md"):
        process.end_agent(prompt, journals.group_of(prompt.parent))


def configure(repo: Path, on_exit: str) -> None:
    (repo / "crewyard.toml").write_text(
        f'[crew]\non_exit = "{on_exit}"\n[agents.sleeper]\ncommand = ["sleep", "600"]\n'
    )


@pytest.mark.parametrize("on_exit", ["detach", "stop"])
def test_agents_go_on_or_end_with_their_server_as_configured(git_repo: Path, ends: None, on_exit: str) -> None:
    configure(git_repo, on_exit)
    server = Server(git_repo)
    server.call("plan", action="add", tasks=[{"task_id": "A"}])
    assert server.call("agents", action="spawn", task_id="A")["status"] == "success"
    agent, runner = agent_of(git_repo)
    assert process.is_alive(agent)
    assert server.end() == 0
    if on_exit == "stop":
        assert process.wait_until_gone(runner, 20)
    assert process.is_alive(agent) is (on_exit == "detach")


def test_the_next_server_takes_over_what_the_last_one_left(git_repo: Path, ends: None) -> None:
    configure(git_repo, "detach")
    first = Server(git_repo)
    first.call("plan", action="add", tasks=[{"task_id": "A"}])
    agent_id = first.call("agents", action="spawn", task_id="A")["agent_id"]
    first.process.kill()
    first.end()
    second = Server(git_repo)
    listed = second.call("agents")["agents"]
    assert [each["agent_id"] for each in listed] == [agent_id]
    killed = second.call("agents", action="kill", agent_id=agent_id, grace_period_seconds=0)
    assert killed["status"] == "success", killed
    agent, _ = agent_of(git_repo)
    assert not process.is_alive(agent)
    assert second.call("agents")["agents"] == []
    assert second.end() == 0


def test_an_agent_is_not_started_on_a_task_that_waits_for_another(git_repo: Path) -> None:
    configure(git_repo, "detach")
    server = Server(git_repo)
    server.call("plan", action="add", tasks=[{"task_id": "A"}, {"task_id": "B", "depends_on": ["A"]}])
    refused = server.call("agents", action="spawn", task_id="B")
    assert (refused["code"], "A" in refused["message"]) == ("no_available_work", True)
    assert server.call("agents", state="all")["total"] == 0
    assert server.call("assign", task_ids=[])["code"] == "invalid_input"
    assert server.call("plan", path="plan.md")["code"] == "invalid_input"
    assert server.end() == 0


@pytest.mark.anyio
async def test_a_yard_that_is_opened_again_and_again_in_one_process_keeps_nothing_open(git_repo: Path) -> None:
    app = build_app(replace(build_yard(git_repo), stop_seconds=60))
    opened = []
    gc.disable()  # it would close what nobody closed
    try:
        for _ in range(4):
            async with Client(app) as client:
                await client.call_tool("worktrees", {"action": "list"})
            opened.append(len(os.listdir("/proc/self/fd")))
    finally:
        gc.enable()
    assert opened == opened[:1] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_signalled_while_it_still_imports_ends_quietly_with_0(git_repo: Path, number: int) -> None:
    entry = "from crewyard.server.entry import main; main()"
    command = [sys.executable, "-X", "importtime", "-c", entry, "serve", "--repo", str(git_repo)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as server:
        assert server.stderr is not None
        next(line for line in server.stderr if "pydantic" in line)
        server.send_signal(number)
        assert "Traceback" not in server.stderr.read()
        assert server.wait(timeout=20) == 0
