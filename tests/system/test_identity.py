"""Agents over HTTP: each by its own token, for as long as it lives, and to its own entrance only (docs/security.md)."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import httpx2
import pytest
import typer.main
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from crewyard.server import agents, assignments, cli, clock, launches, messages, process, tasks
from crewyard.server.store import Row, Store, Transaction

CREWYARD = [sys.executable, "-m", "crewyard.server.cli"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
MODERN = "2026-07-28"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
LONG_POLL = {
    "jsonrpc": "2.0",
    "id": 3,
    "method": "tools/call",
    "params": {"name": "route", "arguments": {"action": "poll", "wait_seconds": 40}},
}


class Served:
    """A server over HTTP with one repository, and agents whose processes are stand-ins that only sleep."""

    def __init__(self, repo: Path, url: str, server: "subprocess.Popen[str]") -> None:
        self.repo, self.url, self.server = repo, url, server
        self.agents_url = url.replace("/mcp", "/agent/mcp")
        self.store = Store(repo / "data/orchestrator.db")
        self.sleepers: list[subprocess.Popen[bytes]] = []
        self.lead_token = (repo / "data/crewyard/http-token").read_text().strip()

    def agent(self, task_id: str) -> tuple[str, str]:
        """A live agent's id and token."""
        sleeper = subprocess.Popen(["sleep", "600"])
        self.sleepers.append(sleeper)
        who = process.identify(sleeper.pid)
        assert who is not None
        token = f"the-secret-token-of-{task_id}"
        return self.store.run(_agent, task_id, token, who, str(self.repo)), token

    def end(self, agent_id: str) -> None:
        self.store.run(agents.ended, agent_id, agents.Exit("killed", clock.now()), actor="test")

    def refusals(self) -> list[tuple[str, str]]:
        rows = self.store.read(lambda tx: tx.all("SELECT * FROM event WHERE kind = 'not_authorized'"))
        return [(row["actor"], json.loads(row["data"])["asked"]) for row in rows]

    def until_refused(self, actor: str, asked: str) -> None:
        """Returns once that is recorded, which may be a moment after the answer."""
        deadline = time.monotonic() + 5
        while (actor, asked) not in self.refusals():
            assert time.monotonic() < deadline, self.refusals()
            time.sleep(0.01)

    def ask(self, url: str, token: str, message: dict[str, Any], **headers: str) -> Any:
        """The open answer; an HTTPError's code where it was refused."""
        given = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **headers,
        }
        try:
            return urlopen(Request(url, data=json.dumps(message).encode(), headers=given), timeout=10)  # noqa: S310  (http)
        except HTTPError as error:
            error.close()
            return error.code

    def session(self, token: str) -> str:
        with self.ask(self.agents_url, token, INITIALIZE) as answer:
            return str(answer.headers["mcp-session-id"])

    def log(self) -> str:
        """What the server wrote, once it has ended."""
        self.server.terminate()
        assert self.server.stderr is not None
        written = self.server.stderr.read()
        assert self.server.wait(10) == 0
        return written


def _agent(tx: Transaction, task_id: str, token: str, who: process.Identity, root: str) -> str:
    now = clock.now()
    tx.run(
        "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES (?, ?, 'ready', ?, ?)",
        (task_id, task_id, now, now),
    )
    work: Row = assignments.create(
        tx, tasks.get(tx, task_id), agent_type="builder", dispatch_id=None, now=now, actor="test"
    )
    order = launches.LaunchOrder(
        agent_type="builder",
        kind="command",
        task_id=task_id,
        orchestrator_task_id=work["orchestrator_task_id"],
        workspace=f"{root}/w/{task_id}",
        runs_folder=f"{root}/data/crewyard/agents",
        timeout_seconds=600.0,
        memory_limit_mb=None,
        token_hash=agents.hash_token(token),
        term=1,
    )
    name = str(launches.plan_launch(tx, order, now=now, actor="test")["agent_id"])
    facts = {"pid": who.pid, "start_time": who.start_time, "boot_id": who.boot_id}
    launches.runner_started(tx, name, **facts)
    launches.started(tx, name, **facts, at=now, actor="test")
    assignments.started(tx, work["orchestrator_task_id"], name, now=now, actor="test")
    return name


