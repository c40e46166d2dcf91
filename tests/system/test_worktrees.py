"""How worktrees are made fit for work, what stops that, and what a person may do to them by hand."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import (
    assignments,
    clock,
    janitor,
    launcher,
    outfit,
    plans,
    preflight,
    preparing,
    provision,
    readers,
    settings,
    tasks,
    worktrees,
)
from crewyard.server.crew import Crew
from crewyard.server.errors import BranchExists, GitError, SetupFailed, UncommittedChanges, WorktreeExists, WrongBranch
from crewyard.server.repository import Repository


def add_tasks(crew: Crew, *names: str) -> None:
    draft = readers.read_plan(
        json.dumps({"tasks": [{"task_id": name, "title": name} for name in names]}).encode(), name="plan.json"
    )
    crew.store.run(plans.import_plan, draft, now=clock.now(), actor="test", agent_types={"scripted"})


def assign(crew: Crew, task_id: str) -> str:
    row = crew.store.run(
        lambda tx: assignments.create(
            tx, tasks.get(tx, task_id), agent_type="scripted", dispatch_id=None, now=clock.now(), actor="test"
        )
    )
    return str(row["orchestrator_task_id"])


def configure(crew: Crew, yard: Any, text: str) -> None:
    yard.configure(f"[worktree]\n{text}\n")
    crew.settings = settings.load(yard.repo)


def commit_to_roadmap(yard: Any, **files: str) -> None:
    """Files on main and on the integration branch."""
    for name, text in files.items():
        path = yard.repo / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        yard.git(yard.repo, "add", str(path))
    yard.git(yard.repo, "commit", "-qm", "Files")
    yard.git(yard.repo, "branch", "-f", "roadmap")


# ------------------------------------------------------------------------------------------------------- setup


def test_setup_runs_in_each_new_worktree_before_its_agent(yard: Any) -> None:
    program = yard.folder / "setup.sh"
    program.write_text(f'echo "$CREWYARD_TASK_ID $CREWYARD_WORKTREE $CREWYARD_ROOT $PWD" >> {yard.folder}/log\n'
                       "ln -s $CREWYARD_ROOT/.env .env\n")  # fmt: skip
    (yard.repo / ".git/info/exclude").write_text(".env\n")
    (yard.repo / ".env").write_text("SECRET=1")
    yard.configure(
        f'[agents.looker]\ncommand = ["sh", "-c", "cat .env > seen.txt"]\n[worktree]\nsetup = ["sh", "{program}"]\n'
    )
    done = yard.run(yard.plan({"task_id": "A", "agent_type": "looker"}, {"task_id": "B", "depends_on": ["A"]}))
    assert done.code == 0, done.err
    assert yard.at_roadmap("seen.txt") == "SECRET=1"
    place = str(yard.repo / ".worktrees/implementation_task-")
    lines = (yard.folder / "log").read_text().splitlines()
    assert lines == [f"{name} {place}{name} {yard.repo} {place}{name}" for name in "AB"]


def test_a_setup_that_fails_is_an_attempt_that_failed_and_leaves_no_worktree(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    configure(crew, yard, 'setup = ["sh", "-c", "echo no network; exit 3"]')
    assignment_id = assign(crew, "A")
    launcher.launch(crew, assignment_id)
    row = crew.store.read(assignments.get, assignment_id)
    assert (row["status"], row["error_code"], row["retry_count"]) == ("assigned", "setup_failed", 1)
    log = crew.paths.setup_log("task-A")
    assert "no network" in row["error_message"]
    assert str(log) in row["error_message"]
    assert log.read_text() == "no network\n"
    assert crew.store.read(worktrees.live, "A") is None
    assert (yard.worktrees(), yard.refs()) == (1, ["refs/heads/main", "refs/heads/roadmap"])
    configure(crew, yard, "")
    assert provision.provide_worktree(crew, "A").status == "active", "the next attempt begins anew"


def test_a_setup_that_takes_too_long_is_ended(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    configure(crew, yard, 'setup = ["sleep", "600"]\nsetup_timeout_seconds = 0.5')
    with pytest.raises(SetupFailed, match="ran out of time"):
        provision.provide_worktree(crew, "A")


def test_what_setup_leaves_and_git_would_commit_is_refused_by_name(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    configure(crew, yard, 'setup = ["touch", "left.txt"]')
    with pytest.raises(UncommittedChanges, match=r"left\.txt") as caught:
        provision.provide_worktree(crew, "A")
    assert ".gitignore" in caught.value.hint
    assert yard.worktrees() == 1


def test_a_setup_that_was_cut_off_is_run_again_and_one_that_passed_is_not(
    crew: Crew, yard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_tasks(crew, "A")
    yard.git(yard.repo, "config", "core.excludesFile", str(yard.folder / "ignore"))
    (yard.folder / "ignore").write_text("*.done\n")
    configure(crew, yard, f'setup = ["sh", "-c", "echo x >> {yard.folder}/times; touch a.done"]')
    with monkeypatch.context() as patch:
        patch.setattr(outfit, "_refuse_leavings", lambda _names: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            provision.provide_worktree(crew, "A")
    assert crew.store.read(worktrees.require_live, "A").status == "creating"
    for _ in range(2):
        assert provision.provide_worktree(crew, "A").status == "active"
    assert (yard.folder / "times").read_text() == "x\nx\n"


def test_a_merges_check_sees_what_setup_makes(yard: Any) -> None:
    (yard.repo / ".git/info/exclude").write_text("made.txt\n")
    yard.configure('[worktree]\nsetup = ["touch", "made.txt"]\n[merge]\ncheck = ["test", "-e", "made.txt"]\n')
    done = yard.run(yard.plan({"task_id": "A"}))
    assert done.code == 0, done.err


# ------------------------------------------------------------------------------------ parts of a tree, submodules


def test_a_sparse_worktree_holds_the_folders_that_are_named_and_work_beside_them_is_kept(yard: Any) -> None:
    commit_to_roadmap(yard, src__a="1", docs__b="1", other__c="1")
    agent = "test ! -e other && test -e docs/b && echo 2 > src/a && mkdir other && echo new > other/new"
    yard.configure(f'[agents.part]\ncommand = ["sh", "-c", "{agent}"]\n[worktree]\nsparse = ["src", "docs"]\n')
    done = yard.run(yard.plan({"task_id": "A", "agent_type": "part"}))
    assert done.code == 0, done.err
    assert [yard.at_roadmap(name) for name in ("src/a", "other/c", "other/new")] == ["2", "1", "new"]
    assert (yard.repo / "other/c").exists()
    assert yard.git(yard.repo, "status", "--porcelain") == "?? crewyard.toml"
    assert yard.worktrees() == 1


def test_uncommitted_work_in_a_sparse_worktree_is_salvaged_whole(crew: Crew, yard: Any) -> None:
    commit_to_roadmap(yard, src__a="1", other__c="1")
    add_tasks(crew, "A")
    configure(crew, yard, 'sparse = ["src"]')
    worktree = provision.provide_worktree(crew, "A")
    (Path(worktree.path) / "src/new").write_text("new")
    done = janitor.clean(crew, worktree, force=True)
    assert yard.git(yard.repo, "ls-tree", "-r", "--name-only", done.salvage_ref).split() == [
        "README.md", "other/c", "src/a", "src/new",
    ]  # fmt: skip


@pytest.fixture
def with_submodules(crew: Crew, yard: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``lib`` is initialised in the main checkout, ``unused`` is not; where they came from is gone."""
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")
    origins = yard.folder / "origins"
    for name in ("lib", "unused"):
        (origins / name).mkdir(parents=True)
        yard.git(origins / name, "init", "-q", "-b", "main")
        yard.git(origins / name, "config", "user.name", "Test")
        yard.git(origins / name, "config", "user.email", "test@example.org")
        (origins / name / "code").write_text(name)
        yard.git(origins / name, "add", ".")
        yard.git(origins / name, "commit", "-qm", "First")
        yard.git(yard.repo, "submodule", "--quiet", "add", str(origins / name), name)
    yard.git(yard.repo, "commit", "-qm", "Submodules")
    yard.git(yard.repo, "submodule", "--quiet", "deinit", "-f", "unused")
    yard.git(yard.repo, "branch", "-f", "roadmap")
    shutil.move(origins, yard.folder / "gone")
    add_tasks(crew, "A", "B")
    return origins


