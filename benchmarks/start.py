"""From "the task is ready" to "its agent's process runs in its worktree", beside `git worktree add` and a bare spawn.

    python benchmarks/start.py [TASKS]

A chain of tasks, each ready when its blocker is merged; the times are the database's own. The bare form does the same
two things with nothing around them, in the same repository, before and after. Prints medians and their ratio.
"""

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

READY_TO_RUNNING = """
SELECT (julianday(a.started_at) - julianday(e.at)) * 86400000 FROM agent_lifecycle a
JOIN event e ON e.subject_id = a.task_id AND e.kind = 'task_ready' ORDER BY a.started_at"""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repo = make_repository(folder / "repo")
        before = [bare_start(repo, folder / f"bare-{n}") for n in range(count)]
        ours = run_chain(repo, folder, count)
        after = [bare_start(repo, folder / f"bare-{count + n}") for n in range(count)]
    bare = statistics.median(before + after)
    print(f"git worktree add + spawn  {bare:6.1f} ms  (before {spread(before)}, after {spread(after)})")
    print(f"ready -> agent runs       {statistics.median(ours):6.1f} ms  ({spread(ours)})")
    print(f"ratio                     {statistics.median(ours) / bare:6.2f}")


def make_repository(path: Path) -> Path:
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    git(path, "config", "user.name", "Bench")
    git(path, "config", "user.email", "bench@example.org")
    for n in range(236):
        (path / f"file-{n}.txt").write_text(f"{n}\n" * 20)
    git(path, "add", ".")
    git(path, "commit", "-qm", "First")
    return path


def bare_start(repo: Path, path: Path) -> float:
    """Milliseconds for a worktree and a process in it, in the smallest form."""
    began = time.perf_counter()
    git(repo, "worktree", "add", "-q", "--no-track", "-b", path.name, str(path), "main")
    process = subprocess.Popen(["sleep", "0"], cwd=path, stdin=subprocess.DEVNULL, start_new_session=True)
    took = time.perf_counter() - began
    process.wait()
    return took * 1000


def run_chain(repo: Path, folder: Path, count: int) -> list[float]:
    tasks = [
        {"task_id": f"T{n}", "title": f"T{n}", "agent_type": "scripted", "depends_on": [f"T{n - 1}"] if n else []}
        for n in range(count + 1)
    ]
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"tasks": tasks}))
    command = [sys.executable, "-m", "crewyard.server.cli", "run", str(plan), "--repo", str(repo), "--json"]
    subprocess.run(command, check=True, capture_output=True)
    with closing(sqlite3.connect(repo / "data" / "orchestrator.db")) as connection:
        return [row[0] for row in connection.execute(READY_TO_RUNNING)]


def spread(values: list[float]) -> str:
    cut = statistics.quantiles(values, n=10)
    return f"p10 {cut[0]:.1f}, p50 {statistics.median(values):.1f}, p90 {cut[-1]:.1f} ms"


def git(at: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(at), *arguments], check=True)


if __name__ == "__main__":
    main()
