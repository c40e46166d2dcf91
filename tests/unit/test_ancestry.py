"""What commits bring: whose answer the last merges give, and what takes a git of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewyard.server import history
from crewyard.server.repository import Repository

Git = Callable[..., str]


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[Repository], None]:
    def forbid(repository: Repository) -> None:
        def unwanted(*_: object, **__: object) -> None:
            raise AssertionError("a git of its own")

        for name in ("git", "try_git"):
            monkeypatch.setattr(repository, name, unwanted)

    return forbid


def merged(git: Git, repo: Path, name: str) -> str:
    """A branch of one commit, merged; returns its head."""
    git(repo, "checkout", "-q", "-b", name)
    (repo / name).write_text(f"{name}\n")
    git(repo, "add", name)
    git(repo, "commit", "-qm", name)
    head = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-ff", "-m", f"Merge {name}", name)
    return head


def test_what_was_merged_lately_is_an_ancestor_without_a_process(git_repo: Path, git: Git, no_process) -> None:
    repository = Repository(git_repo)
    heads = [merged(git, git_repo, name) for name in ("a", "b", "c")]
    no_process(repository)
    assert all(repository.is_ancestor(head, "main") for head in heads)
    repository.close()


def test_what_was_merged_long_ago_is_asked_of_git(git_repo: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LAST_MERGES", 1)
    repository = Repository(git_repo)
    first, last = merged(git, git_repo, "a"), merged(git, git_repo, "b")
    assert repository.is_ancestor(first, "main")
    assert repository.is_ancestor(last, "main")
    assert not repository.is_ancestor("main", first)
    assert not repository.is_ancestor(last, "no-such-branch")
    repository.close()


def test_one_commit_on_the_base_is_the_branchs_own_without_a_process(git_repo: Path, git: Git, no_process) -> None:
    repository = Repository(git_repo)
    base = git(git_repo, "rev-parse", "HEAD")
    git(git_repo, "checkout", "-q", "-b", "work")
    (git_repo / "f").write_text("f\n")
    git(git_repo, "add", "f")
    git(git_repo, "commit", "-qm", "Work")
    head = git(git_repo, "rev-parse", "HEAD")
    changes = repository.changes(f"{base}...{head}")
    no_process(repository)
    assert repository.has_own_commits(base, head, base, changes)
    repository.close()


def test_a_branch_that_only_merged_the_target_has_no_commits_of_its_own(git_repo: Path, git: Git) -> None:
    repository = Repository(git_repo)
    base = git(git_repo, "rev-parse", "HEAD")
    git(git_repo, "branch", "work")
    merged(git, git_repo, "other")
    git(git_repo, "checkout", "-q", "work")
    git(git_repo, "merge", "-q", "--no-ff", "-m", "Bring the target in", "main")
    for head in ("work", "main"):
        commit = git(git_repo, "rev-parse", head)
        changes = repository.changes(f"main...{commit}")
        assert not repository.has_own_commits(base, commit, "main", changes)
    repository.close()
