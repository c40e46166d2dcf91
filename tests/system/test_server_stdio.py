"""The server as a process: both protocol eras over stdio, and an end that is quick and clean."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from yards import wait_until

SERVE = (
    "import sys; from pathlib import Path; from crewyard.server.compose import serve_stdio;"
    "sys.exit(serve_stdio(Path('.')))"
)
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
QUICK_SECONDS = 2.0


@contextmanager
def running(repo: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=repo,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=30)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def ask(process: subprocess.Popen[bytes], message: dict[str, Any]) -> Any:
    tell(process, message)
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def tell(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def begin(process: subprocess.Popen[bytes]) -> None:
    assert ask(process, INITIALIZE)["result"]["serverInfo"]["name"] == "crewyard"
    tell(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})


def holder_of_lease(repo: Path) -> int | None:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(repo / "data/orchestrator.db")) as connection:
        found = connection.execute("SELECT pid FROM supervisor_lease").fetchone()
        return int(found[0]) if found else None
    return None


def read(number: int, uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": "resources/read", "params": {"uri": uri}}


def call(number: int, tool: str, **arguments: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": number,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }


@pytest.mark.parametrize("how", ["eof", signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("busy", [False, True])
def test_it_ends_at_once_with_zero(git_repo: Path, how: Any, busy: bool) -> None:
    with running(git_repo) as process:
        begin(process)
        if busy:
            tell(process, call(2, "route", action="poll", wait_seconds=50))
            ask(process, call(3, "agents"))  # the long poll is under way when this one is answered
        begun = time.monotonic()
        if how == "eof":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(how)
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - begun < QUICK_SECONDS


def test_a_database_that_was_killed_open_serves_on(git_repo: Path) -> None:
    with running(git_repo) as process:
        begin(process)
        tasks = [{"task_id": "A", "title": "First"}]
        assert not ask(process, call(2, "plan", action="add", tasks=tasks))["result"]["isError"]
        process.kill()
        process.wait(timeout=30)
    with running(git_repo) as process:
        begin(process)
        shown = ask(process, call(2, "plan"))["result"]["structuredContent"]
        assert [task["task_id"] for task in shown["tasks"]] == ["A"]


def test_nothing_but_the_protocol_is_on_stdout_and_no_traceback_is_wide(git_repo: Path) -> None:
    with running(git_repo) as process:
        begin(process)
        answers = [ask(process, call(n, name)) for n, name in enumerate(("plan", "nonsense", "why"), start=2)]
        assert [answer["id"] for answer in answers] == [2, 3, 4]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert out == b""
    assert "╭" not in err.decode()


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_see_the_same_tools(git_repo: Path, mode: Any) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=["-c", SERVE], cwd=git_repo, env=dict(os.environ))
    async with Client(stdio_client(parameters), mode=mode) as client:
        tools = await client.list_tools()
        assert {"plan", "assign", "agents", "worktrees", "route", "why"} <= {tool.name for tool in tools.tools}
        result = await client.call_tool("plan", {})
        assert result.structured_content is not None
        assert result.structured_content["tasks"] == []


def test_a_worker_without_a_live_agent_may_do_nothing(git_repo: Path) -> None:
    with running(git_repo, CREWYARD_AGENT_TOKEN="no such token") as process:
        begin(process)
        listed = ask(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        assert {tool["name"] for tool in listed["result"]["tools"]} == {"report", "route", "agents", "plan"}
        answer = ask(process, call(3, "report", summary="x"))["result"]
        assert answer["isError"]
        assert answer["structuredContent"]["code"] == "not_authorized"


@pytest.mark.parametrize(
    ("content", "says"), [("[crew]\nmax_paralel = 3\n", "max_parallel"), ("[crew", "crewyard.toml")]
)
def test_a_broken_configuration_ends_it_with_two_and_the_cure(git_repo: Path, content: str, says: str) -> None:
    (git_repo / "crewyard.toml").write_text(content)
    with running(git_repo) as process:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (2, b"")
    assert says in err.decode()
    assert "Traceback" not in err.decode()


def test_a_folder_that_is_no_repository_ends_it_with_two(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 2
    assert "git init" in err.decode()
    assert list(tmp_path.iterdir()) == []


def test_the_work_of_a_client_that_says_nothing_is_supervised(git_repo: Path) -> None:
    with running(git_repo) as process:
        wait_until(lambda: holder_of_lease(git_repo) == process.pid)


@pytest.mark.parametrize("first", ["tools/call", "resources/read"])
def test_a_first_call_is_answered_under_a_supervisor(git_repo: Path, first: str) -> None:
    """It comes at once behind the handshake, while the supervisor is still being imported."""
    asked = {"tools/call": call(2, "plan", action="show"), "resources/read": read(2, "crewyard://status")}[first]
    with running(git_repo) as process:
        tell(process, INITIALIZE)
        tell(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        tell(process, asked)
        assert process.stdout is not None
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [answer["id"] for answer in answers] == [1, 2]
        assert "result" in answers[1]
        assert holder_of_lease(git_repo) == process.pid


def test_in_a_repository_that_was_broken_since_each_call_says_so_until_it_is_mended(git_repo: Path) -> None:
    """A folder with a database is taken for a repository, and looked at behind the first answer."""
    with running(git_repo) as process:
        begin(process)
        wait_until(lambda: holder_of_lease(git_repo))
    (git_repo / ".git/HEAD").write_text("ref: refs/heads/unborn\n")
    with running(git_repo) as process:
        begin(process)
        refused = ask(process, call(2, "plan", action="show"))["result"]["structuredContent"]
        assert (refused["code"], "has no commit yet" in refused["message"]) == ("git_error", True)
        assert "has no commit yet" in ask(process, read(3, "crewyard://status"))["error"]["message"]
        (git_repo / ".git/HEAD").write_text("ref: refs/heads/main\n")
        assert ask(process, call(4, "plan", action="show"))["result"]["structuredContent"]["status"] == "success"
        assert holder_of_lease(git_repo) == process.pid
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
