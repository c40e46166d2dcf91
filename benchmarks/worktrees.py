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

from yards import make_repository, open_crew

from crewyard.server import clock, dispatches, janitor, plans, provision, readers
from crewyard.server.crew import Crew
from crewyard.server.worktrees import Worktree

ROUNDS = 7
AT_ONCE = 8


def main() -> None:
    for files in [int(word) for word in sys.argv[1:]] or [236, 57_000]:
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), files)


def measure(folder: Path, files: int) -> None:
    repo = make_repository(folder / "repo", files, branches=0)
    git(repo, "checkout", "-q", "main")
    git(repo, "branch", "roadmap")
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
        (repo / "src" / "folder-0" / "file-0.txt").write_text(f"{n}\n")
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
    """A crew with a dispatch of these tasks."""
    crew = open_crew(repo)
    draft = readers.read_plan(
        json.dumps({"tasks": [{"task_id": name, "title": name} for name in names]}).encode(), name="plan.json"
    )
    crew.store.run(plans.import_plan, draft, now=clock.now(), actor="benchmark", agent_types={"scripted"})
    crew.store.run(dispatches.open_or_join, names, max_parallel=4, agent_type=None, now=clock.now(), actor="benchmark")
    crew.repository.exclude(crew.paths.excludes())
    return crew


def spread(values: list[float]) -> str:
    return f"p50 {statistics.median(values):8.1f} ms  ({min(values):.1f} to {max(values):.1f})"


def git(at: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(at), *arguments], check=True)


if __name__ == "__main__":
    main()
