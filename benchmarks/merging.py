"""The merge queue beside plain git.

    python benchmarks/merging.py [--files 236 5000 57000] [--merges 40] [--queues 10 40] [--check-seconds 1] [--quick]

A merge: from a request in the queue to its record as merged, and `merge-tree`, `commit-tree`, `update-ref` of the same
branch onto a branch of the same history, by turns. Queues: so many requests that wait, worked off at once, as one chain
that the branch is moved to, beside a loop of those three calls. With a check, which sleeps, the loop checks each merge
in one worktree that it keeps and moves on; the queue checks chains of merges, each time in a fresh one.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count as numbers
from pathlib import Path

import figures
from bare import git
from figures import Goal, Row, Section, Series
from yards import make_repository, open_crew

from crewyard.server import clock, merger, merges
from crewyard.server.crew import Crew
from crewyard.server.store import Transaction

PLAIN, MOST, MOST_CHECKS, BATCH, ROUNDS = "plain git", 1.5, 3, 16, 3
LIMIT = (
    "The three calls are the same, so that the limit is 1. A fourth git, which counts the lines, runs beside the last "
    "of them and slows it by about 1 ms; four records in the database, a kill between any two of which loses nothing, "
    "take 1.2 ms, and asking what the branch and its tree are 0.3 ms."
)


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.files, asked.merges, asked.queues, asked.check_seconds = [236], 6, [10], 0.3
    rows = []
    for files in asked.files:
        with tempfile.TemporaryDirectory() as name:
            rows += unchecked(Path(name), files, asked)
        with tempfile.TemporaryDirectory() as name:
            rows += checked(Path(name), files, asked.check_seconds)
    return Section("Merges", " ".join((__doc__ or "").split("\n\n")[-1].split()), rows)


def unchecked(folder: Path, files: int, asked: argparse.Namespace) -> Iterator[Row]:
    repo = yard(folder, files, asked.merges + ROUNDS * sum(asked.queues))
    crew, left = open_crew(repo), numbers()
    ours, plain = by_turns(
        lambda branches: by_queue(crew, branches), lambda branches: plainly(repo, branches), left, 1, asked.merges
    )
    goals = [Goal(PLAIN, at_most=MOST)]
    row = Row(f"a merge, {files:,} files", "ms", in_ms(ours), {PLAIN: in_ms(plain)}, goals)
    yield row if goals[0].is_met(figures.ratio(row, goals[0]) or 0.0) else replace(row, why=LIMIT)
    for size in asked.queues:
        ours, plain = by_turns(
            lambda branches: by_queue(crew, branches), lambda branches: plainly(repo, branches), left, size, ROUNDS
        )
        what = f"merges of a queue of {size}, {files:,} files"
        yield Row(what, "/s", a_second(ours, size), {PLAIN: a_second(plain, size)})
    assert git(repo, "rev-parse", "roadmap^{tree}") == git(repo, "rev-parse", "plain^{tree}"), "not the same files"
    close(crew)


def checked(folder: Path, files: int, seconds: float) -> Iterator[Row]:
    repo, counter = yard(folder, files, BATCH), folder / "checks"
    check = ["sh", "-c", f"echo x >> {counter}; sleep {seconds}"]
    (repo / "crewyard.toml").write_text(f"[merge]\ncheck = {json.dumps(check)}\n")
    crew, tree = open_crew(repo), folder / "tree"
    git(repo, "worktree", "add", "-q", "--detach", str(tree), "main")
    plain = plainly(repo, list(range(BATCH)), lambda commit: check_out_and_wait(tree, commit, seconds))
    ours = by_queue(crew, list(range(BATCH)))
    close(crew)
    beside = {PLAIN: a_second([plain], BATCH)}
    what = f"queue of {BATCH}, a check of {seconds:g} s, {files:,} files"
    yield Row(f"merges of a {what}", "/s", a_second([ours], BATCH), beside)
    checks = Series([len(counter.read_text().split())])
    yield Row(f"checks of a {what}", "", checks, goals=[Goal(at_most=MOST_CHECKS)])


def by_turns(
    ours: Callable[[list[int]], float],
    plain: Callable[[list[int]], float],
    left: Iterator[int],
    size: int,
    rounds: int,
) -> tuple[list[float], list[float]]:
    """Seconds of each for the next ``size`` branches, so many times; whoever comes second finds warm caches."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        branches = [next(left) for _ in range(size)]
        for which, act in [(0, ours), (1, plain)][:: 1 if turn % 2 else -1]:
            took[which].append(act(branches))
    return took


def by_queue(crew: Crew, branches: list[int]) -> float:
    for n in branches:
        enqueue(crew, n)
    before = merged(crew)
    began = time.perf_counter()
    merger.work_off(crew, "roadmap")
    took = time.perf_counter() - began
    assert merged(crew) == before + len(branches)
    return took


def plainly(repo: Path, branches: list[int], check: Callable[[str], None] = lambda _commit: None) -> float:
    """Seconds for the three calls as a script would make them, which knows both commits."""
    tip, *heads = git(repo, "rev-parse", "plain", *(f"branch-{n}" for n in branches)).split()
    began = time.perf_counter()
    for n, head in zip(branches, heads, strict=True):
        tree = git(repo, "merge-tree", "--write-tree", tip, head)
        commit = git(repo, "commit-tree", tree, "-p", tip, "-p", head, "-m", f"Merge branch-{n}")
        check(commit)
        git(repo, "update-ref", "refs/heads/plain", commit, tip)
        tip = commit
    return time.perf_counter() - began


def check_out_and_wait(tree: Path, commit: str, seconds: float) -> None:
    git(tree, "checkout", "-q", "--detach", commit)
    subprocess.run(["sh", "-c", f"sleep {seconds}"], cwd=tree, check=True)


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


def merged(crew: Crew) -> int:
    found: int = crew.store.read(lambda tx: tx.value("SELECT count(*) FROM merge_request WHERE status = 'merged'"))
    return found


def yard(folder: Path, files: int, branches: int) -> Path:
    repo = make_repository(folder / "repo", files, branches)
    for target in ("roadmap", "plain"):
        git(repo, "branch", target, "main")
    return repo


def close(crew: Crew) -> None:
    crew.runners.close()
    crew.store.close()


def in_ms(seconds: list[float]) -> Series:
    return Series([1000 * each for each in seconds])


def a_second(seconds: list[float], size: int) -> Series:
    return Series([size / each for each in seconds])


if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[236, 5_000, 57_000])
    parser.add_argument("--merges", type=int, default=40)
    parser.add_argument("--queues", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--check-seconds", type=float, default=1.0)
    figures.run(measure, parser)
