"""How soon an agent runs, and what the whole way of a task costs, beside plain git that does the same.

    python benchmarks/dispatch.py [--files 236 5000 57000] [--tasks 100] [--steps 8] [--quick]

All of it by `crewyard run` in a repository of its own; the times are those that its database holds. Ready → runs: tasks
one after another, each in a new worktree or in one of the pool, beside `git worktree add` and a spawn. Blocker's end →
dependent runs: chains of tasks side by side, the times from the last agent's end over proof, merge and worktree to the
next agent, beside `merge-tree`, `commit-tree`, `update-ref`, `worktree add` and a spawn on a branch for each chain. A
task: all of a run of tasks that write a file and commit it, divided by their number, beside a shell loop (one for each
agent) that adds the worktree, runs the same program, merges, and removes worktree and branch.
"""

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import bare
import figures
from figures import Row, Section, Series
from yards import make_repository

SMALL = 236
AGENTS = (1, 4, 16)
LOOPS = (1, 4)
FILES_A_SECOND = 15_000  # an agent works for as long as a worktree of so many files takes to come into the pool
SETTINGS = """\
[launch]
max_cpu_percent = 100
max_per_minute = 1000000
[worktree]
pool = {pool}
[agents.builder]
kind = "command"
command = {command}
"""
READY_TO_RUNS = """
SELECT (julianday(a.started_at) - julianday(e.at)) * 86400000, EXISTS (
    SELECT 1 FROM event p WHERE p.to_state = 'taken' AND p.at BETWEEN e.at AND a.started_at
) FROM agent_lifecycle a JOIN event e ON e.subject_id = a.task_id AND e.kind = 'task_ready'"""
WHY_LATER = {
    1: "On the way are six commands of git, one after another, where plain git takes five: the files are looked "
    "through for what the agent left, its branch for conflict markers, submodules and commits of its own, and the "
    "merge is three. What is done next is recorded before it, four times flushed to disk, which takes 1 ms each.",
    4: "All chains share one integration branch here, plain git has one for each. It is a matter of the processors: a "
    "task takes 14 commands of git with its clean-up, where plain git, which cleans nothing up here, takes 6. With the "
    "agent's own 4 processes and its runner that is 19 to 10: with all else for nothing the limit were 1.9.",
}
END_TO_RUNS = """
SELECT (julianday(a.started_at) - julianday(b.completed_at)) * 86400000 FROM specs_task_dependency d
JOIN agent_lifecycle a ON a.task_id = d.dependent_task_id JOIN agent_lifecycle b ON b.task_id = d.blocking_task_id"""


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.files, asked.tasks, asked.steps = [SMALL], 8, 3
    rows = [
        *(row for files in asked.files for row in starts(files, asked.steps)),
        *(unblocked(agents, asked.steps) for agents in AGENTS),
        *(row for agents in LOOPS for row in whole_tasks(agents, asked.tasks)),
    ]
    return Section(
        "From ready to running, and a task's whole way", " ".join((__doc__ or "").split("\n\n")[-1].split()), rows
    )


# ------------------------------------------------------------------------------------------- ready -> runs


def starts(files: int, steps: int) -> Iterator[Row]:
    """In new worktrees, and in pooled ones: an agent works long enough for the one before it to come into the pool."""
    for called, pool in (("a new", 0), ("a pooled", 4)):
        pause = f"sleep {0.3 + files / FILES_A_SECOND if pool else 0:.1f}; "
        with tempfile.TemporaryDirectory() as name:
            repo = make_yard(Path(name), files, pool, pause + bare.AGENT)
            plain = bare.starts(repo, Path(name), steps)
            found = ran(repo, chains(1, steps + 2), 1, READY_TO_RUNS)
            plain += bare.starts(repo, Path(name), steps)
        took = [milliseconds for milliseconds, is_pooled in found if bool(is_pooled) == bool(pool)]
        beside = {"git worktree add + spawn": Series(plain)}
        yield Row(f"ready → runs in {called} worktree, {files:,} files", "ms", Series(took), beside)


# ------------------------------------------------------------------------------------ blocker's end -> runs


def unblocked(agents: int, steps: int) -> Row:
    with tempfile.TemporaryDirectory() as name:
        repo = make_yard(Path(name), SMALL, 4, bare.AGENT)
        with ThreadPoolExecutor(agents) as threads:
            plain = list(threads.map(lambda n: bare.chain(repo, Path(name), n, steps), range(agents)))
        took = [row[0] for row in ran(repo, chains(agents, steps + 1), agents, END_TO_RUNS)]
    beside = {"git merge, worktree add + spawn": Series([each for one in plain for each in one])}
    why = WHY_LATER.get(agents, "")
    return Row(f"blocker's end → dependent runs, {agents} at once", "ms", Series(took), beside, why=why)


# --------------------------------------------------------------------------------------------- whole tasks


def whole_tasks(agents: int, count: int) -> Iterator[Row]:
    names = [f"T{n}" for n in range(count)]
    with tempfile.TemporaryDirectory() as name:
        repo = make_yard(Path(name), SMALL, 4, bare.AGENT)
        loops = [
            costs(lambda n=n: bare.loops(repo, Path(name), [f"{n}-{task}" for task in names], agents), count)
            for n in range(2)
        ]
        plan = [{"task_id": task, "title": task, "agent_type": "builder"} for task in names]
        ours = costs(lambda: run(repo, plan, agents), count)
    for number, (what, unit) in enumerate((("a task", "ms"), ("a task, CPU of it", "ms"))):
        beside = {"shell loop": Series([each[number] for each in loops])}
        yield Row(f"{what}, {agents} at once, run of {count}", unit, Series([ours[number]]), beside)


def costs(act: Callable[[], Any], count: int) -> tuple[float, float]:
    """Milliseconds for each of ``count``: passed, and of CPU by all processes that were waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    act()
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * took / count, 1000 * cpu / count


# --------------------------------------------------------------------------------------------------- a run


def make_yard(folder: Path, files: int, pool: int, agent: str) -> Path:
    repo = make_repository(folder / "repo", files, 0, checked_out=True)
    bare.git(repo, "branch", "roadmap")
    (repo / "crewyard.toml").write_text(SETTINGS.format(pool=pool, command=json.dumps(["sh", "-c", agent])))
    return repo


def chains(count: int, length: int) -> list[dict[str, Any]]:
    return [
        {
            "task_id": f"T{chain}-{n}",
            "title": f"T{chain}-{n}",
            "agent_type": "builder",
            "depends_on": [f"T{chain}-{n - 1}"] if n else [],
        }
        for chain in range(count)
        for n in range(length)
    ]


def run(repo: Path, tasks: list[dict[str, Any]], agents: int) -> None:
    plan = repo.parent / "plan.json"
    plan.write_text(json.dumps({"tasks": tasks}))
    command = [sys.executable, "-m", "crewyard.server.cli", "run", str(plan), "--repo", str(repo), "--json"]
    subprocess.run([*command, "--max-parallel", str(agents)], check=True, capture_output=True)


def ran(repo: Path, tasks: list[dict[str, Any]], agents: int, question: str) -> Sequence[tuple[Any, ...]]:
    """What the database answers after such a run."""
    run(repo, tasks, agents)
    with closing(sqlite3.connect(repo / "data" / "orchestrator.db")) as connection:
        return connection.execute(question).fetchall()


if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[SMALL, 5_000, 57_000])
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=8, help="how many times each start is measured, in each chain")
    figures.run(measure, parser)
