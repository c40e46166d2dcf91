"""What a worktree is on, and where branches stand: told without a process of its own as git itself tells it."""

from pathlib import Path

import pytest

from crewyard.server.repository import Repository
from tests.conftest import Git


@pytest.fixture
def worktree(git_repo: Path, git: Git, tmp_path: Path) -> Path:
    git(git_repo, "worktree", "add", "--quiet", "-b", "work/one", str(tmp_path / "one two"))
    return tmp_path / "one two"


def test_a_worktrees_branch_and_commit_are_told_as_they_are_now(git_repo: Path, worktree: Path, git: Git) -> None:
    repository = Repository.discover(git_repo)
    for number in range(3):
        git(worktree, "commit", "--quiet", "--allow-empty", f"--message={number}")
        assert repository.branch_at(worktree) == "work/one"
        assert repository.head(worktree) == repository.commit_at(worktree) == git(worktree, "rev-parse", "HEAD")
        git(git_repo, "pack-refs", "--all")
    git(worktree, "checkout", "--quiet", "-b", "work/other", "HEAD~2")
    assert repository.branch_at(worktree) == "work/other"
    assert repository.head(worktree) == git(worktree, "rev-parse", "HEAD")


def test_a_detached_worktree_is_on_no_branch(git_repo: Path, worktree: Path, git: Git) -> None:
    repository = Repository.discover(git_repo)
    git(worktree, "commit", "--quiet", "--allow-empty", "--message=Beyond")
    git(worktree, "checkout", "--quiet", "--detach")
    assert repository.branch_at(worktree) is None
    assert repository.head(worktree) == git(worktree, "rev-parse", "HEAD")


def test_a_worktree_whose_branch_is_gone_is_still_on_it_and_has_no_commit(
    git_repo: Path, worktree: Path, git: Git
) -> None:
    repository = Repository.discover(git_repo)
    git(git_repo, "update-ref", "-d", "refs/heads/work/one")
    assert repository.branch_at(worktree) == "work/one"
    assert repository.commit_at(worktree) is None


def test_the_users_own_checkout_is_asked_of_git(git_repo: Path, worktree: Path, git: Git) -> None:
    repository = Repository.discover(git_repo)
    git(worktree, "commit", "--quiet", "--allow-empty", "--message=Elsewhere")
    assert repository.branch_at(git_repo) == "main"
    assert repository.head(git_repo) == git(git_repo, "rev-parse", "main")


def test_a_branch_is_elsewhere_only_where_another_checkout_is_on_it(git_repo: Path, worktree: Path, git: Git) -> None:
    repository = Repository.discover(git_repo)
    assert not repository.may_be_checked_out_elsewhere("work/one", worktree)
    git(worktree, "checkout", "--quiet", "--detach")
    git(git_repo, "checkout", "--quiet", "work/one")
    assert repository.may_be_checked_out_elsewhere("work/one", worktree)


@pytest.mark.parametrize("count", [1, 40])
def test_the_tips_of_few_and_of_many_branches_are_told(git_repo: Path, git: Git, count: int) -> None:
    repository = Repository.discover(git_repo)
    names = [f"b/{number}" for number in range(count)]
    for name in names:
        git(git_repo, "branch", name)
    tip = git(git_repo, "rev-parse", "main")
    assert repository.tips([*names, "missing"]) == dict.fromkeys(names, tip)
