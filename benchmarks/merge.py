"""The merge queue beside plain git, in the same run.

    python benchmarks/merge.py [--files 236 57000] [--merges 40] [--check-seconds 2]

- merge: from a request in the queue to its record as merged, with no check; beside `merge-tree` + `commit-tree` +
  `update-ref` of the same branch onto a branch of the same history. One of each, in turn.
- batch: 16 branches whose check sleeps, worked off at once: how many checks that took, and how long.

Prints medians with 10th and 90th percentile, and ratios.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from yards import make_repository, open_crew

from crewyard.server import clock, merger, merges
from crewyard.server.crew import Crew
from crewyard.server.store import Transaction

GOAL_MERGE, GOAL_CHECKS, BATCH = 1.5, 3, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[236, 57000])
    parser.add_argument("--merges", type=int, default=40)
    parser.add_argument("--check-seconds", type=float, default=2.0)
    asked = parser.parse_args()
    for files in asked.files:
        with tempfile.TemporaryDirectory() as folder:
            compare(make_repository(Path(folder) / "repo", files, asked.merges), files, asked.merges)
    with tempfile.TemporaryDirectory() as folder:
        batch(make_repository(Path(folder) / "repo", 236, BATCH), Path(folder) / "checks", asked.check_seconds)


def compare(repo: Path, files: int, count: int) -> None:
    git(repo, "branch", "roadmap", "main")
    git(repo, "branch", "plain", "main")
    crew = open_crew(repo)
    ours, plain = [], []
    for n in range(count):
        if n % 2:  # whoever comes second finds warm caches
            plain.append(merge_plainly(repo, f"branch-{n}"))
        ours.append(merge_by_queue(crew, n))
        if not n % 2:
            plain.append(merge_plainly(repo, f"branch-{n}"))
    merged = crew.store.read(lambda tx: tx.value("SELECT count(*) FROM merge_request WHERE status = 'merged'"))
    same = git(repo, "rev-parse", "roadmap^{tree}") == git(repo, "rev-parse", "plain^{tree}")
    assert merged == count
    assert same, "both must come to the same files"
    close(crew)
    print(f"{files} files, {count} merges")
    print(f"  merge-tree + commit-tree + update-ref  {spread(plain)}")
    print(f"  queued -> recorded as merged           {spread(ours)}")
    print(f"  ratio  {statistics.median(ours) / statistics.median(plain):.2f}  (goal <= {GOAL_MERGE})")


def batch(repo: Path, counter: Path, seconds: float) -> None:
    git(repo, "branch", "roadmap", "main")
    check = ["sh", "-c", f"echo x >> {counter}; sleep {seconds}"]
    (repo / "crewyard.toml").write_text(f"[merge]\ncheck = {json.dumps(check)}\n")
    crew = open_crew(repo)
    for n in range(BATCH):
        enqueue(crew, n)
    began = time.perf_counter()
    merger.work_off(crew, "roadmap")
    took = time.perf_counter() - began
    merged = crew.store.read(lambda tx: tx.value("SELECT count(*) FROM merge_request WHERE status = 'merged'"))
    assert merged == BATCH
    close(crew)
    checks = len(counter.read_text().split())
    print(f"{BATCH} green branches, a check of {seconds:g} s")
    share = took / (BATCH * seconds)
    print(f"  {checks} check(s) (goal <= {GOAL_CHECKS}), {took:.1f} s in all: {share:.2f} x a check each")


def close(crew: Crew) -> None:
    crew.runners.close()
    crew.store.close()


def enqueue(crew: Crew, n: int) -> None:
    head = crew.repository.require_tip(f"branch-{n}")

    def insert(tx: Transaction) -> None:
        now = clock.now()
        tx.run(
            "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) "
            "VALUES (?, ?, 'in_progress', ?, ?)",
            (f"T{n}", f"Task {n}", now, now),
        )
        tx.run(
            "INSERT INTO orchestrator_task (orchestrator_task_id, task_id, agent_type, status, priority, "
            "assigned_agent, branch_name, assigned_at, created_at) VALUES (?, ?, 'scripted', 'completed', 5, 'x', ?, "
            "?, ?)",
            (f"ot-{n}", f"T{n}", f"branch-{n}", now, now),
        )
        merges.enqueue(tx, f"ot-{n}", head=head, target="roadmap", approved_by=None, now=now, actor="bench")

    crew.store.run(insert)


def merge_by_queue(crew: Crew, n: int) -> float:
    enqueue(crew, n)
    began = time.perf_counter()
    merger.work_off(crew, "roadmap")
    return time.perf_counter() - began


def merge_plainly(repo: Path, branch: str) -> float:
    """Seconds for the three calls as a script would make them, which knows both commits."""
    tip, head = git(repo, "rev-parse", "plain", branch).split()
    began = time.perf_counter()
    tree = git(repo, "merge-tree", "--write-tree", tip, head)
    commit = git(repo, "commit-tree", tree, "-p", tip, "-p", head, "-m", f"Merge {branch}")
    git(repo, "update-ref", "refs/heads/plain", commit, tip)
    return time.perf_counter() - began


def git(at: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(at), *arguments], check=True, capture_output=True, text=True).stdout.strip()


def spread(values: list[float]) -> str:
    cut = statistics.quantiles(values, n=10)
    return f"{statistics.median(values) * 1000:6.1f} ms  (p10 {cut[0] * 1000:.1f}, p90 {cut[-1] * 1000:.1f})"


if __name__ == "__main__":
    main()