@contextmanager
def serving(repo: Path, address: str = "127.0.0.1:0") -> Iterator[Served]:
    server = subprocess.Popen(
        [*CREWYARD, "serve", "--http", address],
        cwd=repo,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    made: Served | None = None
    try:
        for line in server.stderr:
            if found := re.search(r"ready at (\S+);", line):
                made = Served(repo, found[1], server)
                yield made
                break
        else:
            pytest.fail("it never was ready")
    finally:
        server.kill()
        server.communicate(timeout=10)
        for sleeper in made.sleepers if made is not None else ():
            sleeper.kill()
            sleeper.wait()
        if made is not None:
            made.store.close()


@pytest.fixture
def served(git_repo: Path) -> Iterator[Served]:
    (git_repo / "crewyard.toml").write_text('[agents.builder]\ncommand = ["true"]\n')
    with serving(git_repo) as made:
        yield made


@asynccontextmanager
async def client(url: str, token: str, mode: Any = "auto") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as made,
    ):
        yield made


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_each_agent_is_who_its_token_says_and_has_the_workers_tools(served: Served, mode: Any) -> None:
    names = [served.agent("A"), served.agent("B")]
    for name, token in names:
        async with client(served.agents_url, token, mode) as of_agent:
            assert {tool.name for tool in (await of_agent.list_tools()).tools} == {"report", "route", "agents", "plan"}
            answer = await of_agent.call_tool("report", {"summary": "half"})
            assert answer.structured_content is not None
            assert answer.structured_content["agent_id"] == name
            assert "crewyard://plan" in {str(each.uri) for each in (await of_agent.list_resources()).resources}
            assert "crewyard://status" not in {str(each.uri) for each in (await of_agent.list_resources()).resources}
            refused = await of_agent.call_tool("assign", {})
            assert refused.structured_content is not None
            assert (refused.is_error, refused.structured_content["code"]) == (True, "not_authorized")
            with pytest.raises(MCPError, match="not_authorized"):
                await of_agent.read_resource("crewyard://status")
    async with client(served.url, served.lead_token, mode) as lead:
        assert {"assign", "worktrees"} <= {tool.name for tool in (await lead.list_tools()).tools}
    assert {(name, asked) for name, _ in names for asked in ("assign", "crewyard://status")} <= set(served.refusals())


def test_a_token_opens_its_own_entrance_only_and_each_refusal_is_recorded(served: Served) -> None:
    name, token = served.agent("A")
    assert served.ask(served.url, token, INITIALIZE) == 403
    assert served.ask(served.agents_url, served.lead_token, INITIALIZE) == 403
    assert served.ask(served.agents_url, "made-up-by-somebody", INITIALIZE) == 401
    assert served.ask(served.url, "made-up-by-somebody", INITIALIZE) == 401
    served.until_refused(name, "HTTP /mcp: 403")
    served.until_refused("lead", "HTTP /agent/mcp: 403")
    served.until_refused("unknown", "HTTP /agent/mcp: 401")
    served.until_refused("unknown", "HTTP /mcp: 401")
    for _ in range(200):
        served.ask(served.url, "made-up-by-somebody", INITIALIZE)
    assert served.refusals().count(("unknown", "HTTP /mcp: 401")) < 20
    written = served.log()
    assert "Traceback" not in written
    for secret in (token, served.lead_token, "made-up-by-somebody"):
        assert secret not in written


def test_a_session_of_another_is_refused(served: Served) -> None:
    (name, mine), (_, theirs) = served.agent("A"), served.agent("B")
    session = served.session(theirs)
    listed = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    assert served.ask(served.agents_url, mine, listed, **{"mcp-session-id": session}) == 404
    with served.ask(served.agents_url, theirs, listed, **{"mcp-session-id": session}) as answer:
        assert answer.status == 200
    served.until_refused(name, "HTTP /agent/mcp: 404")


