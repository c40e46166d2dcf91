"""What cleanup says of each worktree is true, and what it removes by force can be had back (R-190 to R-199)."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from crewyard.server import assignments, clock, janitor, leftovers, preparing, tasks, workspaces, worktrees
from crewyard.server.crew import Crew
from crewyard.server.errors import GitError, UncommittedChanges
from crewyard.server.repository import Repository
from crewyard.server.worktrees import Candidate, Worktree

from .conftest import CREWYARD

NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def settled(crew: Crew) -> Callable[..., Worktree]:
    """``settled(task)``: a task that is over, with a real worktree."""

    def make(task_id: str, status: str = "failed") -> Worktree:
        worktree: Worktree = crew.store.run(_record, crew, task_id, status)
        base = crew.repository.require_tip("roadmap")
        preparing.prepare(crew.repository, Path(worktree.path), worktree.branch, base, "refs/crewyard/salvage/x/1")
        return crew.store.run(worktrees.change, worktree.worktree_id, "active", now=NOW, actor="test")

    return make


def _record(tx: Any, crew: Crew, task_id: str, status: str) -> Worktree:
    tx.run(
        "INSERT INTO specs_task (task_id, title, status, error_code, created_at, updated_at) "
        "VALUES (?, ?, ?, 'x', ?, ?)",
        (task_id, task_id, status, NOW, NOW),
    )
    base = crew.repository.require_tip("roadmap")
    return worktrees.plan(
        tx, task_id, path=str(crew.paths.worktree(task_id)), branch=crew.paths.branch(task_id),
        base_branch="roadmap", base_commit=base, now=NOW, actor="test",
    )  # fmt: skip


def seen(crew: Crew) -> dict[str, Candidate]:
    return {each.task_id: each for each in leftovers.look(crew.repository, crew.settings, crew.store)}


def commit(git: Any, path: Path, file: str, text: str = "x\n") -> None:
    (path / file).write_text(text)
    git(path, "add", "--", file)
    git(path, "commit", "--quiet", f"--message=Write {file}")


def test_each_worktree_has_its_reason(crew: Crew, settled: Any, git: Any) -> None:
    paths = {name: Path(settled(name).path) for name in ("clean", "ahead", "dirty", "new", "both", "gone", "locked")}
    commit(git, paths["ahead"], "a.txt")
    commit(git, paths["ahead"], "b.txt")
    (paths["dirty"] / "README.md").write_text("changed\n")
    for name in ("n1", "n2", "n3", "n4", "n5"):
        (paths["new"] / name).touch()
    commit(git, paths["both"], "a.txt")
    (paths["both"] / "n").touch()
    subprocess.run(["rm", "-r", paths["gone"]], check=True)
    git(crew.root, "worktree", "lock", "--reason", "on a stick", paths["locked"])
    waits = settled("waits", "ready")
    crew.store.run(
        lambda tx: assignments.create(
            tx, tasks.get(tx, waits.task_id), agent_type="x", dispatch_id=None, now=NOW, actor="test"
        )
    )
    found = seen(crew)
    branch = crew.paths.branch("ahead")
    force = "; worktrees(action='cleanup', task_id='{}', force=True) keeps it under a salvage ref"
    assert {name: each.reason for name, each in found.items()} == {
        "clean": "all its commits are on roadmap",
        "ahead": f"holds 2 commits of {branch} not on roadmap{force.format('ahead')}",
        "dirty": f"holds uncommitted changes to README.md{force.format('dirty')}",
        "new": f"holds new files n1, n2, n3 and 2 more{force.format('new')}",
        "both": f"holds 1 commit of {crew.paths.branch('both')} not on roadmap and new files n{force.format('both')}",
        "gone": "its folder is gone already; all its commits are on roadmap",
        "locked": "somebody locked it (on a stick); `git worktree unlock` lets it go",
        "waits": "its task is assigned, and goes on in it",
    }
    assert {name for name, each in found.items() if each.ready} == {"clean", "gone"}
    assert {name for name, each in found.items() if each.forcible} == {"ahead", "dirty", "new", "both"}


def test_a_worktree_whose_work_waits_for_its_merge_stays(crew: Crew, proven_task: Any) -> None:
    proven_task("A")
    crew.store.run(
        lambda tx: worktrees.plan(
            tx, "A", path="/w/A", branch=crew.paths.branch("A"), base_branch="roadmap", base_commit="c0ffee",
            now=NOW, actor="test",
        )
    )  # fmt: skip
    assert seen(crew)["A"].reason == "it is being made"
    crew.store.run(lambda tx: worktrees.change(tx, 1, "active", now=NOW, actor="test"))
    assert seen(crew)["A"].reason == "its work waits at place 1 for its merge"


def test_what_a_person_locked_is_never_removed_not_even_by_force(crew: Crew, settled: Any, git: Any) -> None:
    worktree = settled("A")
    path = Path(worktree.path)
    (path / "precious.txt").write_text("x\n")
    git(crew.root, "worktree", "lock", path)
    with pytest.raises(GitError):
        janitor.clean(crew, worktree, force=True)
    assert (path / "precious.txt").exists()
    assert crew.repository.tip(worktree.branch) is not None


def test_what_a_person_moved_is_looked_at_where_it_lies(crew: Crew, settled: Any, git: Any) -> None:
    worktree = settled("A")
    path = Path(worktree.path)
    (path / "precious.txt").write_text("x\n")
    git(crew.root, "worktree", "move", path, path.with_name("mine"))
    assert "new files precious.txt" in seen(crew)["A"].reason
    janitor.tidy(crew, worktree)
    assert (path.with_name("mine") / "precious.txt").exists()
    assert "not committed" in crew.store.read(worktrees.get, worktree.worktree_id)["kept_because"]


def test_a_branch_that_a_person_has_checked_out_is_not_removed_under_them(crew: Crew, settled: Any, git: Any) -> None:
    worktree = settled("A", "cancelled")
    git(Path(worktree.path), "switch", "--quiet", "--detach")
    git(crew.root, "switch", "--quiet", worktree.branch)
    assert f"is checked out in {crew.root}" in seen(crew)["A"].reason
    janitor.tidy(crew, worktree)
    assert git(crew.root, "status", "--porcelain", "--untracked-files=no", "--branch") == f"## {worktree.branch}"
    assert crew.repository.tip(worktree.branch) is not None
    assert "is checked out in" in crew.store.read(worktrees.get, worktree.worktree_id)["kept_because"]


def test_r192_all_that_force_removes_is_under_the_salvage_ref_but_what_git_ignores(
    crew: Crew, settled: Any, git: Any
) -> None:
    worktree = settled("A")
    path = Path(worktree.path)
    commit(git, path, "committed.txt")
    (path / "staged.txt").write_text("as staged\n")
    git(path, "add", "staged.txt")
    (path / "staged.txt").write_text("as it is\n")
    (path / "README.md").write_text("changed\n")
    (path / "new folder").mkdir()
    (path / "new folder" / "näw\n.txt").write_text("new\n")
    git(path, "update-index", "--assume-unchanged", "committed.txt")
    (path / "committed.txt").write_text("hidden from git\n")
    (path / ".gitignore").write_text("secret\n")
    (path / "secret").write_text("not kept\n")
    done = janitor.clean(crew, worktree, force=True)
    ref = done.salvage_ref
    shown = git(crew.root, "ls-tree", "-rz", "--name-only", ref).split("\0")
    assert {"committed.txt", "staged.txt", "new folder/näw\n.txt", ".gitignore"} <= set(shown)
    assert "secret" not in shown
    assert git(crew.root, "show", f"{ref}:README.md") == "changed"
    assert git(crew.root, "show", f"{ref}:committed.txt") == "hidden from git"
    assert git(crew.root, "show", f"{ref}:staged.txt") == "as it is"
    assert git(crew.root, "show", f"{ref}^:staged.txt") == "as staged"
    assert not path.exists()


def test_disk_space_counts_each_file_once_and_what_lives_on_elsewhere_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "a").write_bytes(b"x" * 2**20)
    alone = workspaces.size_in_mb(folder)
    assert 1.0 <= alone < 1.1
    os.link(folder / "a", folder / "b")
    assert workspaces.size_in_mb(folder) == pytest.approx(alone, abs=0.01)
    os.link(folder / "a", tmp_path / "elsewhere")
    assert workspaces.size_in_mb(folder) < 0.1


# ------------------------------------------------------------------------------------------------- a real server


@pytest.fixture
async def call(yard) -> AsyncIterator[Any]:
    yard.configure("")
    arguments = ["-c", "import sys; from pathlib import Path; from crewyard.server.compose import serve_stdio; "
                 "sys.exit(serve_stdio(Path('.')))"]  # fmt: skip
    parameters = StdioServerParameters(command=sys.executable, args=arguments, cwd=yard.repo, env=dict(os.environ))
    async with Client(stdio_client(parameters)) as client:

        async def ask(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            assert result.structured_content is not None
            return result.structured_content

        yield ask


@pytest.mark.anyio
async def test_one_that_is_refused_does_not_keep_the_others_from_being_cleaned_up(yard, git: Any, call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": name} for name in ("A", "B", "C", "D")])
    paths = {}
    for name in ("A", "B", "C", "D"):
        paths[name] = Path((await call("worktrees", action="create", task_id=name))["worktree_path"])
    commit(git, paths["A"], "a.txt")
    git(yard.repo, "worktree", "lock", paths["B"])
    (paths["C"] / "new.txt").touch()
    looked = await call("worktrees", action="cleanup", all=True, dry_run=True)
    assert [each["ready"] for each in looked["candidates"]] == [False, False, False, True]
    done = await call("worktrees", action="cleanup", all=True, force=True)
    assert (done["cleaned_up"], len(done["salvage_refs"])) == (3, 2)
    reasons = {each["task_id"]: each["reason"] for each in done["candidates"]}
    assert "locked" in reasons["B"]
    assert {name: path.exists() for name, path in paths.items()} == {"A": False, "B": True, "C": False, "D": False}
    refused = await call("worktrees", action="cleanup", task_id="B", force=True)
    assert (refused["code"], "locked" in refused["message"]) == ("still_in_use", True)


@pytest.mark.anyio
async def test_a_worktree_of_another_life_is_shown_and_removed_by_force_only(yard, git: Any, call: Any) -> None:
    path, branch = yard.repo / ".worktrees/implementation_task-OLD", "roadmap-implementation_task-OLD"
    git(yard.repo, "branch", "roadmap")
    git(yard.repo, "worktree", "add", "--quiet", "-b", branch, path)
    commit(git, path, "old.txt", "precious\n")
    (path / "new.txt").write_text("new\n")
    looked = await call("worktrees", action="cleanup", all=True, dry_run=True)
    [orphan] = looked["candidates"]
    assert (orphan["task_id"], orphan["ready"]) == ("OLD", False)
    assert "another life; holds 1 commit" in orphan["reason"]
    everything = await call("worktrees", action="cleanup", all=True, force=True)
    assert (everything["cleaned_up"], path.exists()) == (0, True)
    refused = await call("worktrees", action="cleanup", task_id="OLD")
    assert (refused["code"], path.exists()) == ("not_merged", True)
    done = await call("worktrees", action="cleanup", task_id="OLD", force=True)
    [ref] = done["salvage_refs"]
    assert git(yard.repo, "show", f"{ref}:old.txt") == "precious"
    assert git(yard.repo, "show", f"{ref}:new.txt") == "new"
    assert not path.exists()
    assert branch not in git(yard.repo, "branch")


# ------------------------------------------------------------------------------------------- the commands for a person


def crewyard(repo: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*CREWYARD, "worktrees", *arguments, "--repo", str(repo)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_was_salvaged_is_listed_and_restored_without_a_database(git_repo: Path, git: Any) -> None:
    empty = crewyard(git_repo, "salvage")
    assert (empty.returncode, empty.stdout) == (0, "Nothing was salvaged: no work has been removed by force.\n")
    git(git_repo, "branch", "roadmap")
    git(git_repo, "switch", "--quiet", "--create", "work")
    commit(git, git_repo, "a.txt")
    commit(git, git_repo, "b.txt")
    ref = "refs/crewyard/salvage/A/2026-01-02T030405678Z"
    git(git_repo, "update-ref", ref, "work")
    git(git_repo, "switch", "--quiet", "main")
    git(git_repo, "branch", "-D", "work")
    before = git(git_repo, "status", "--porcelain", "--branch")
    [found] = json.loads(crewyard(git_repo, "salvage", "--json").stdout)["salvaged"]
    assert (found["task_id"], found["kept_at"], found["commits"], found["files"]) == (
        "A",
        "2026-01-02T03:04:05.678Z",
        2,
        2,
    )
    assert found["subject"] == "Write b.txt"
    assert "2 commits, 2 files not on roadmap" in crewyard(git_repo, "salvage").stdout
    done = crewyard(git_repo, "salvage", "--restore", "A/2026-01-02T030405678Z", "--branch", "again")
    assert done.returncode == 0, done.stderr
    assert "git switch again" in done.stdout
    assert git(git_repo, "rev-parse", "again") == git(git_repo, "rev-parse", ref)
    assert git(git_repo, "status", "--porcelain", "--branch") == before
    assert not (git_repo / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--restore", "B/1"), "not_found"),
        (("--restore", "A/1", "--branch", "main"), "branch_exists"),
        (("--restore", "A/1", "--branch", "-x"), "invalid_input"),
        (("--restore", "A/1", "--branch", "main/x"), "git_error"),
        (("--branch", "x"), "invalid_input"),
    ],
)
def test_a_restoration_that_cannot_be_is_refused(git_repo: Path, git: Any, arguments: Any, code: str) -> None:
    git(git_repo, "update-ref", "refs/crewyard/salvage/A/1", "main")
    before = git(git_repo, "for-each-ref")
    refused = crewyard(git_repo, "salvage", *arguments, "--json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (2, code)
    assert git(git_repo, "for-each-ref") == before


def test_live_worktrees_are_listed_with_their_reasons(crew: Crew, settled: Any, git: Any, git_repo: Path) -> None:
    path = Path(settled("A").path)
    commit(git, path, "a.txt")
    crew.store.run(lambda tx: worktrees.keep(tx, 1, "it was not merged", now=clock.now(), actor="test"))
    text = crewyard(git_repo).stdout
    assert str(path) in text
    assert "stays: holds 1 commit of" in text
    assert "(cleanup left it: it was not merged)" in text
    [found] = json.loads(crewyard(git_repo, "--json").stdout)["worktrees"]
    assert (found["task_id"], found["ready"], found["forcible"]) == ("A", False, True)


def test_without_a_yard_there_are_no_worktrees(git_repo: Path) -> None:
    done = crewyard(git_repo)
    assert (done.returncode, done.stdout) == (0, "There are no worktrees of tasks.\n")
    assert not (git_repo / "data").exists()


def test_a_repository_inside_an_orphan_is_not_removed(crew: Crew, git: Any) -> None:
    path, branch = crew.paths.worktree("OLD"), crew.paths.branch("OLD")
    git(crew.root, "worktree", "add", "--quiet", "-b", branch, path)
    git(path, "init", "--quiet", "inner")
    git(
        path / "inner", "-c", "user.name=T", "-c", "user.email=t@e.org", "commit", "--quiet", "--allow-empty", "-m", "x"
    )
    with pytest.raises(UncommittedChanges):
        janitor.remove_orphan(crew, seen(crew)["OLD"])
    assert (path / "inner/.git").exists()


def test_a_listing_that_is_refused_is_told_as_json_too(git_repo: Path) -> None:
    (git_repo / "crewyard.toml").write_text("broken = [")
    refused = crewyard(git_repo, "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["status"] == "refused"


def test_a_repository_that_is_named_before_the_command_is_not_passed_over(git_repo: Path) -> None:
    command = [*CREWYARD, "worktrees", "--repo", str(git_repo), "salvage"]
    refused = subprocess.run(command, cwd=git_repo, capture_output=True, text=True, check=False, timeout=60)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "behind salvage" in refused.stderr


def test_an_agent_does_not_approve_as_the_lead_from_its_shell(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWYARD_AGENT_TOKEN", "of-an-agent")
    refused = crewyard(git_repo, "approve", "A", "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["code"] == "not_authorized"


def test_what_was_salvaged_is_never_overwritten(git_repo: Path, git: Any) -> None:
    repository, ref = Repository(git_repo), "refs/crewyard/salvage/A/2026-01-02T030405678Z"
    first = git(git_repo, "rev-parse", "HEAD")
    repository.keep(ref, first)
    repository.keep(ref, first)
    with pytest.raises(GitError):
        repository.keep(ref, git(git_repo, "commit-tree", "-m", "other", "HEAD^{tree}"))
    assert git(git_repo, "rev-parse", ref) == first
    repository.close()
