"""What no client should write on a server's standard input is answered with an error or ignored; the server lives."""

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

CREWYARD = [sys.executable, "-m", "crewyard.server.cli", "serve", "--repo"]
ANSWER_SECONDS = 30
GARBAGE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"42",
    b'"x"',
    b"\x00\xff\xfe",
    b"[" * 100_000,
    b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}',
    b'{"jsonrpc": "2.0", "id": {}, "method": "tools/list"}',
    b'{"jsonrpc": "2.0", "id": 7, "method": "no/such"}',
    b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": []}',
    b'{"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "\\ud800", "arguments": {}}}',
    b'{"jsonrpc": "2.0", "id": 10, "method": "tools/call", "params": {"name": "plan", "arguments": [1]}}',
    b'{"jsonrpc": "2.0", "id": 11, "method": "tools/call", "params": {"name": "route", "arguments": {"content": NaN}}}',
    b'{"jsonrpc": "2.0", "id": 12, "method": "tools/call", "params": {"name": "why", "arguments": {"subject": "'
    + b"x" * 3_000_000
    + b'"}}}',
    b'{"jsonrpc": "2.0", "id": 13, "method": "tools/call", "params": {"name": "plan", "arguments": {"tasks": '
    + b"[" * 2_000
    + b"]" * 2_000
    + b"}}}",
    b'[{"jsonrpc": "2.0", "id": 14, "method": "tools/list"}, {"jsonrpc": "2.0", "id": 15, "method": "tools/list"}]',
    b'{"jsonrpc": "2.0", "id": 16, "result": {}}',
    b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}}',
]


def test_garbage_between_calls_costs_the_server_nothing(git_repo: Path, tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err:
        server = subprocess.Popen(
            [*CREWYARD, str(git_repo)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, bufsize=0
        )
        try:
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            assert "result" in ask(server, "start", "initialize", hello)
            tell(server, json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode())
            for number, line in enumerate(GARBAGE):
                tell(server, line)
                answer = ask(server, f"after {number}", "tools/call", {"name": "plan", "arguments": {}})
                assert answer["result"]["structuredContent"]["status"] == "success", line[:100]
            assert server.poll() is None
        finally:
            server.kill()
            server.communicate()
    assert "tool " not in (tmp_path / "err").read_text()


def tell(server: "subprocess.Popen[bytes]", line: bytes) -> None:
    assert server.stdin is not None
    server.stdin.write(line + b"\n")
    server.stdin.flush()


def ask(server: "subprocess.Popen[bytes]", number: str, method: str, params: dict[str, Any]) -> Any:
    """The answer to this request; whatever else is said before it is passed over."""
    tell(server, json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode())
    assert server.stdout is not None
    while True:
        assert select.select([server.stdout], [], [], ANSWER_SECONDS)[0], f"no answer to {number}"
        answer = json.loads(server.stdout.readline())
        if answer.get("id") == number:
            return answer
