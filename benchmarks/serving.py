"""Crewyard's server beside one of the same library that does nothing: its start, its calls, its memory.

    python benchmarks/serving.py [--rounds 15] [--calls 300] [--quick]

Both are started by turns, over stdio, in the same repository: from the spawn to the answer to `initialize`, and to that
to `tools/list`. Then both stay, are called by turns in each protocol era, and are weighed: the no-op tool takes no
argument and answers with a small model, as ours do. A third one shows the limit of a call: it checks the same arguments
and writes the same answer, which it has ready, and does nothing else, but for the one row that it commits to disk where
ours sends a message.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import figures
import psutil
from figures import Goal, Row, Section, Series
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from yards import make_repository

EMPTY = """
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel
class Answer(BaseModel):
    status: str
    total: int
app = MCPServer('empty')
@app.tool()
async def noop() -> Answer:
    return Answer(status='success', total=0)
app.run('stdio')
"""
PREPARED = """
import json, os, sqlite3
from crewyard.tools import for_lead
from mcp.server.mcpserver import MCPServer
ANSWERS = json.loads(os.environ['ANSWERS'])
rows = sqlite3.connect('prepared.db', isolation_level=None)
rows.executescript('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS sent (content)')
def prepared(tool):
    answer = tool.fn_metadata.output_model.model_validate(ANSWERS[tool.name])
    async def give(call, content=None, **others):
        if content:
            rows.execute('INSERT INTO sent VALUES (?)', (json.dumps(content),))
        return answer
    return tool.model_copy(update={'fn': give})
MCPServer('prepared', tools=[prepared(tool) for tool in for_lead() if tool.name in ANSWERS]).run('stdio')
"""
CREWYARD = [str(Path(sys.executable).with_name("crewyard")), "serve"]
EMPTY_SERVER = [sys.executable, "-c", EMPTY]
PREPARED_SERVER = [sys.executable, "-c", PREPARED]
SERVERS = {"crewyard": CREWYARD, "empty server": EMPTY_SERVER}
INITIALIZE = {
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}},
}
CALLS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "agents list": ("agents", {"action": "list"}),
    "assign find": ("assign", {"action": "find"}),
    "route send": ("route", {"action": "send", "target_agent": "builder", "content": {"text": "x" * 200}}),
}
ERAS = {"auto": "2026 era", "legacy": "2025 era"}
TASKS = 50
MOST = 1.3
PART = "the prepared answer shows how much of it the check of the arguments and the writing of the answer take"
WHY = {
    "agents list": f"{PART}; the rest reads who is alive, and looks for mail",
    "assign find": f"{PART}; the rest reads the tasks, on another thread since a plan may be long, and looks for mail",
    "route send": "its commit is on disk before the answer, as that of one row in one table before the prepared one, "
    "which misses the goal for it; ours writes a message and an event, with their indexes, and looks for mail",
    "memory": "of what it takes more, 9 MB are our modules, 3 MB GitPython and psutil, 2 MB the supervisor's modules, "
    "and the rest seven connections to the database and the threads that use them",
}


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.rounds, asked.calls = 2, 20
    with tempfile.TemporaryDirectory() as folder:
        repo = make_repository(Path(folder), 20, 0)
        (repo / "crewyard.toml").write_text('[agents.builder]\ncommand = ["true"]\n[messages]\nmax_queue = 100000\n')
        rows = [*started(repo, asked.rounds), *anyio.run(called, repo, asked.calls)]
    return Section("A server, its start and its calls", " ".join((__doc__ or "").split("\n\n")[-1].split()), rows)


def started(repo: Path, rounds: int) -> Iterator[Row]:
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVERS}
    for turn in range(-1, rounds):
        for name, command in SERVERS.items():
            both = first_answers(command, repo)
            if turn >= 0:  # the first one writes byte code and the database
                took[name].append(both)
    for number, what in enumerate(("start to the first answer", "start to the list of tools")):
        ours, empty = ([each[number] for each in took[name]] for name in SERVERS)
        yield beside_empty(what, "ms", ours, empty)


def first_answers(command: Sequence[str], repo: Path) -> tuple[float, float]:
    """Milliseconds from the spawn to each of the two answers."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        ask(process, 1, **INITIALIZE)
        begun = time.perf_counter()
        send(process, method="notifications/initialized")
        ask(process, 2, method="tools/list")
        listed = time.perf_counter()
    return (begun - began) * 1000, (listed - began) * 1000