def test_a_session_that_another_has_asked_for_is_closed_with_its_owner_all_the_same(served: Served) -> None:
    (_, mine), (owner, theirs) = served.agent("A"), served.agent("B")
    session = served.session(theirs)
    listed = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    headers = {"mcp-session-id": session, "Accept": "text/event-stream", "Authorization": f"Bearer {theirs}"}
    with urlopen(Request(served.agents_url, headers=headers), timeout=10) as stream:  # noqa: S310  (http)
        assert served.ask(served.agents_url, mine, listed, **{"mcp-session-id": session}) == 404
        served.end(owner)
        stream.read()  # to its end


def test_a_long_poll_whose_connection_is_gone_takes_no_mail(served: Served) -> None:
    agent_id, token = served.agent("A")
    session = served.session(token)

    def polled(number: int) -> str:
        message = {**LONG_POLL, "id": number, "params": {"name": "route", "arguments": {"action": "poll"}}}
        with served.ask(served.agents_url, token, message, **{"mcp-session-id": session}) as answer:
            return str(answer.read().decode())

    assert "task_assignment" in polled(10)
    address = urlsplit(served.agents_url)
    body = json.dumps(LONG_POLL)
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        f"Mcp-Session-Id: {session}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall((head + body).encode())
        connection.recv(1)  # the answer has begun; it is waited for
    send = {"sender": "lead", "agent_types": [], "max_queue": 9, "now": clock.now()}
    sent = served.store.run(messages.send, messages.Draft(agent_id, "question", "?"), **send).message_ids[0]
    assert sent in polled(11), "who polls next gets it"
    assert served.store.read(messages.get, sent)["delivery_count"] == 1


def test_in_a_session_each_call_is_its_own_tokens_and_not_the_openings(served: Served) -> None:
    name, token = served.agent("A")
    session = served.session(token)
    served.end(name)
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "report", "arguments": {}}}
    assert served.ask(served.agents_url, token, call, **{"mcp-session-id": session}) == 401
    served.until_refused("unknown", "HTTP /agent/mcp: 401")


def test_what_an_agent_holds_open_is_closed_when_it_ends(served: Served) -> None:
    """In both eras; what another holds open stays."""
    (name, token), (_, other) = served.agent("A"), served.agent("B")
    session, theirs = served.session(token), served.session(other)
    listen = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "subscriptions/listen",
        "params": {"_meta": ENVELOPE, "notifications": {"toolsListChanged": True}},
    }
    modern = {"MCP-Protocol-Version": MODERN, "MCP-Method": "subscriptions/listen"}
    stays = _listen(served, other, theirs)
    streams = [_listen(served, token, session), served.ask(served.agents_url, token, listen, **modern)]
    assert [stream.status for stream in streams] == [200, 200]
    began = time.monotonic()
    served.end(name)
    for stream in streams:
        while stream.readline():
            continue
        assert time.monotonic() - began < 2
        stream.close()
    stays.fp.raw._sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        stays.read(1)
    assert "Traceback" not in served.log()


def _listen(served: Served, token: str, session: str) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream", "mcp-session-id": session}
    return urlopen(Request(served.agents_url, headers=headers), timeout=10)  # noqa: S310  (http)


def test_a_long_poll_of_an_agent_that_ends_is_told_so_before_it_is_cut_off(served: Served) -> None:
    name, token = served.agent("A")
    session = served.session(token)
    with served.ask(served.agents_url, token, LONG_POLL, **{"mcp-session-id": session}) as waiting:
        served.end(name)
        began = time.monotonic()
        assert b"not_authorized" in waiting.read()
        assert time.monotonic() - began < 5


