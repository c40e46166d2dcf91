"""The user's checkout: it follows the integration branch where that is safe, and is never touched where it is not."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import following, merging
from crewyard.server.errors import DirtyWorkingDirectory
from crewyard.server.repository import Repository

Script = Callable[..., str]
OFTEN = "[merge]\nretry_seconds = 0.1\nmax_attempts = 2\n"


@pytest.fixture
def followed(yard) -> Any:
    """A yard whose checkout is on the integration branch, with three files of ten lines."""
    yard.git(yard.repo, "switch", "-qc", "roadmap")
    for name in ("a.txt", "b.txt", "c.txt"):
        (yard.repo / name).write_text("".join(f"{name} {n}\n" for n in range(10)))
    (yard.repo / ".gitignore").write_text("*.local\n")
    yard.git(yard.repo, "add", "*.txt", ".gitignore")
    yard.git(yard.repo, "commit", "-qm", "Three files")
    yard.configure(OFTEN)
    return yard


@pytest.fixture
def repository(followed) -> Iterator[Repository]:
    made = Repository.discover(followed.repo)
    yield made
    made._asked.clear_cache()


def state(repo: Path) -> tuple[str, str, str, dict[str, bytes]]:
    """All that a person could see of it: HEAD, status, index and files."""

    def run(*words: str) -> str:
        return subprocess.run(["git", "-C", repo, *words], check=True, capture_output=True, text=True).stdout

    skipped = {repo / ".git", repo / "data", repo / ".worktrees"}
    files = {
        str(path): os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in repo.rglob("*")
        if not skipped & {path, *path.parents} and (path.is_symlink() or path.is_file())
    }
    return run("rev-parse", "HEAD"), run("status", "--porcelain", "-z"), run("ls-files", "-s", "-z"), files


def test_work_of_the_users_that_is_not_in_the_way_stays_as_it_is(followed, script: Script) -> None:
    """Untracked, staged and changed files beside what is merged; the run has begun before they were made."""
    repo = followed.repo
    plan = followed.gated_plan()
    running = followed.start(plan)
    running.until("A: waiter")
    (repo / "untracked").write_text("mine\n")
    (repo / "b.txt").write_text("changed by me\n")
    (repo / "staged.txt").write_text("staged by me\n")
    (repo / "c.txt").unlink()
    followed.git(repo, "add", "staged.txt")
    before = followed.git(repo, "status", "--porcelain")
    followed.open_gate()
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert followed.git(repo, "status", "--porcelain") == before
    assert ((repo / "b.txt").read_text(), (repo / "A.txt").read_text()) == ("changed by me\n", "x\n")
    assert followed.git(repo, "rev-parse", "HEAD") == followed.git(repo, "rev-parse", "roadmap")


def put_in_the_way(how: str, repo: Path, git: Callable[..., str]) -> None:
    if how == "an untracked file":
        (repo / "A.txt").write_text("mine\n")
    elif how == "a staged file":
        (repo / "A.txt").write_text("mine\n")
        git(repo, "add", "A.txt")
    elif how == "a folder":
        (repo / "A.txt").mkdir()
        (repo / "A.txt/mine").write_text("mine\n")
    elif how == "a link":
        (repo / "A.txt").symlink_to("README.md")
    elif how == "a merge":
        git(repo, "commit", "-q", "--allow-empty", "-m", "Mine")
        git(repo, "branch", "side", git(repo, "commit-tree", "-p", "HEAD~1", "-m", "Side", "HEAD^{tree}"))
        git(repo, "merge", "-q", "--no-ff", "--no-commit", "side")
    elif how == "a rebase":
        subprocess.run(["git", "-C", repo, "rebase", "-q", "-x", "false", "HEAD~1"], check=False, capture_output=True)


WAYS = ["an untracked file", "a staged file", "a folder", "a link", "a merge", "a rebase"]


@pytest.mark.parametrize("how", WAYS)
def test_what_is_in_the_way_is_never_touched_is_named_and_can_be_gone_on_after(followed, git, how: str) -> None:
    repo = followed.repo
    plan = followed.gated_plan()
    followed.configure(OFTEN + (repo / "crewyard.toml").read_text().split("\n", 2)[2])
    running = followed.start(plan)
    running.until("A: waiter")
    put_in_the_way(how, repo, git)
    before = state(repo)
    followed.open_gate()
    outcome = running.finish()
    assert outcome.code == 1
    assert state(repo) == before
    message = outcome.task("A")["error"]["message"]
    assert (how.removeprefix("a ") if how in ("a merge", "a rebase") else "A.txt") in message
    assert git(repo, "show", "roadmap-implementation_task-A:A.txt") == "x"
    if how in ("a merge", "a rebase"):
        git(repo, how.removeprefix("a "), "--abort")
    elif how == "a folder":
        (repo / "A.txt/mine").unlink()
        (repo / "A.txt").rmdir()
    else:
        git(repo, "rm", "-q", "--cached", "--ignore-unmatch", "A.txt")
        (repo / "A.txt").unlink()
    again = followed.run(plan)
    assert again.code == 0, again.err
    assert ((repo / "A.txt").read_text(), (repo / "B.txt").read_text()) == ("x\n", "x\n")


def test_a_checkout_without_a_branch_and_worktrees_of_the_users_are_left_alone(yard, script: Script) -> None:
    repo, git = yard.repo, yard.git
    git(repo, "branch", "feature")
    git(repo, "worktree", "add", "-q", str(yard.folder / "mine"), "feature")
    (yard.folder / "mine/new.txt").write_text("mine\n")
    git(repo, "checkout", "-q", "--detach")
    (repo / "README.md").write_text("changed\n")
    git(repo, "branch", "roadmap")
    before = [state(repo), state(yard.folder / "mine")]
    outcome = yard.run(yard.plan({"task_id": "A"}, {"task_id": "B"}))
    assert outcome.code == 0, outcome.err
    assert [state(repo), state(yard.folder / "mine")] == before
    assert yard.worktrees() == 2
    git(repo, "worktree", "add", "-q", str(yard.folder / "other"), "roadmap")
    outcome = yard.run(yard.plan({"task_id": "C"}))
    assert outcome.code == 0, outcome.err
    assert (yard.folder / "other/C.md").read_text() == "Done: C\n", "a worktree on the branch follows as well"
    assert git(yard.folder / "other", "status", "--porcelain") == ""


@pytest.mark.parametrize("torn", ["0", "50", "150", "500", "reference"])
@pytest.mark.parametrize("work", ["none", "beside", "in the way"])
def test_a_checkout_that_was_cut_off_on_its_way_is_taken_back_and_the_users_work_is_not(
    followed, repository: Repository, torn: str, work: str
) -> None:
    """Git dies with its first file of more bytes than that, or when it is about to move the branch."""
    repo, git = followed.repo, followed.git
    old = git(repo, "rev-parse", "HEAD")
    with on_the_side(followed) as side:
        (side / "a.txt").write_text("changed\n" * 40)
        (side / "b.txt").unlink()
        (side / "c.txt").chmod(0o755)
        (side / "new").mkdir()
        (side / "new/file.txt").write_text("new\n" * 40)
        (side / "link").symlink_to("a.txt")
        git(side, "add", "--all")
        git(side, "commit", "-qm", "New")
        new = git(side, "rev-parse", "HEAD")
    if work == "beside":
        (repo / "README.md").write_text("changed by me\n")
        (repo / "staged.txt").write_text("staged by me\n")
        git(repo, "add", "staged.txt")
    before = state(repo)
    with contextlib.suppress(ZeroDivisionError), following.noted(repository, repo, old, new):
        tear(repo, new, torn)
        raise ZeroDivisionError  # whoever called git died with it
    if work == "in the way":
        (repo / "a.txt").write_text("mine\n")
        # Once its index is at the new commit, git itself keeps what differs from that.
        refused = pytest.raises(DirtyWorkingDirectory, match=r"a\.txt")
        with refused if torn != "reference" else contextlib.nullcontext():
            merging.move_branch(repository, "roadmap", new, old, "test")
        assert (repo / "a.txt").read_text() == "mine\n"
        return
    assert torn == "0" or state(repo) != before, "git had begun"
    following.take_back(repository, repo)
    assert state(repo) == before
    assert list((repo / ".git").glob("*.lock")) == []
    merging.move_branch(repository, "roadmap", new, old, "test")
    assert git(repo, "rev-parse", "HEAD") == new
    assert (repo / "new/file.txt").read_text() == "new\n" * 40


@contextlib.contextmanager
def on_the_side(yard: Any) -> Iterator[Path]:
    side = yard.folder / "side"
    yard.git(yard.repo, "worktree", "add", "-q", "--detach", str(side), "roadmap")
    yield side
    yard.git(yard.repo, "worktree", "remove", str(side))


def tear(repo: Path, new: str, torn: str) -> None:
    words = ["git", "-C", str(repo), "merge", "-q", "--ff-only", new]
    if torn == "reference":
        hook = repo / ".git/hooks/reference-transaction"
        hook.write_text('#!/bin/sh\ngrep -q refs/heads/roadmap && kill -9 "$PPID"\nexit 0\n')
        hook.chmod(0o755)
    else:
        words = ["prlimit", "--core=0", f"--fsize={torn}", *words]
    assert subprocess.run(words, check=False, capture_output=True).returncode < 0
    (repo / ".git/hooks/reference-transaction").unlink(missing_ok=True)
