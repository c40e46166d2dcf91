"""A merge in a worktree, with real git: nothing counts as resolved that nobody has looked at, and all can be ended."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewyard.server import saving, unmerged, workspaces
from crewyard.server.errors import UncommittedChanges
from crewyard.server.repository import Repository
from crewyard.server.stages import Unmerged

Git = Callable[..., str]
Content = str | bytes | None


@pytest.fixture
def begin(git_repo: Path, git: Git) -> Callable[..., list[Unmerged]]:
    """``begin(name, base, task, target)``: main merged into branch task, each having ``name`` so (None: not)."""

    def commit(name: str, content: Content) -> None:
        path = git_repo / name
        path.unlink(missing_ok=True)
        if isinstance(content, str) and content.startswith("->"):
            path.symlink_to(content[2:])
        elif content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        git(git_repo, "add", "--all")
        git(git_repo, "commit", "--quiet", "--allow-empty", "-m", "Change")

    def run(name: str, base: Content, task: Content, target: Content) -> list[Unmerged]:
        commit(name, base)
        git(git_repo, "switch", "--quiet", "--create", "task")
        commit(name, task)
        git(git_repo, "switch", "--quiet", "main")
        commit(name, target)
        git(git_repo, "switch", "--quiet", "task")
        return again(git_repo)

    return run


def again(repo: Path, *, rerere: bool = True) -> list[Unmerged]:
    return workspaces.begin_merge(Repository(repo), repo, "main", "main", "refs/crewyard/salvage/A/1", rerere=rerere)


def save(repo: Path) -> None:
    saving.save(Repository(repo), repo, "Left")


WITHOUT_MARKERS: dict[str, tuple[Content, Content, Content]] = {
    "changed here, deleted there": ("a\n", "a\nb\n", None),
    "deleted here, changed there": ("a\n", None, "a\nb\n"),
    "binary": (b"\0a", b"\0b", b"\0c"),
    "a link": ("->a", "->b", "->c"),
}


@pytest.mark.parametrize(("base", "task", "target"), WITHOUT_MARKERS.values(), ids=WITHOUT_MARKERS)
@pytest.mark.parametrize("name", ["f", "-a file\n"])
def test_what_holds_no_markers_counts_as_resolved_once_somebody_decided(
    begin, git_repo: Path, git: Git, base: Content, task: Content, target: Content, name: str
) -> None:
    [conflict] = begin(name, base, task, target)
    assert (conflict.path, conflict.marked, conflict.remembered) == (name, False, False)
    with pytest.raises(UncommittedChanges) as caught:
        save(git_repo)
    assert caught.value.details["files"] == [name]
    git(git_repo, "add", "--", name)
    save(git_repo)
    assert git(git_repo, "rev-list", "--count", "--merges", "HEAD") == "1"


@pytest.mark.parametrize(("base", "task", "target"), WITHOUT_MARKERS.values(), ids=WITHOUT_MARKERS)
@pytest.mark.parametrize("content", [None, "both\n"])
def test_an_agent_that_calls_no_git_decides_by_editing_or_deleting(
    begin, git_repo: Path, git: Git, base: Content, task: Content, target: Content, content: str | None
) -> None:
    begin("f", base, task, target)
    (git_repo / "f").unlink()
    if content is not None:
        (git_repo / "f").write_text(content)
    save(git_repo)
    assert git(git_repo, "ls-files", "f") == ("" if content is None else "f")
    assert git(git_repo, "status", "--porcelain") == ""


@pytest.mark.parametrize("base", ["1\n", None])
def test_markers_of_any_length_are_found(begin, git_repo: Path, git: Git, base: Content) -> None:
    (git_repo / ".gitattributes").write_text("f conflict-marker-size=12\n")
    [conflict] = begin("f", base, "2\n", "3\n")
    assert conflict.marked
    (git_repo / "f").write_text((git_repo / "f").read_text() + "an edit\n")
    with pytest.raises(UncommittedChanges):
        save(git_repo)
    (git_repo / "f").write_text("2\n3\n")
    save(git_repo)
    assert git(git_repo, "show", "HEAD:f") == "2\n3"


def test_a_merge_driver_that_failed_leaves_nothing_resolved(begin, git_repo: Path, git: Git) -> None:
    (git_repo / ".gitattributes").write_text("f merge=broken\n")
    git(git_repo, "config", "merge.broken.driver", "exit 1")
    begin("f", "1\n", "2\n", "3\n")
    assert (git_repo / "f").read_text() == "2\n", "one side, without a marker"
    with pytest.raises(UncommittedChanges):
        save(git_repo)


def test_a_file_renamed_on_both_sides_is_not_resolved_by_leaving_it(git_repo: Path, git: Git) -> None:
    (git_repo / "old").write_text("".join(f"{n}\n" for n in range(9)))
    git(git_repo, "add", "old")
    git(git_repo, "commit", "-qm", "Old")
    git(git_repo, "branch", "task")
    git(git_repo, "mv", "old", "theirs")
    git(git_repo, "commit", "-qm", "Theirs")
    git(git_repo, "switch", "-q", "task")
    git(git_repo, "mv", "old", "ours")
    git(git_repo, "commit", "-qm", "Ours")
    assert {each.path for each in again(git_repo)} == {"old", "ours", "theirs"}
    with pytest.raises(UncommittedChanges):
        save(git_repo)
    (git_repo / "theirs").unlink()
    git(git_repo, "add", "ours")
    save(git_repo)
    assert git(git_repo, "ls-files") == "README.md\nours"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("label", ["0123456789" * 4, "main", "origin/main"])
def test_markers_that_an_agent_committed_are_found_in_any_file_that_it_changed(
    git_repo: Path, git: Git, label: str, end: str
) -> None:
    base = git(git_repo, "rev-parse", "HEAD")
    lines = ("<<<<<<< HEAD", "a", "=======", "b", f">>>>>>> {label}", "")
    (git_repo / "f é.txt").write_bytes(end.join(lines).encode())
    (git_repo / "about-git.md").write_text("<<<<<<< yours:sample.txt\na\n=======\nb\n>>>>>>> theirs:sample.txt\n")
    git(git_repo, "add", ".")
    git(git_repo, "commit", "-qm", "Resolved")
    repository = Repository(git_repo)
    changes = repository.changes(base, "HEAD")
    assert unmerged.markers_committed(repository, "main", base, "HEAD", changes) == ["f é.txt"]


def test_markers_are_found_however_much_was_changed_beside_them(
    git_repo: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = git(git_repo, "rev-parse", "HEAD")
    (git_repo / "f").write_text("<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main\n")
    (git_repo / "g").write_text("no markers\n")
    git(git_repo, "add", ".")
    git(git_repo, "commit", "-qm", "Resolved")
    repository = Repository(git_repo)
    changes = repository.changes(base, "HEAD")
    for limit in ("FEW", "SMALL"):
        with monkeypatch.context() as patch:
            patch.setattr(unmerged, limit, 1)
            assert unmerged.markers_committed(repository, "main", base, "HEAD", changes) == ["f"]


def test_a_few_small_files_without_markers_take_no_git_to_tell(
    git_repo: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = git(git_repo, "rev-parse", "HEAD")
    (git_repo / "f").write_text("no markers\n")
    git(git_repo, "add", ".")
    git(git_repo, "commit", "-qm", "Plain")
    repository = Repository(git_repo)
    changes = repository.changes(base, "HEAD")

    def unwanted(*_: object, **__: object) -> str:
        raise AssertionError("a git of its own")

    monkeypatch.setattr(repository, "git", unwanted)
    assert unmerged.markers_committed(repository, "main", base, "HEAD", changes) == []


@pytest.mark.parametrize("users", ["false", "true"])
def test_a_resolution_is_remembered_and_put_in_when_the_conflict_comes_again(
    begin, git_repo: Path, git: Git, users: str
) -> None:
    git(git_repo, "config", "rerere.enabled", users)
    [first] = begin("f", "1\n", "2\n", "3\n")
    assert (first.marked, first.remembered) == (True, False)
    (git_repo / "f").write_text("2 and 3\n")
    assert [each.remembered for each in again(git_repo)] == [False], "resolved by hand, not from memory"
    save(git_repo)
    git(git_repo, "reset", "--quiet", "--hard", "HEAD^")
    [second] = again(git_repo)
    assert (second.marked, second.remembered) == (False, True)
    assert (git_repo / "f").read_text() == "2 and 3\n"
    assert git(git_repo, "ls-files", "--unmerged", "f") != "", "left for somebody to look at"
    save(git_repo)
    assert git(git_repo, "show", "HEAD:f") == "2 and 3"


def test_without_rerere_nothing_is_remembered_whatever_the_user_has(begin, git_repo: Path, git: Git) -> None:
    git(git_repo, "config", "rerere.enabled", "true")
    git(git_repo, "config", "rerere.autoUpdate", "true")
    begin("f", "1\n", "2\n", "3\n")
    git(git_repo, "merge", "--abort")
    again(git_repo, rerere=False)
    (git_repo / "f").write_text("2 and 3\n")
    save(git_repo)
    git(git_repo, "reset", "--quiet", "--hard", "HEAD^")
    assert [each.remembered for each in again(git_repo)] == [False]