def test_what_is_too_large_or_no_json_is_refused_without_a_traceback(served: Served) -> None:
    _, token = served.agent("A")
    for url, secret in ((served.url, served.lead_token), (served.agents_url, token)):
        for body, code in ((None, 413), (b"{", 400), (b"\xff\xfe", 400), (b"[" * 100_000, 400)):
            for headers in ({}, {"MCP-Protocol-Version": MODERN}):
                assert _posted(url, secret, body, headers) == code, (url, body and body[:9], headers)
    assert "Traceback" not in served.log()


def _posted(url: str, token: str, body: bytes | None, headers: dict[str, str]) -> int:
    """The status for that body; for None one byte too many is announced, and no more is sent before the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("POST", parts.path)
    for name, value in {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(4 * 2**20 + 1 if body is None else len(body)),
        **headers,
    }.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_who_connects_and_asks_for_nothing_keeps_nobody_out(served: Served) -> None:
    address = ("127.0.0.1", int(served.url.split(":")[2].split("/")[0]))
    idle = [socket.create_connection(address) for _ in range(600)]
    try:
        idle[-1].settimeout(15)
        idle[-1].sendall(b"POST /mcp HTTP/1.1\r\nHost: ")
        assert idle[-1].recv(1) == b"", "it was cut off, in time"
        assert served.ask(served.url, "made-up-by-somebody", INITIALIZE) == 401
    finally:
        for each in idle:
            each.close()
    assert "Traceback" not in served.log()


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_it_ends_in_time_while_streams_and_calls_are_open(served: Served, number: str) -> None:
    (_, token) = served.agent("A")
    session = served.session(token)
    stream = _listen(served, token, session)
    waiting = served.ask(served.agents_url, token, LONG_POLL, **{"mcp-session-id": session})
    began = time.monotonic()
    served.server.send_signal(signal.Signals[number])
    assert served.server.wait(10) == 0
    assert time.monotonic() - began < 3
    assert served.server.stderr is not None
    written = served.server.stderr.read()
    assert "Traceback" not in written
    assert "ERROR" not in written
    for each in (stream, waiting):
        each.read()
        each.close()


def test_asked_twice_it_ends_at_once_and_without_a_traceback(served: Served) -> None:
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n".encode())  # and no more
        for _ in range(2):
            served.server.send_signal(signal.SIGINT)
        assert served.server.wait(10) == 0
    assert served.server.stderr is not None
    assert "Traceback" not in served.server.stderr.read()


def test_another_name_is_answered_only_where_it_is_allowed(git_repo: Path) -> None:
    (git_repo / "crewyard.toml").write_text('[http]\nallowed_hosts = ["crew.example.org"]\n')
    with serving(git_repo, "0.0.0.0:0") as served:
        url = served.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        token = served.lead_token
        wanted = {"127.0.0.1:1": 200, socket.gethostname(): 200, "crew.example.org": 200, "evil.example:80": 421}
        for host, code in wanted.items():
            answer = served.ask(url, token, INITIALIZE, Host=host)
            assert (answer if isinstance(answer, int) else answer.status) == code, host
        for origin, code in (("https://crew.example.org", 200), ("http://evil.example", 403)):
            answer = served.ask(url, token, INITIALIZE, Origin=origin)
            assert (answer if isinstance(answer, int) else answer.status) == code, origin
        served.until_refused("lead", "HTTP /mcp: 421")


# ------------------------------------------------------------------------------------------- the command line

SAFE = {"status", "top", "why", "doctor", "worktrees", "plan show", "plan export", "demo"}


def commands() -> list[str]:
    """Every command that there is, as it is called."""

    def of(group: Any, prefix: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                if command.invoke_without_command:
                    yield prefix + name
                yield from of(command, f"{prefix}{name} ")
            else:
                yield prefix + name

    return list(of(typer.main.get_command(cli.app), ""))


ARGUMENTS = {
    "run": ["plan.json"],
    "serve": ["--http", "127.0.0.1:0"],
    "logs": ["A"],
    "send": ["A", "text"],
    "why": ["A"],
    "plan import": ["plan.json"],
    "worktrees approve": ["A"],
}


def called(repo: Path, command: str, token: str | None, **environment: str) -> "subprocess.CompletedProcess[str]":
    given = {} if token is None else {"CREWYARD_AGENT_TOKEN": token}
    return subprocess.run(
        [*CREWYARD, *command.split(), *ARGUMENTS.get(command, [])],
        cwd=repo,
        env={**os.environ, **given, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", [command for command in commands() if command not in SAFE])
def test_in_an_agents_shell_a_command_with_the_leads_word_is_refused_and_recorded(
    git_repo: Path, store_of: Callable[[Path], Store], command: str
) -> None:
    store = store_of(git_repo)
    who = process.myself()
    name = store.run(_agent, "A", "secret-of-A", who, str(git_repo))
    tip = store.read(lambda tx: tx.value("SELECT max(event_id) FROM event"))
    told = called(git_repo, command, "secret-of-A", CREWYARD_REPOSITORY=str(git_repo))
    assert (told.returncode, "An agent of the crew cannot call" in told.stderr) == (2, True), told.stderr
    assert "secret-of-A" not in told.stderr + told.stdout
    [row] = store.read(lambda tx: tx.all("SELECT * FROM event WHERE event_id > ?", (tip,)))
    asked = "crewyard serve --http" if command == "serve" else f"crewyard {command}"
    assert (row["kind"], row["actor"], json.loads(row["data"])["asked"]) == ("not_authorized", name, asked)
    assert not (git_repo / "crewyard.toml").exists()


def test_an_agent_that_ended_has_no_say_from_its_shell_either(
    git_repo: Path, store_of: Callable[[Path], Store]
) -> None:
    store = store_of(git_repo)
    name = store.run(_agent, "A", "secret-of-A", process.myself(), str(git_repo))
    store.run(agents.ended, name, agents.Exit("killed", clock.now()), actor="test")
    assert called(git_repo, "worktrees approve", "secret-of-A").returncode == 2
    [row] = store.read(lambda tx: tx.all("SELECT * FROM event WHERE kind = 'not_authorized'"))
    assert row["actor"] == name


def test_an_agent_may_look_at_the_plan_from_its_shell(git_repo: Path, store_of: Callable[[Path], Store]) -> None:
    store_of(git_repo).run(_agent, "A", "secret-of-A", process.myself(), str(git_repo))
    for command in sorted(SAFE - {"demo", "top"}):
        told = called(git_repo, command, "secret-of-A", CREWYARD_REPOSITORY=str(git_repo))
        assert told.returncode == 0, (command, told.stderr)


def test_an_agent_that_works_with_another_repository_is_its_lead_there(git_repo: Path, tmp_path: Path) -> None:
    """As when it runs the tests of Crewyard itself; and a server that it starts there is no confused worker's."""
    environment = {"CREWYARD_REPOSITORY": str(tmp_path / "elsewhere")}
    plan = {"tasks": [{"task_id": "A", "title": "A"}]}
    (git_repo / "plan.json").write_text(json.dumps(plan))
    told = called(git_repo, "plan import", "secret-of-A", **environment)
    assert told.returncode == 0, told.stderr
    listed = '{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n'
    with subprocess.Popen(
        [*CREWYARD, "serve"],
        cwd=git_repo,
        env={**os.environ, **environment, "CREWYARD_AGENT_TOKEN": "secret-of-A"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdin is not None
        assert served.stdout is not None
        served.stdin.write(
            f'{json.dumps(INITIALIZE)}\n{{"jsonrpc":"2.0","method":"notifications/initialized"}}\n{listed}'
        )
        served.stdin.flush()
        answers = [served.stdout.readline() for _ in range(2)]  # before its input ends, and it with that
        served.stdin.close()
    assert '"assign"' in answers[1]


@pytest.fixture
def store_of() -> Iterator[Callable[[Path], Store]]:
    opened: list[Store] = []

    def make(repo: Path) -> Store:
        opened.append(Store(repo / "data/orchestrator.db"))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
