"""Live resources through real servers: what any process changes is told, in both eras, over stdio and HTTP."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, cast
from urllib.request import Request, urlopen

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import (
    EmptyResult,
    ResourceUpdatedNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)

from crewyard.server.store import Store

STDIO = (
    "import sys; from pathlib import Path; from crewyard.server.compose import serve_stdio;"
    "sys.exit(serve_stdio(Path('.')))"
)
HTTP = (
    "import sys; from pathlib import Path; from crewyard.server.compose import serve_http;"
    "sys.exit(serve_http(Path('.'), '127.0.0.1', 0))"
)
WITHIN_SECONDS = 1.0
PATIENCE_SECONDS = 20.0
SUBSCRIBER = """
import sys, anyio, httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import EmptyResult, SubscribeRequest, SubscribeRequestParams

async def main(url, token, mode):
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            uri = "crewyard://status"
            if mode == "legacy":
                asked = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
                await client.session.send_request(asked, EmptyResult)
                print("subscribed", flush=True)
                await anyio.sleep_forever()
            async with client.listen(resource_subscriptions=[uri]):
                print("subscribed", flush=True)
                await anyio.sleep_forever()

anyio.run(main, *sys.argv[1:])
"""


@contextmanager
def running(repo: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server over HTTP and its URL."""
    process = subprocess.Popen([sys.executable, "-c", HTTP], cwd=repo, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"ready at (\S+);", line) for line in process.stderr)))
        yield process, found[1]
    finally:
        process.kill()
        process.communicate(timeout=10)


def token_of(repo: Path) -> str:
    return (repo / "data" / "crewyard" / "http-token").read_text().strip()


@asynccontextmanager
async def over_stdio(repo: Path, mode: Any, take: Any) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(command=sys.executable, args=["-c", STDIO], cwd=repo, env=dict(os.environ))
    async with Client(stdio_client(parameters), mode=mode, message_handler=take) as client:
        yield client


@asynccontextmanager
async def over_http(repo: Path, mode: Any, take: Any) -> AsyncIterator[Client]:
    with running(repo) as (_, url):
        async with connected(repo, url, mode, take) as client:
            yield client


@asynccontextmanager
async def connected(repo: Path, url: str, mode: Any, take: Any = None) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token_of(repo)}"}, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, message_handler=take) as client,
    ):
        yield client


def rename(database: Path, title: str) -> None:
    """By another process than the server's: this one."""
    store = Store(database)
    store.run(lambda tx: tx.run("UPDATE specs_task SET title = ? WHERE task_id = 'A'", (title,)))
    store.close()


def listeners(repo: Path) -> list[str]:
    return [path.name for path in (repo / "data").glob("orchestrator.db-listeners/*")]


@pytest.mark.anyio
@pytest.mark.parametrize("over", [over_stdio, over_http])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_what_another_process_changes_is_told_within_a_second(
    git_repo: Path, over: Any, mode: Any, wait_until: Callable[..., float]
) -> None:
    told = anyio.Event()

    async def take(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            assert str(message.params.uri) == "crewyard://tasks/A"
            told.set()

    async with over(git_repo, mode, take) as client:
        await client.call_tool("plan", {"action": "add", "tasks": [{"task_id": "A", "title": "First"}]})
        async with subscribed(client, mode, "crewyard://tasks/A", told):
            await anyio.to_thread.run_sync(wait_until, lambda: listeners(git_repo))
            await anyio.to_thread.run_sync(rename, git_repo / "data" / "orchestrator.db", "Second")
            with anyio.fail_after(WITHIN_SECONDS):
                await told.wait()
            shown = await client.read_resource("crewyard://tasks/A")
            assert json.loads(shown.contents[0].text)["title"] == "Second"  # type: ignore[union-attr]
        await anyio.to_thread.run_sync(wait_until, lambda: not listeners(git_repo))


@asynccontextmanager
async def subscribed(client: Client, mode: str, uri: str, told: anyio.Event) -> AsyncIterator[None]:
    if mode == "legacy":
        asked = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
        await client.session.send_request(asked, EmptyResult)
        yield
        over = UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri))
        await client.session.send_request(over, EmptyResult)
        return
    async with client.listen(resource_subscriptions=[uri]) as stream, anyio.create_task_group() as tasks:

        async def follow() -> None:
            async for _ in stream:
                told.set()

        tasks.start_soon(follow)
        yield
        tasks.cancel_scope.cancel()


