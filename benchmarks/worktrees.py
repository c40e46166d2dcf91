"""How long a task waits for its worktree: one of the pool beside a plain `git worktree add`, in small and large trees.

    python benchmarks/worktrees.py [FILES …]

In turns, in the same repository: `git worktree add` and no more; then Crewyard's whole way to a worktree that is
recorded and ready, out of the pool (its files are the base's), and after a merge (they are one commit behind). Then
eight at once, plain. Prints medians and the ratio to the plain form.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crewyard.server import clock, dispatches, janitor, lease, plans, process, provision, readers, settings
from crewyard.server.crew import Crew
from crewyard.server.repository import Repository
from crewyard.server.store import Store
from crewyard.server.worktrees import Worktree

ROUNDS = 7
AT_ONCE = 8


def main() -> None:
    for files in [int(word) for word in sys.argv[1:]] or [236, 57_000]:
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), files)


def measure(folder: Path, files: int) -> None:
    repo = make_repository(folder / "repo", files)
    names = [f"T{n}" for n in range(2 * ROUNDS + 1 + AT_ONCE)]
    crew = make_crew(repo, names)
    plain, level, behind = [], [], []
    worktree, _ = timed(crew, names[0])
    for n in range(ROUNDS):
        plain.append(add_and_remove(repo, folder / "plain"))
        janitor.tidy(crew, worktree)
        worktree, took = timed(crew, names[2 * n + 1])
        level.append(took)
        janitor.tidy(crew, worktree)
        git(repo, "commit", "-q", "--allow-empty", "-m", "Before")
        (repo / "d0" / "e0" / "file-0.txt").write_text(f"{n}\n")
        git(repo, "commit", "-qam", "Merged meanwhile")
        git(repo, "branch", "-f", "roadmap", "main")
        worktree, took = timed(crew, names[2 * n + 2])
        behind.append(took)
    base = statistics.median(plain)
    print(f"{files} files")
    print(f"  git worktree add           {spread(plain)}")
    print(f"  of the pool, at its base   {spread(level)}  ratio {statistics.median(level) / base:.3f}")
    print(f"  of the pool, a merge behind {spread(behind)}  ratio {statistics.median(behind) / base:.3f}")
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        made = list(threads.map(lambda name: provision.provide_worktree(crew, name), names[-AT_ONCE:]))
    print(f"  {len(made)} new ones at once       {1000 * (time.perf_counter() - began):8.1f} ms in all")
    crew.runners.close()
    crew.store.close()


def timed(crew: Crew, task_id: str) -> tuple[Worktree, float]:
    """The task's worktree, and the milliseconds until it was ready; then the task counts as done."""
    began = time.perf_counter()
    worktree = provision.provide_worktree(crew, task_id)
    took = time.perf_counter() - began
    crew.store.run(lambda tx: tx.run("UPDATE specs_task SET status = 'completed', completed_at = ? WHERE task_id = ?",
                                     (clock.now(), task_id)))  # fmt: skip
    return worktree, took * 1000


def add_and_remove(repo: Path, path: Path) -> float:
    began = time.perf_counter()
    git(repo, "worktree", "add", "-q", "--no-track", "-b", path.name, str(path), "roadmap")
    took = time.perf_counter() - began
    git(repo, "worktree", "remove", str(path))
    git(repo, "branch", "-qD", path.name)
    return took * 1000


def make_crew(repo: Path, names: list[str]) -> Crew:
    """A crew that holds the lease, with nobody acting but the benchmark."""
    crew = Crew.of(Repository.discover(repo), settings.load(repo), Store(repo / "data" / "orchestrator.db"))
    me = process.myself()
    holder = lease.Holder("benchmark", me.pid, me.start_time, me.boot_id)
    crew.term = crew.store.run(lease.acquire, holder, now=clock.now(), uptime=clock.uptime()) or 0
    # Nobody is there to renew it.
    crew.store.run(lambda tx: tx.run("UPDATE supervisor_lease SET until_monotonic = until_monotonic + 86400"))
    draft = readers.read_plan(
        json.dumps({"tasks": [{"task_id": name, "title": name} for name in names]}).encode(), name="plan.json"
    )
    crew.store.run(plans.import_plan, draft, now=clock.now(), actor="benchmark", agent_types={"scripted"})
    crew.store.run(dispatches.open_or_join, names, max_parallel=4, agent_type=None, now=clock.now(), actor="benchmark")
    crew.repository.exclude(crew.paths.excludes())
    return crew


def make_repository(path: Path, files: int) -> Path:
    """So many files of a few lines, a thousand to a folder; made by `git fast-import`, which takes a second or two."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    git(path, "config", "user.name", "Bench")
    git(path, "config", "user.email", "bench@example.org")
    lines = ["commit refs/heads/main", "committer Bench <bench@example.org> 1700000000 +0000", "data 5", "First"]
    for n in range(files):
        text = f"{n}\n" * 20
        lines += [f"M 100644 inline d{n // 1000}/e{n // 50 % 20}/file-{n}.txt", f"data {len(text)}", text]
    subprocess.run(["git", "-C", str(path), "fast-import", "--quiet"], input="\n".join(lines), text=True, check=True)
    git(path, "checkout", "-q", "main")
    git(path, "branch", "roadmap")
    return path


def spread(values: list[float]) -> str:
    return f"p50 {statistics.median(values):8.1f} ms  ({min(values):.1f} to {max(values):.1f})"


def git(at: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(at), *arguments], check=True)


if __name__ == "__main__":
    main()
