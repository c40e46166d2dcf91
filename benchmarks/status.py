"""How long `crewyard status` takes from the call to its end, beside a Python that does nothing and `git --version`.

    python benchmarks/status.py [TIMES]

In a repository with a plan that was worked off, from a pipe and on a terminal. Prints medians and ratios.
"""

import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CREWYARD = [sys.executable, "-m", "crewyard.server.entry"]


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as name:
        repo = make_repository(Path(name) / "repo")
        status = [*CREWYARD, "status", "--repo", str(repo)]
        subprocess.run(status, check=True, capture_output=True)  # compiles, and checks the configuration
        rows = {
            "python -c pass": [piped([sys.executable, "-c", "pass"]) for _ in range(times)],
            "git --version": [piped(["git", "--version"]) for _ in range(times)],
            "crewyard status, in a pipe": [piped(status) for _ in range(times)],
            "crewyard status, on a terminal": [on_terminal(status) for _ in range(times)],
        }
    bare, git = (statistics.median(rows[name]) for name in ("python -c pass", "git --version"))
    for name, taken in rows.items():
        middle = statistics.median(taken)
        print(f"{name:32} {middle:6.1f} ms   {middle / bare:5.1f} x python   {middle / git:5.1f} x git")


def piped(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


def on_terminal(command: list[str]) -> float:
    ours, theirs = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        while os.read(ours, 65536):
            continue
    except OSError:  # the other side is closed
        pass
    process.wait()
    os.close(ours)
    return (time.perf_counter() - began) * 1000


def make_repository(path: Path) -> Path:
    path.mkdir()
    for command in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "Bench"],
        ["config", "user.email", "b@e.org"],
    ):
        subprocess.run(["git", "-C", str(path), *command], check=True)
    subprocess.run(["git", "-C", str(path), "commit", "-q", "--allow-empty", "-m", "First"], check=True)
    (path / "crewyard.toml").write_text("[crew]\nmax_parallel = 4\n")
    plan = path.parent / "plan.json"
    plan.write_text(
        json.dumps({"tasks": [{"task_id": f"T{n}", "title": "T", "agent_type": "scripted"} for n in range(5)]})
    )
    subprocess.run([*CREWYARD, "run", str(plan), "--repo", str(path), "--json"], check=True, capture_output=True)
    return path


if __name__ == "__main__":
    main()