def test_worktrees_get_the_submodules_that_the_main_checkout_has(crew: Crew, yard: Any, with_submodules: Path) -> None:
    worktree = provision.provide_worktree(crew, "A")
    path = Path(worktree.path)
    assert (path / "lib/code").read_text() == "lib"
    assert list((path / "unused").iterdir()) == []
    assert yard.git(path / "lib", "remote", "get-url", "origin") == str(with_submodules / "lib")
    assert yard.git(path, "status", "--porcelain") == ""
    assert yard.git(yard.repo, "config", "submodule.lib.url") == str(with_submodules / "lib")
    janitor.clean(crew, worktree, force=False)
    assert yard.worktrees() == 1
    assert (yard.repo / "lib/code").exists()


def test_a_submodules_commit_that_is_not_there_is_told_with_the_cure(
    crew: Crew, yard: Any, with_submodules: Path
) -> None:
    yard.git(yard.repo, "update-index", "--cacheinfo", f"160000,{'1' * 40},lib")
    yard.git(yard.repo, "commit", "-qm", "Forward")
    yard.git(yard.repo, "branch", "-f", "roadmap")
    with pytest.raises(GitError, match="Submodule lib") as caught:
        provision.provide_worktree(crew, "A")
    assert "submodule update --init -- lib" in caught.value.hint
    assert yard.worktrees() == 1


