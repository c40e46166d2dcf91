"""What the benchmarks set Crewyard's way of a task beside: the same git commands with nothing around them."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

# What an agent does, here and there: its branch's name is that of a file that no other writes.
AGENT = 'name=$(git symbolic-ref --short HEAD); echo done >"$name.txt"; git add .; git commit -qm "$name"'
# `-B`, again and again: git reads all worktrees, and dies of one that is half made by another of these loops.
LOOP = f"""
cd "$1" || exit 1
while read -r id; do
  until git worktree add -q --no-track -B "plain-$id" "$2/$id" roadmap; do :; done
  (cd "$2/$id" && {AGENT})
  head=$(git rev-parse "plain-$id")
  until
    tip=$(git rev-parse roadmap)
    tree=$(git merge-tree --write-tree "$tip" "$head")
    commit=$(git commit-tree "$tree" -p "$tip" -p "$head" -m "Merge $id")
    git update-ref refs/heads/roadmap "$commit" "$tip"
  do :; done
  git worktree remove "$2/$id"
  git branch -qD "plain-$id"
done
"""
SECONDS = 1200


def starts(repo: Path, folder: Path, count: int) -> list[float]:
    """Milliseconds for a worktree and a process in it, and the worktree is removed again."""
    took = []
    for n in range(count):
        path = folder / f"plain-{n}"
        began = time.perf_counter()
        _start(repo, path, "roadmap", ["sleep", "0"]).wait(SECONDS)
        took.append(1000 * (time.perf_counter() - began))
        git(repo, "worktree", "remove", str(path))
        git(repo, "branch", "-qD", path.name)
    return took


def chain(repo: Path, folder: Path, number: int, count: int) -> list[float]:
    """Milliseconds from an agent's end to the next one's start on the same branch, its work merged in between."""
    target, took = f"chain-{number}", []
    git(repo, "branch", target, "roadmap")
    agent = _start(repo, folder / f"{target}-0", target, ["sh", "-c", AGENT])
    for n in range(count):
        agent.wait(SECONDS)
        began = time.perf_counter()
        _merge(repo, target, f"{target}-{n}")
        agent = _start(repo, folder / f"{target}-{n + 1}", target, ["sh", "-c", AGENT])
        took.append(1000 * (time.perf_counter() - began))
    agent.wait(SECONDS)
    return took


def loops(repo: Path, folder: Path, names: Sequence[str], count: int) -> None:
    """Work all of them off, in so many shell loops at once."""
    loops = [
        subprocess.Popen(
            ["sh", "-c", LOOP, "sh", str(repo), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(count)
    ]
    for number, loop in enumerate(loops):
        assert loop.stdin is not None
        loop.stdin.write("".join(f"{name}\n" for name in names[number::count]))
        loop.stdin.close()
    for loop in loops:
        assert loop.wait(SECONDS) == 0


def git(at: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(at), *arguments], check=True, capture_output=True, text=True).stdout.strip()


def _start(repo: Path, path: Path, base: str, command: Sequence[str]) -> "subprocess.Popen[bytes]":
    _add(repo, path, base)
    return subprocess.Popen(command, cwd=path, stdin=subprocess.DEVNULL, start_new_session=True)


def _add(repo: Path, path: Path, base: str) -> None:
    command = ["git", "-C", str(repo), "worktree", "add", "-q", "--no-track", "-B", path.name, str(path), base]
    while subprocess.run(command, check=False, capture_output=True).returncode:  # see LOOP
        assert not path.exists(), path


def _merge(repo: Path, target: str, branch: str) -> None:
    tip, head = git(repo, "rev-parse", target, branch).split()
    tree = git(repo, "merge-tree", "--write-tree", tip, head)
    commit = git(repo, "commit-tree", tree, "-p", tip, "-p", head, "-m", f"Merge {branch}")
    git(repo, "update-ref", f"refs/heads/{target}", commit, tip)