@contextmanager
def subscriber(repo: Path, url: str, mode: str) -> Iterator["subprocess.Popen[str]"]:
    """A client of its own that has subscribed."""
    command = [sys.executable, "-c", SUBSCRIBER, url, token_of(repo), mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "subscribed\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def held_listeners(pid: int) -> list[str]:
    names = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(str(path.readlink()))
    return [name for name in names if "listeners" in name]


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_nothing_is_left_of_a_subscriber_that_was_killed(
    git_repo: Path, mode: Any, wait_until: Callable[..., float]
) -> None:
    with running(git_repo) as (server, url):
        with subscriber(git_repo, url, mode) as process:
            wait_until(lambda: listeners(git_repo))
            process.send_signal(signal.SIGKILL)
            process.wait()
            wait_until(lambda: not listeners(git_repo))
        wait_until(lambda: not held_listeners(server.pid))  # it closes the pipe behind taking its name away
        told = anyio.Event()
        async with (
            connected(git_repo, url, "auto") as client,
            subscribed(client, "auto", "crewyard://status", told),
        ):
            await client.call_tool("plan", {"action": "add", "tasks": [{"task_id": "A", "title": "First"}]})
            with anyio.fail_after(WITHIN_SECONDS):
                await told.wait()


def post(url: str, headers: dict[str, str], **message: Any) -> Message:
    """The headers of the answer, which is read to its end: who leaves before that has asked for nothing."""
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    request = Request(url, data=body, headers={**headers, "Content-Type": "application/json"})  # noqa: S310  (http)
    with urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310  (http)
        assert b'"error"' not in answer.read()
        return cast(Message, answer.headers)


def first_told(stream: Any) -> str:
    end = time.monotonic() + PATIENCE_SECONDS
    for line in stream:  # a line comes at least with each ping, so this ends
        if line.startswith(b"data: {"):
            return str(json.loads(line[6:])["params"]["uri"])
        assert time.monotonic() < end, "nothing was told"
    pytest.fail("the stream ended")


def test_a_session_without_a_stream_rests_and_hears_of_it_with_the_next(
    git_repo: Path, wait_until: Callable[..., float]
) -> None:
    with running(git_repo) as (_, url):
        headers = {
            "Authorization": f"Bearer {token_of(git_repo)}",
            "Accept": "application/json, text/event-stream",
        }
        parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        answered = post(url, headers, id=1, method="initialize", params=parameters)
        headers["mcp-session-id"] = answered["mcp-session-id"]
        post(url, headers, method="notifications/initialized")
        post(url, headers, id=2, method="resources/subscribe", params={"uri": "crewyard://status"})
        assert listeners(git_repo) == []
        for title in ("First", "Second"):
            with urlopen(Request(url, headers=headers), timeout=PATIENCE_SECONDS) as stream:  # noqa: S310  (http)
                assert first_told(stream) == "crewyard://status"
                wait_until(lambda: listeners(git_repo))
                tasks = [{"task_id": title, "title": title}]
                arguments = {"name": "plan", "arguments": {"action": "add", "tasks": tasks}}
                post(url, headers, id=3, method="tools/call", params=arguments)
                assert first_told(stream) == "crewyard://status"
            wait_until(lambda: not listeners(git_repo))
        request = Request(url, headers=headers, method="DELETE")  # noqa: S310  (http)
        urlopen(request, timeout=PATIENCE_SECONDS).close()  # noqa: S310  (http)