def ask(process: "subprocess.Popen[str]", number: int, **request: object) -> None:
    send(process, id=number, **request)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["id"] == number


def send(process: "subprocess.Popen[str]", **message: object) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()


async def called(repo: Path, calls: int) -> list[Row]:
    rows: list[Row] = []
    for mode, era in ERAS.items():
        async with AsyncExitStack() as stack:
            ours, empty = [await stack.enter_async_context(client(command, repo, mode)) for command in SERVERS.values()]
            tasks = [{"task_id": f"T{n}", "title": f"Task {n}"} for n in range(TASKS)]
            await ours.call_tool("plan", {"action": "add", "tasks": tasks})
            limit = client(PREPARED_SERVER, repo, mode, ANSWERS=await answers(ours))
            rows += await compared(ours, empty, limit, era, calls)
            if mode == "auto":
                rows.append(beside_empty("memory after that (PSS)", "MB", [weight(CREWYARD)], [weight(EMPTY_SERVER)]))
    return rows


async def compared(ours: Client, empty: Client, limit: Client, era: str, calls: int) -> list[Row]:
    rows: list[Row] = []
    async with limit:
        for what, (tool, arguments) in CALLS.items():
            took: tuple[list[float], list[float], list[float]] = ([], [], [])
            for _ in range(calls):
                took[0].append(await timed(ours, tool, arguments))
                took[1].append(await timed(empty, "noop", {}))
                took[2].append(await timed(limit, tool, arguments))
            name = f"{what}, {era}"
            rows += [beside_empty(name, "ms", *took), beside_empty(f"{name}, p99", "ms", *took, at=0.99)]
    return rows


def client(command: Sequence[str], repo: Path, mode: Any, **variables: str) -> Client:
    environ = {**os.environ, **variables}
    parameters = StdioServerParameters(command=command[0], args=list(command[1:]), cwd=repo, env=environ)
    return Client(stdio_client(parameters, errlog=Path(os.devnull).open("w")), mode=mode)


async def answers(caller: Client) -> str:
    """What each of the calls is answered, by its tool, as JSON."""
    given = {tool: await caller.call_tool(tool, dict(arguments)) for tool, arguments in CALLS.values()}
    return json.dumps({tool: answer.structured_content for tool, answer in given.items()})


async def timed(caller: Client, tool: str, arguments: Mapping[str, Any]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    answer = await caller.call_tool(tool, dict(arguments))
    took = (time.perf_counter() - began) * 1000
    assert not answer.is_error, answer
    return took


def weight(command: Sequence[str]) -> float:
    """Megabytes of the server that runs under us, shared pages by their share."""
    found = [child for child in psutil.Process().children() if child.cmdline()[-1:] == [command[-1]]]
    return sum(child.memory_full_info().pss for child in found) / 1e6


def beside_empty(
    what: str,
    unit: str,
    ours: Sequence[float],
    empty: Sequence[float],
    limit: Sequence[float] = (),
    *,
    at: float = 0.5,
) -> Row:
    goals = [Goal("empty server", at_most=MOST)]
    others = {"empty server": Series(empty, at)} | ({"prepared answer": Series(limit, at)} if limit else {})
    row = Row(what, unit, Series(ours, at), others, goals)
    if goals[0].is_met(figures.ratio(row, goals[0]) or 0.0):
        return row
    return replace(row, why=next((why for name, why in WHY.items() if what.startswith(name)), ""))


if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=300)
    figures.run(measure, parser)
