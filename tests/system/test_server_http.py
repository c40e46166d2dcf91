"""The server over HTTP: the token decides, the Host is checked, and it ends on a signal while clients listen."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

SERVE = (
    "import sys; from pathlib import Path; from crewyard.server.compose import serve_http;"
    "sys.exit(serve_http(Path('.'), sys.argv[1], int(sys.argv[2])))"
)


@contextmanager
def running(repo: Path, host: str = "127.0.0.1", **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server's process and its URL, once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, host, "0"],
        cwd=repo,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"ready at (\S+);", line):
                yield process, found[1]
                break
        else:
            pytest.fail("it never was ready")
    finally:
        process.kill()
        process.communicate(timeout=10)


def token_of(repo: Path) -> str:
    return (repo / "data" / "crewyard" / "http-token").read_text().strip()


def status(url: str, **headers: str) -> int:
    request = Request(url, data=b"{}", headers={"Content-Type": "application/json", **headers})  # noqa: S310  (http)
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310  (http)
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_are_served_with_the_token(git_repo: Path, mode: Any) -> None:
    with running(git_repo) as (_, url):
        headers = {"Authorization": f"Bearer {token_of(git_repo)}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            result = await client.call_tool("plan", {})
            assert result.structured_content is not None
            assert result.structured_content["tasks"] == []


def test_without_the_right_token_nothing_is_served(git_repo: Path) -> None:
    with running(git_repo) as (_, url):
        token = token_of(git_repo)
        assert status(url) == 401
        assert status(url, Authorization="Bearer nonsense") == 401
        assert status(url, Authorization=f"Bearer {token}x") == 401
        assert status(url, Authorization=f"Basic {token}") == 401
        assert status(url, Authorization=f"Bearer {token}", Host="evil.example") == 421
        assert status(url, Authorization=f"Bearer {token}", Origin="http://evil.example") == 403
        assert status(url, Authorization=f"Bearer {token}") not in (401, 403, 421)


def test_the_token_is_made_once_and_for_its_owner_only(git_repo: Path) -> None:
    with running(git_repo):
        first = token_of(git_repo)
        mode = (git_repo / "data" / "crewyard" / "http-token").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    with running(git_repo) as (process, _):
        assert token_of(git_repo) == first
        process.terminate()
        assert process.stderr is not None
        assert first not in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_zero_while_a_client_waits(git_repo: Path, number: signal.Signals) -> None:
    with running(git_repo, CREWYARD_HTTP_TOKEN="a token of my own choice".replace(" ", "-")) as (process, url):
        body = (
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
            b'"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'
        )
        headers = {
            "Authorization": "Bearer a-token-of-my-own-choice",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        with urlopen(Request(url, data=body, headers=headers), timeout=10) as answer:  # noqa: S310  (http)
            session = answer.headers["mcp-session-id"]
        listen = Request(url, headers={**headers, "mcp-session-id": session})  # noqa: S310  (http)
        with urlopen(listen, timeout=10):  # noqa: S310  (http)
            begun = time.monotonic()
            process.send_signal(number)
            assert process.wait(timeout=10) == 0
            assert time.monotonic() - begun < 5


@pytest.mark.parametrize("token", ["short", "", "with blanks in it, long enough"])
def test_a_weak_token_is_refused(git_repo: Path, token: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, "127.0.0.1", "0"],
        cwd=git_repo,
        env={**os.environ, "CREWYARD_HTTP_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert "CREWYARD_HTTP_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told(git_repo: Path) -> None:
    with running(git_repo) as (_, url):
        port = url.split(":")[2].split("/")[0]
        done = subprocess.run(
            [sys.executable, "-c", SERVE, "127.0.0.1", port],
            cwd=git_repo,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stderr