# --------------------------------------------------------------------------------------------------------- LFS


def test_files_under_lfs_are_told_of_where_it_is_not_set_up(crew: Crew, yard: Any) -> None:
    commit_to_roadmap(yard, **{"art__.gitattributes": "*.psd filter=lfs diff=lfs\n"})
    [note] = preflight.require_fit(crew.repository, crew.settings)
    assert "art/.gitattributes" in note
    assert "git lfs install" in note
    done = yard.run(yard.plan({"task_id": "A"}))
    assert done.code == 0
    assert done.result["warnings"] == [note]


def test_lfs_that_git_requires_and_does_not_find_is_refused_before_anything_is_changed(crew: Crew, yard: Any) -> None:
    commit_to_roadmap(yard, **{".gitattributes": "*.psd filter=lfs\n"})
    yard.git(yard.repo, "config", "filter.lfs.smudge", "git-lfs smudge -- %f")
    yard.git(yard.repo, "config", "filter.lfs.required", "true")
    done = yard.run(yard.plan({"task_id": "A"}))
    assert (done.code, done.result["error"]["code"]) == (2, "git_error")
    assert "git-lfs" in done.result["error"]["message"]
    yard.git(yard.repo, "config", "filter.lfs.required", "false")
    assert len(preflight.require_fit(crew.repository, crew.settings)) == 1


# ------------------------------------------------------------------------------------------------------ by hand


