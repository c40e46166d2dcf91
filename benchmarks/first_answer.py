"""From the start of the server's process to its first answer, beside an empty server of the same library.

    python benchmarks/first_answer.py [ROUNDS]

Both are started alternately, over stdio, in the same repository: from the spawn to the answer to `initialize`, and to
that to `tools/list`. Prints medians and their ratios. The goal is at most 1.3 times.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EMPTY = "from mcp.server.mcpserver import MCPServer; MCPServer('empty').run('stdio')"
OURS = [str(Path(sys.executable).with_name("crewyard")), "serve"]
SERVERS = {"empty": [sys.executable, "-c", EMPTY], "crewyard": OURS}
INITIALIZE = {
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}},
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        repo = make_repository(Path(folder))
        for command in SERVERS.values():
            first_answers(command, repo)  # byte code, the database
        took = {name: [] for name in SERVERS}
        for _ in range(rounds):
            for name, command in SERVERS.items():
                took[name].append(first_answers(command, repo))
    for number, what in enumerate(("initialize", "tools/list")):
        empty, ours = (statistics.median(each[number] for each in took[name]) for name in SERVERS)
        print(f"{what:10}  empty {empty:6.0f} ms  crewyard {ours:6.0f} ms  ratio {ours / empty:5.2f}")


def first_answers(command: list[str], repo: Path) -> tuple[float, float]:
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


def ask(process: subprocess.Popen[str], number: int, **request: object) -> None:
    send(process, id=number, **request)
    assert json.loads(process.stdout.readline())["id"] == number


def send(process: subprocess.Popen[str], **message: object) -> None:
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()


def make_repository(folder: Path) -> Path:
    for command in (["init", "-q", "-b", "main"], ["config", "user.name", "B"], ["config", "user.email", "b@b.org"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    (folder / "file").write_text("first\n")
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-qm", "First"], cwd=folder, check=True)
    return folder


if __name__ == "__main__":
    main()
