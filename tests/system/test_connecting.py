"""Agents get connected: by the MCP configuration that each is given, over stdio or to the daemon (contract 5, 7)."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import agents, credentials, process, settler
from crewyard.server.store import Transaction

CREWYARD = [sys.executable, "-m", "crewyard.server.cli"]
# What any program with an MCP client does: reads its configuration, connects, calls tools, keeps the answers.
AGENT = """
import json, os, sys
import anyio, httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

async def main():
    server = json.load(open(os.environ["CREWYARD_MCP_CONFIG"]))["mcpServers"]["crewyard"]
    if server.get("type") == "http":
        async with httpx2.AsyncClient(headers=server["headers"], timeout=30) as http:
            await talk(streamable_http_client(server["url"], http_client=http), server)
    else:
        await talk(stdio_client(StdioServerParameters(**server)), server)

async def talk(transport, server):
    async with Client(transport) as client:
        said = await client.call_tool("report", {"action": "progress", "summary": "connected"})
        sent = await client.call_tool("route", {"action": "send", "target": "lead", "content": "hello"})
        polled = await client.call_tool("route", {"action": "poll"})
        await client.call_tool("report", {"action": "complete", "no_change": True})
    heard = {"server": server, "said": said.structured_content, "sent": sent.structured_content,
             "polled": polled.structured_content}
    json.dump(heard, open(sys.argv[1] + ".new", "w"))
    os.rename(sys.argv[1] + ".new", sys.argv[1])

anyio.run(main)
"""


@pytest.fixture
def heard(yard: Any) -> Callable[[], dict[str, Any]]:
    """What the agent heard; the repository is configured to have it work."""
    program, kept = yard.folder / "agent.py", yard.folder / "heard.json"
    program.write_text(AGENT)
    command = json.dumps([sys.executable, str(program), str(kept)])
    yard.configure(f'[agents.worker]\ncommand = {command}\n[agents.idler]\ncommand = ["sleep", "600"]\n')
    return lambda: json.loads(kept.read_text())


def is_right(heard: dict[str, Any], yard: Any) -> None:
    [row] = yard.rows("SELECT * FROM agent_lifecycle WHERE agent_type = 'worker'")
    assert heard["said"]["agent_id"] == row["agent_id"]
    assert heard["sent"]["recipients"] == ["lead"]
    assert {each["recipient"] for each in heard["polled"]["messages"]} <= {row["agent_id"]}
    [mail] = yard.rows("SELECT from_agent FROM agent_message WHERE to_agent = 'lead' AND content = '\"hello\"'")
    assert mail["from_agent"] == row["agent_id"]
    assert not (Path(row["run_dir"]) / "mcp.json").exists()


def test_without_a_daemon_an_agent_is_connected_over_stdio(yard: Any, heard: Callable[[], dict[str, Any]]) -> None:
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "worker"}))
    assert outcome.code == 0, outcome.err
    assert "command" in heard()["server"]
    is_right(heard(), yard)


@pytest.fixture
def daemon(yard: Any, heard: Any) -> Iterator[Callable[..., dict[str, Any]]]:
    """``daemon(command)``: calls ``start``, ``stop`` or ``status``; nothing of it is left at the end."""
    del heard

    def call(*arguments: str) -> dict[str, Any]:
        command = [*CREWYARD, *arguments, "--json", "--repo", str(yard.repo)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        loaded: dict[str, Any] = json.loads(done.stdout)
        return loaded

    yield call
    call("stop", "--force")


def test_where_a_daemon_runs_an_agent_is_connected_to_it(
    yard: Any, heard: Callable[[], dict[str, Any]], daemon: Any
) -> None:
    begun = daemon("start")
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "worker"}))
    assert outcome.code == 0, outcome.err
    server = heard()["server"]
    assert (server["type"], server["url"]) == ("http", begun["url"].replace("/mcp", "/agent/mcp"))
    is_right(heard(), yard)
    log = (yard.repo / "data/crewyard/daemon.log").read_text()
    assert server["headers"]["Authorization"].removeprefix("Bearer ") not in log


def test_a_daemon_that_restarts_is_found_by_the_agents_of_the_last_one(daemon: Any) -> None:
    first = daemon("start")
    assert daemon("stop")["status"] == "stopped"
    again = daemon("start")
    assert again["url"] == first["url"]
    os.kill(again["pid"], signal.SIGKILL)
    process.wait_until_gone(process.Identity(again["pid"], again["start_time"], again["boot_id"]), 10)
    assert daemon("start")["url"] == first["url"]
    daemon("stop")
    port = int(first["url"].split(":")[2].split("/")[0])
    with socket.socket() as other:  # another program has the port meanwhile
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert daemon("start")["url"] != first["url"]


def test_no_secret_of_an_agent_is_seen_in_the_list_of_processes_nor_left_by_its_end(
    yard: Any, heard: Any, wait_until: Any
) -> None:
    del heard
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "idler"}))
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    [row] = yard.rows("SELECT * FROM agent_lifecycle")
    run_dir = Path(row["run_dir"])
    config = run_dir / "mcp.json"
    token = json.loads(config.read_text())["mcpServers"]["crewyard"]["env"]["CREWYARD_AGENT_TOKEN"]
    assert agents.hash_token(token) == row["token_hash"]
    assert (stat.S_IMODE(config.stat().st_mode), stat.S_IMODE(run_dir.stat().st_mode)) == (0o600, 0o700)
    lines = b"".join(_argv(pid) for pid in os.listdir("/proc") if pid.isdigit())
    assert token.encode() not in lines
    running.interrupt()
    running.finish()
    assert not config.exists()
    holding = [
        path for path in (yard.repo / "data").rglob("*") if path.is_file() and token.encode() in path.read_bytes()
    ]
    assert holding == []


def _argv(pid: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_what_a_supervisor_that_was_stopped_wrote_late_is_removed_by_the_next(crew: Any) -> None:
    """Its agent has ended by then, and nobody would look into its folder again; that of a live one stays."""
    gone, alive = crew.paths.runs / "builder-1-aaaa", crew.paths.runs / "builder-2-bbbb"
    for folder in (gone, alive):
        folder.mkdir(parents=True)
        credentials.lay_down(folder, "prompt.md", b"x")
        credentials.lay_down(folder, credentials.MCP_CONFIG, b"secret")
        credentials.lay_down(folder, "launch.marshal", b"secret")
    crew.store.run(_starting, str(alive))
    settler.settle(crew)
    assert [path.name for path in gone.iterdir()] == ["prompt.md"]
    assert {path.name for path in alive.iterdir()} == {"prompt.md", "mcp.json", "launch.marshal"}


def _starting(tx: Transaction, run_dir: str) -> None:
    now = "2026-01-01T00:00:00.000Z"
    tx.run(
        "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES ('A', 'A', 'ready', ?, ?)",
        (now, now),
    )
    tx.run(
        "INSERT INTO agent_lifecycle (agent_id, agent_type, kind, task_id, attempt, workspace, run_dir, term, "
        "created_at) VALUES ('builder-2', 'builder', 'command', 'A', 1, '/w', ?, 1, ?)",
        (run_dir, now),
    )