def test_a_worktree_on_another_branch_gets_no_agent_and_goes_to_review(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    worktree = provision.provide_worktree(crew, "A")
    yard.git(Path(worktree.path), "switch", "-q", "-c", "elsewhere")
    with pytest.raises(WrongBranch):
        provision.provide_worktree(crew, "A")
    assignment_id = assign(crew, "A")
    launcher.launch(crew, assignment_id)
    row = crew.store.read(assignments.get, assignment_id)
    assert (row["status"], row["error_code"]) == ("failed", "wrong_branch")
    assert f"switch {worktree.branch}" in row["error_message"]


def test_a_worktree_that_somebody_moved_is_found_again(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    worktree = provision.provide_worktree(crew, "A")
    (Path(worktree.path) / "work.txt").write_text("mine")
    yard.git(yard.repo, "worktree", "move", worktree.path, str(yard.folder / "moved"))
    found = provision.provide_worktree(crew, "A")
    assert found.path == str(yard.folder / "moved")
    assert (Path(found.path) / "work.txt").exists()
    assert crew.store.read(worktrees.require_live, "A").path == found.path
    assert yard.worktrees() == 2


def test_a_worktree_that_somebody_locked_is_kept_with_the_reason(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    worktree = provision.provide_worktree(crew, "A")
    yard.git(yard.repo, "worktree", "lock", "--reason", "on a stick", worktree.path)
    shutil.move(worktree.path, yard.folder / "unplugged")
    janitor.tidy(crew, worktree)
    assert crew.store.read(worktrees.get, worktree.worktree_id)["kept_because"] == "locked: on a stick"
    with pytest.raises(WorktreeExists, match="on a stick"):
        provision.provide_worktree(crew, "A")
    shutil.move(yard.folder / "unplugged", worktree.path)
    janitor.tidy(crew, worktree)
    assert Path(worktree.path).exists()
    yard.git(yard.repo, "worktree", "unlock", worktree.path)
    janitor.tidy(crew, worktree)
    assert yard.worktrees() == 1


def test_a_worktree_that_somebody_removed_is_made_again_from_its_branch(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    worktree = provision.provide_worktree(crew, "A")
    yard.git(Path(worktree.path), "commit", "-q", "--allow-empty", "-m", "work")
    head = yard.git(Path(worktree.path), "rev-parse", "HEAD")
    shutil.rmtree(worktree.path)
    again = provision.provide_worktree(crew, "A")
    assert again.path == worktree.path
    assert yard.git(Path(again.path), "rev-parse", "HEAD") == head


# ------------------------------------------------------------------------------------------------------- refusals


def test_a_branch_that_is_checked_out_elsewhere_is_named(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    elsewhere = yard.folder / "elsewhere"
    yard.git(yard.repo, "worktree", "add", "-q", "-b", crew.paths.branch("A"), str(elsewhere))
    with pytest.raises(BranchExists, match=str(elsewhere)) as caught:
        provision.provide_worktree(crew, "A")
    assert caught.value.code == "branch_exists"
    assert elsewhere.exists()
    assert crew.store.read(worktrees.live, "A") is None


def test_another_branchs_worktree_in_our_place_is_left_and_named(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    path = crew.paths.worktree("A")
    yard.git(yard.repo, "worktree", "add", "-q", "-b", "theirs", str(path))
    with pytest.raises(WorktreeExists, match="theirs"):
        preparing.prepare(crew.repository, path, crew.paths.branch("A"), "roadmap", "refs/crewyard/salvage/A/1")
    assert path.exists()


def test_no_room_is_told_as_that(crew: Crew) -> None:
    made = preparing.Output(128, "", "fatal: write error: No space left on device")
    refused = preparing._refusal(Path("/w"), made)
    assert (refused.code, refused.hint) == ("disk_full", "Make room, then start again.")


def test_eight_threads_make_eight_worktrees(crew: Crew, yard: Any) -> None:
    names = [f"T{n}" for n in range(8)]
    add_tasks(crew, *names)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda name: provision.provide_worktree(crew, name), names))
    assert {each.status for each in made} == {"active"}
    assert len(Repository(yard.repo).checkouts()) == 9
    assert "branch." not in yard.git(yard.repo, "config", "--list", "--local")


def test_commits_that_a_branch_got_after_its_merge_are_kept_and_told(crew: Crew, yard: Any) -> None:
    add_tasks(crew, "A")
    worktree = provision.provide_worktree(crew, "A")
    yard.git(Path(worktree.path), "commit", "-q", "--allow-empty", "-m", "Later")
    later = yard.git(Path(worktree.path), "rev-parse", "HEAD")
    crew.store.run(worktrees.change, worktree.worktree_id, "merged", now=clock.now(), actor="test")
    janitor.tidy(crew, crew.store.read(worktrees.require_live, "A"))
    ref = crew.store.read(worktrees.get, worktree.worktree_id)["salvage_ref"]
    assert yard.git(yard.repo, "rev-parse", ref) == later
    told = yard.rows("SELECT content FROM agent_message WHERE message_type = 'alert'")
    assert [ref in row["content"] for row in told] == [True]
