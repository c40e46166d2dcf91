"""The pool of clean worktrees: taken in, brought up to date, used again, removed; each step is cut off as well."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import (
    clock,
    dispatches,
    janitor,
    leftovers,
    outfit,
    plans,
    pool,
    pooling,
    preparing,
    provision,
    readers,
    recycler,
    settings,
    settler,
    worktrees,
)
from crewyard.server.crew import Crew
from crewyard.server.errors import SetupFailed, WrongBranch
from crewyard.server.repository import Repository
from crewyard.server.worktrees import Worktree

LONG_AGO = "2026-01-01T00:00:00.000Z"


class Killed(BaseException):
    """As kill -9: nobody catches it."""


@dataclass
class Bench:
    """Tasks A to F in an active dispatch, with nobody acting but the test."""

    crew: Crew
    yard: Any

    def begin(self, task_id: str) -> Worktree:
        return provision.provide_worktree(self.crew, task_id)

    def finish(self, task_id: str) -> Worktree:
        """The task's work is merged, and its worktree as the janitor finds it."""
        worktree = self.crew.store.read(worktrees.live, task_id)
        assert worktree is not None
        path, git = Path(worktree.path), self.yard.git
        (path / f"{task_id}.txt").write_text(task_id)
        git(path, "add", ".")
        git(path, "commit", "-qm", task_id)
        git(self.yard.repo, "branch", "-f", "roadmap", worktree.branch)
        self.settle(task_id)
        return worktree

    def settle(self, *task_ids: str) -> None:
        for task_id in task_ids:
            self.crew.store.run(
                lambda tx, task_id: tx.run(
                    "UPDATE specs_task SET status = 'completed', completed_at = ? WHERE task_id = ?",
                    (clock.now(), task_id),
                ),
                task_id,
            )

    def tidy(self, worktree: Worktree) -> None:
        janitor.tidy(self.crew, worktree)

    def pool_one(self, task_id: str = "A") -> Path:
        """A worktree of the pool."""
        self.begin(task_id)
        worktree = self.finish(task_id)
        self.tidy(worktree)
        [entry] = self.entries()
        assert entry.status == "ready"
        return Path(entry.path)

    def entries(self) -> list[pool.Pooled]:
        return self.crew.store.read(pool.entries)

    def work_off_the_rest(self) -> None:
        self.settle(*"ABCDEF")
        while recycler.is_called_for(self.crew):
            recycler.tend(self.crew)

    def status_of(self, worktree: Worktree) -> str:
        return str(self.crew.store.read(worktrees.get, worktree.worktree_id)["status"])

    def salvaged(self) -> list[str]:
        return [ref for ref in self.yard.refs() if "/salvage/" in ref]

    def fsck(self) -> None:
        """Git reads its list of worktrees, and every one of them is where it says."""
        for checkout in Repository(self.yard.repo).checkouts():
            assert checkout.path.is_dir()
            assert not checkout.prunable
            assert self.yard.git(checkout.path, "status", "--porcelain") in ("", "?? crewyard.toml")


@pytest.fixture
def bench(crew: Crew, yard: Any) -> Bench:
    tasks = [{"task_id": name, "title": name} for name in "ABCDEF"]
    draft = readers.read_plan(json.dumps({"tasks": tasks}).encode(), name="plan.json")
    crew.store.run(plans.import_plan, draft, now=clock.now(), actor="test", agent_types={"scripted"})
    crew.store.run(
        dispatches.open_or_join, list("ABCDEF"), max_parallel=2, agent_type=None, now=clock.now(), actor="test"
    )
    crew.repository.exclude(crew.paths.excludes())
    return Bench(crew, yard)


def test_a_merged_tasks_worktree_is_the_next_ones(bench: Bench, yard: Any) -> None:
    place = bench.pool_one()
    (listed,) = [c for c in Repository(yard.repo).checkouts() if c.path == place]
    assert (listed.branch, listed.locked) == (None, pooling.LOCK)
    assert not Path(bench.crew.paths.worktree("A")).exists()
    assert "refs/heads/roadmap-implementation_task-A" not in yard.refs()
    inode = place.stat().st_ino
    made = bench.begin("B")
    assert Path(made.path) == bench.crew.paths.worktree("B")
    assert Path(made.path).stat().st_ino == inode, "the same folder"
    assert (bench.entries(), place.exists()) == ([], False)
    assert yard.git(Path(made.path), "symbolic-ref", "HEAD") == f"refs/heads/{made.branch}"
    assert yard.git(Path(made.path), "rev-parse", "HEAD") == yard.git(yard.repo, "rev-parse", "roadmap")
    assert [c.locked for c in Repository(yard.repo).checkouts()] == [None, None]
    bench.fsck()


def test_nothing_of_the_task_before_is_left_in_it(bench: Bench, yard: Any) -> None:
    bench.crew.repository.exclude(["*.ignored"])
    worktree = bench.begin("A")
    (Path(worktree.path) / "build.ignored").write_text("of A")
    bench.finish("A")
    bench.tidy(worktree)
    made = Path(bench.begin("B").path)
    assert not (made / "build.ignored").exists()
    assert "commit: A" not in yard.git(made, "reflog", "show", "HEAD")


def test_one_that_is_behind_is_brought_up_when_it_is_taken_or_before(bench: Bench, yard: Any) -> None:
    bench.begin("B")
    bench.pool_one("A")
    bench.crew.store.read(pool.wanted, 4)
    yard.git(Path(bench.crew.paths.worktree("B")), "reset", "-q", "--hard", "roadmap")
    bench.finish("B")
    assert recycler.is_called_for(bench.crew)
    recycler.tend(bench.crew)
    tip = yard.git(yard.repo, "rev-parse", "roadmap")
    assert [entry.commit for entry in bench.entries()] == [tip]
    assert not recycler.is_called_for(bench.crew)
    yard.git(yard.repo, "branch", "-f", "roadmap", f"{tip}^")
    made = bench.begin("C")
    assert yard.git(Path(made.path), "rev-parse", "HEAD") == made.base_commit != tip
    bench.fsck()


def test_the_pool_is_removed_when_nothing_is_left_to_begin_and_kept_where_that_is_asked_for(
    bench: Bench, yard: Any
) -> None:
    place = bench.pool_one()
    bench.settle(*"ABCDEF")
    yard.configure("[worktree]\nkeep_pool = true\n")
    bench.crew.settings = settings.load(yard.repo)
    assert not recycler.is_called_for(bench.crew)
    assert bench.crew.store.read(pool.is_done_with, size=4, keep=True)
    yard.configure("")
    bench.crew.settings = settings.load(yard.repo)
    assert not bench.crew.store.read(pool.is_done_with, size=4, keep=False)
    bench.work_off_the_rest()
    assert (bench.entries(), place.exists(), yard.worktrees(), bench.salvaged()) == ([], False, 1, [])
    assert not place.parent.exists()


def test_what_somebody_puts_into_the_pool_is_kept(bench: Bench, yard: Any) -> None:
    place = bench.pool_one()
    (place / "mine.txt").write_text("not committed")
    bench.work_off_the_rest()
    [ref] = bench.salvaged()
    assert yard.git(yard.repo, "show", f"{ref}:mine.txt") == "not committed"
    assert not place.exists()


def test_a_commit_that_somebody_makes_in_the_pool_is_kept(bench: Bench, yard: Any) -> None:
    place = bench.pool_one()
    yard.git(place, "commit", "-q", "--allow-empty", "-m", "mine")
    commit = yard.git(place, "rev-parse", "HEAD")
    bench.work_off_the_rest()
    [ref] = bench.salvaged()
    assert yard.git(yard.repo, "rev-parse", ref) == commit


def unmerged(bench: Bench, path: Path) -> None:
    bench.yard.git(path, "commit", "-q", "--allow-empty", "-m", "later")


def uncommitted(_: Bench, path: Path) -> None:
    (path / "new.txt").write_text("new")


def hidden(bench: Bench, path: Path) -> None:
    bench.yard.git(path, "update-index", "--assume-unchanged", "README.md")
    (path / "README.md").write_text("changed, and git was told not to look")


@pytest.mark.parametrize("work", [unmerged, uncommitted, hidden])
def test_a_worktree_with_work_in_it_goes_into_no_pool(bench: Bench, work: Callable[..., None]) -> None:
    bench.begin("A")
    worktree = bench.finish("A")
    work(bench, Path(worktree.path))
    bench.tidy(worktree)
    assert bench.entries() == []
    assert Path(worktree.path).exists()
    assert bench.crew.store.read(worktrees.get, worktree.worktree_id)["kept_because"]


def locked(bench: Bench, path: Path) -> None:
    bench.yard.git(bench.yard.repo, "worktree", "lock", "--reason", "on a stick", str(path))


def flagged(bench: Bench, path: Path) -> None:
    bench.yard.git(path, "update-index", "--skip-worktree", "README.md")


def own_refs(bench: Bench, path: Path) -> None:
    bench.yard.git(path, "update-ref", "refs/worktree/mine", "HEAD")


def own_config(bench: Bench, path: Path) -> None:
    bench.yard.git(path, "config", "extensions.worktreeConfig", "true")
    bench.yard.git(path, "config", "--worktree", "user.name", "Mine")


@pytest.mark.parametrize("what", [locked, flagged, own_refs, own_config])
def test_a_worktree_that_the_next_task_would_inherit_something_with_goes_into_no_pool(
    bench: Bench, what: Callable[..., None]
) -> None:
    bench.begin("A")
    worktree = bench.finish("A")
    what(bench, Path(worktree.path))
    bench.tidy(worktree)
    assert bench.entries() == []
    assert Path(worktree.path).exists() == (what is locked)


def test_work_that_git_was_told_not_to_look_at_is_salvaged(bench: Bench, yard: Any) -> None:
    bench.begin("A")
    worktree = bench.finish("A")
    hidden(bench, Path(worktree.path))
    [candidate] = leftovers.look(bench.crew.repository, bench.crew.settings, bench.crew.store)
    assert candidate.reason.count("changes that git was told not to look at") == 1
    janitor.clean(bench.crew, worktree, force=True)
    [ref] = bench.salvaged()
    assert yard.git(yard.repo, "show", f"{ref}:README.md") == "changed, and git was told not to look"


def test_work_on_a_leftover_branch_is_kept_when_the_worktree_comes_from_the_pool(bench: Bench, yard: Any) -> None:
    bench.pool_one()
    branch = bench.crew.paths.branch("B")
    lost = yard.git(yard.repo, "commit-tree", "-m", "old work", "HEAD^{tree}")
    yard.git(yard.repo, "branch", branch, lost)
    made = bench.begin("B")
    [ref] = bench.salvaged()
    assert yard.git(yard.repo, "rev-parse", ref) == lost
    assert yard.git(yard.repo, "rev-parse", branch) == made.base_commit


def test_a_worktree_that_cannot_be_taken_is_replaced_by_a_new_one(bench: Bench) -> None:
    place = bench.pool_one()
    (place / ".git").write_text("gitdir: /nowhere\n")
    made = bench.begin("B")
    assert bench.status_of(made) == "active"
    assert bench.entries() == []
    assert place.exists(), "what cannot be read is left to the user"


def test_the_users_hook_runs_in_a_worktree_of_the_pool_as_in_a_new_one(bench: Bench, yard: Any) -> None:
    bench.pool_one()
    hook = yard.repo / ".git/hooks/post-checkout"
    hook.write_text(f'#!/bin/sh\necho "$PWD $1 $3" >> {yard.folder}/hook.log\n[ ! -e {yard.folder}/fail ]\n')
    hook.chmod(0o755)
    made = [bench.begin("B")]
    (yard.folder / "fail").touch()
    made.append(bench.begin("C"))
    lines = (yard.folder / "hook.log").read_text().splitlines()
    assert lines == [f"{Path(each.path).resolve()} {'0' * 40} 1" for each in made]
    kinds = bench.crew.store.read(lambda tx: [row["kind"] for row in tx.all("SELECT kind FROM event")])
    assert kinds.count("post_checkout_hook_failed") == 1


def cut(monkeypatch: pytest.MonkeyPatch, where: object, name: str, *, after: bool) -> None:
    """Die before or after the call of that name."""
    whole = getattr(where, name)

    def die(*arguments: Any, **named: Any) -> None:
        if after:
            whole(*arguments, **named)
        raise Killed

    monkeypatch.setattr(where, name, die)


def steps(*names: tuple[object, str]) -> Any:
    return pytest.mark.parametrize(
        ("where", "name", "after"),
        [pytest.param(w, n, a, id=f"{'after' if a else 'before'} {n}") for w, n in names for a in (False, True)],
    )


@steps(
    (pooling, "empty"), (pooling, "lock"), (pooling, "move"), (Repository, "delete_branch"), (pool, "filled"),
)  # fmt: skip
def test_a_return_to_the_pool_that_was_cut_off_is_undone_and_done_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: object, name: str, after: bool
) -> None:
    bench.begin("A")
    worktree = bench.finish("A")
    with monkeypatch.context() as patch:
        cut(patch, where, name, after=after)
        with pytest.raises(Killed):
            bench.tidy(worktree)
    settler.settle(bench.crew)
    assert bench.entries() == []
    assert Path(worktree.path).exists()
    for again in bench.crew.store.read(worktrees.settled):
        bench.tidy(again)
    assert [entry.status for entry in bench.entries()] == ["ready"]
    assert bench.status_of(worktree) == "cleaned"
    bench.fsck()
    bench.work_off_the_rest()
    assert (bench.yard.worktrees(), bench.salvaged()) == (1, [])


def test_an_update_of_the_pool_that_was_cut_off_leaves_nothing(bench: Bench, yard: Any) -> None:
    bench.begin("B")
    place = bench.pool_one("A")
    yard.git(Path(bench.crew.paths.worktree("B")), "reset", "-q", "--hard", "roadmap")
    bench.finish("B")
    tip = yard.git(yard.repo, "rev-parse", "roadmap")
    bench.crew.store.run(pool.refresh, tip, now=clock.now(), actor="test")
    yard.git(place, "checkout", "-q", tip, "--", ".")  # as of a checkout that came half way
    (Repository(yard.repo).admin_dir(place) / "index.lock").touch()
    settler.settle(bench.crew)
    assert (bench.entries(), place.exists(), bench.salvaged()) == ([], False, [])


@steps(
    (preparing, "begin_branch"), (pooling, "_switch"), (pooling, "move"), (pooling, "unlock"),
    (outfit, "prepare"), (provision, "_made"),
)  # fmt: skip
def test_a_worktree_that_was_being_taken_out_of_the_pool_is_made_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: object, name: str, after: bool
) -> None:
    place = bench.pool_one()
    with monkeypatch.context() as patch:
        cut(patch, where, name, after=after)
        with pytest.raises(Killed):
            bench.begin("B")
    settler.settle(bench.crew)
    made = bench.begin("B")
    assert (bench.status_of(made), bench.entries()) == ("active", [])
    assert not place.exists()
    assert bench.yard.git(Path(made.path), "symbolic-ref", "--short", "HEAD") == made.branch
    bench.fsck()
    assert (bench.yard.worktrees(), bench.salvaged()) == (2, [])


@steps((pooling, "discard"), (pool, "forget"))
def test_a_removal_of_the_pool_that_was_cut_off_is_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: object, name: str, after: bool
) -> None:
    place = bench.pool_one()
    bench.settle(*"ABCDEF")
    with monkeypatch.context() as patch:
        cut(patch, where, name, after=after)
        with pytest.raises(Killed):
            recycler.tend(bench.crew)
    settler.settle(bench.crew)
    bench.work_off_the_rest()
    assert (bench.entries(), place.exists(), bench.yard.worktrees(), bench.salvaged()) == ([], False, 1, [])


def move_on(bench: Bench) -> str:
    """The integration branch moves, so that the pool is behind."""
    git, repo = bench.yard.git, bench.yard.repo
    commit = str(git(repo, "commit-tree", "-m", "more", "-p", "roadmap", "roadmap^{tree}"))
    git(repo, "branch", "-f", "roadmap", commit)
    return commit


def put_a_file(bench: Bench, place: Path) -> str:
    (place / "mine.txt").write_text("mine")
    return "mine.txt"


def commit_a_file(bench: Bench, place: Path) -> str:
    (place / "mine.txt").write_text("mine")
    bench.yard.git(place, "add", ".")
    bench.yard.git(place, "commit", "-qm", "mine")
    return "mine.txt"


def change_a_file(bench: Bench, place: Path) -> str:
    (place / "README.md").write_text("mine")
    return "README.md"


@pytest.mark.parametrize("work", [put_a_file, commit_a_file, change_a_file])
def test_what_somebody_puts_into_the_pool_is_kept_when_it_is_brought_up_to_date(
    bench: Bench, work: Callable[[Bench, Path], str]
) -> None:
    name = work(bench, bench.pool_one())
    move_on(bench)
    recycler.tend(bench.crew)
    [ref] = bench.salvaged()
    assert bench.yard.git(bench.yard.repo, "show", f"{ref}:{name}") == "mine"
    assert bench.entries() == []


def test_a_commit_that_somebody_makes_in_the_pool_does_not_reach_the_next_task(bench: Bench, yard: Any) -> None:
    commit_a_file(bench, bench.pool_one())
    made = bench.begin("B")
    [ref] = bench.salvaged()
    assert yard.git(yard.repo, "show", f"{ref}:mine.txt") == "mine"
    assert not (Path(made.path) / "mine.txt").exists()
    bench.fsck()


@pytest.mark.parametrize("is_refreshed", [False, True])
def test_a_worktree_of_the_pool_without_its_git_file_leaves_the_users_checkout_alone(
    bench: Bench, yard: Any, is_refreshed: bool
) -> None:
    place = bench.pool_one()
    (place / ".git").unlink()
    head, config = yard.git(yard.repo, "symbolic-ref", "HEAD"), (yard.repo / ".git/config").read_text()
    if is_refreshed:
        move_on(bench)
        recycler.tend(bench.crew)
    made = bench.begin("B")
    assert yard.git(yard.repo, "symbolic-ref", "HEAD") == head
    assert (yard.repo / ".git/config").read_text() == config
    assert (bench.entries(), bench.salvaged(), place.exists()) == ([], [], False)
    assert yard.git(Path(made.path), "status", "--porcelain") == ""


def test_a_worktree_whose_removal_from_the_pool_was_cut_off_half_way_is_given_to_no_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bench.pool_one()
    bench.settle(*"BCDEF")

    def half(*_: Any) -> None:
        (place / "README.md").unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(pooling, "discard", half)
        with pytest.raises(Killed):
            recycler.tend(bench.crew)
    made = bench.begin("B")
    assert (Path(made.path) / "README.md").exists()
    settler.settle(bench.crew)
    assert (bench.entries(), place.exists(), bench.salvaged()) == ([], False, [])


def test_no_task_is_given_a_worktree_that_is_being_removed_from_the_pool(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bench.pool_one()
    bench.settle(*"BCDEF")
    whole, made = pooling.discard, []

    def meanwhile(*arguments: Any) -> str | None:
        made.append(bench.begin("B"))
        return whole(*arguments)

    monkeypatch.setattr(pooling, "discard", meanwhile)
    recycler.tend(bench.crew)
    assert (bench.entries(), place.exists(), bench.status_of(made[0])) == ([], False, "active")
    assert not bench.yard.holds("SELECT 1 FROM event WHERE kind = 'pooled_worktree_taken'")
    bench.fsck()


def test_a_worktree_inside_another_one_is_not_deleted_along_with_it(bench: Bench, yard: Any) -> None:
    bench.crew.repository.exclude([".claude/"])
    worktree = bench.begin("A")
    bench.finish("A")
    inner = Path(worktree.path) / ".claude/worktrees/inner"
    yard.git(Path(worktree.path), "worktree", "add", "-q", "-b", "inner", str(inner))
    (inner / "mine.txt").write_text("not committed")
    bench.tidy(worktree)
    assert (inner / "mine.txt").exists()
    assert str(inner) in bench.crew.store.read(worktrees.get, worktree.worktree_id)["kept_because"]
    (candidate,) = leftovers.look(bench.crew.repository, bench.crew.settings, bench.crew.store)
    assert (candidate.ready, candidate.forcible) == (False, False)
    assert str(inner) in candidate.reason


def clone_at(bench: Bench, worktree: Worktree) -> None:
    """Somebody has removed the worktree by hand, and a clone of the repository has made its own there."""
    shutil.rmtree(worktree.path)
    other = bench.yard.folder / "other"
    bench.yard.git(bench.yard.folder, "clone", "-q", str(bench.yard.repo), str(other))
    bench.yard.git(other, "worktree", "add", "-q", "-b", worktree.branch, worktree.path, "origin/roadmap")


def test_no_agent_works_in_a_worktree_of_another_repository(bench: Bench) -> None:
    clone_at(bench, bench.begin("A"))
    with pytest.raises(WrongBranch, match="is no worktree of"):
        bench.begin("A")


def test_a_worktree_of_another_repository_is_neither_taken_into_the_pool_nor_removed(bench: Bench, yard: Any) -> None:
    worktree = bench.begin("A")
    bench.finish("A")
    clone_at(bench, worktree)
    bench.tidy(worktree)
    assert yard.git(Path(worktree.path), "symbolic-ref", "--short", "HEAD") == worktree.branch
    assert bench.entries() == []


def test_a_worktree_whose_place_was_taken_is_put_back_where_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin("A")
    worktree = bench.finish("A")
    with monkeypatch.context() as patch:
        cut(patch, Repository, "delete_branch", after=False)
        with pytest.raises(Killed):
            bench.tidy(worktree)
    home = Path(worktree.path)
    home.mkdir()
    (home / "notes.txt").write_text("somebody's")
    settler.settle(bench.crew)
    for again in bench.crew.store.read(worktrees.settled):
        bench.tidy(again)
    bench.work_off_the_rest()
    assert (bench.entries(), bench.status_of(worktree), bench.yard.worktrees()) == ([], "cleaned", 1)
    assert (home / "notes.txt").exists()


def test_a_removal_that_took_the_git_file_before_it_was_cut_off_is_finished(bench: Bench) -> None:
    bench.begin("A")
    worktree = bench.finish("A")
    bench.crew.store.run(worktrees.change, worktree.worktree_id, "merged", now=clock.now(), actor="test")
    (Path(worktree.path) / "README.md").unlink()
    (Path(worktree.path) / ".git").unlink()
    [merged] = bench.crew.store.read(worktrees.settled)
    bench.tidy(merged)
    assert (bench.status_of(worktree), Path(worktree.path).exists(), bench.yard.worktrees()) == ("cleaned", False, 1)


def test_a_worktree_of_a_pool_that_no_database_knows_is_shown_and_removed_by_force(bench: Bench, yard: Any) -> None:
    place, crew = bench.pool_one("A"), bench.crew
    assert leftovers.look(crew.repository, crew.settings, crew.store) == []
    (place / "mine.txt").write_text("mine")
    [orphan] = leftovers.look(crew.repository, crew.settings, None)
    assert (orphan.task_id, orphan.worktree_path, orphan.ready) == ("pool-1", str(place), False)
    assert "new files mine.txt" in orphan.reason
    done = janitor.remove_orphan(crew, orphan)
    assert yard.git(yard.repo, "show", f"{done.salvage_ref}:mine.txt") == "mine"
    assert (place.exists(), yard.worktrees()) == (False, 1)


def test_a_worktree_with_all_folders_is_not_used_again_once_some_are_asked_for(bench: Bench, yard: Any) -> None:
    for name in ("a", "b"):
        (yard.repo / name).mkdir()
        (yard.repo / name / "file").write_text(name)
    yard.git(yard.repo, "add", "a", "b")
    yard.git(yard.repo, "commit", "-qm", "folders")
    yard.git(yard.repo, "branch", "-f", "roadmap", "HEAD")
    bench.pool_one("A")
    yard.configure('[worktree]\nsparse = ["a"]\n')
    bench.crew.settings = settings.load(yard.repo)
    made = Path(bench.begin("B").path)
    assert ((made / "a").exists(), (made / "b").exists(), bench.entries()) == (True, False, [])


COMMIT = "git -c user.name=x -c user.email=x@y commit -q --allow-empty -m setup"


@pytest.mark.parametrize("command", [COMMIT, "git switch -qc elsewhere"])
def test_what_the_setup_commits_is_not_taken_for_the_agents_work(bench: Bench, yard: Any, command: str) -> None:
    yard.configure(f"[worktree]\nsetup = {json.dumps(['sh', '-c', command])}\n")
    bench.crew.settings = settings.load(yard.repo)
    with pytest.raises(SetupFailed, match="commits or switches"):
        bench.begin("A")


def test_a_run_uses_its_worktrees_again_and_leaves_none(yard: Any) -> None:
    tasks = [
        {"task_id": f"T{n}", "depends_on": [f"T{n - 2}"] if n > 1 else [],
         "description": f"```crew-script\nsleep 0.3\nwrite {n}.txt x\ncommit x\n```"}
        for n in range(10)
    ]  # fmt: skip
    done = yard.run(yard.plan(*tasks))
    assert done.code == 0, done.err
    assert yard.holds("SELECT 1 FROM event WHERE kind = 'pooled_worktree_taken'")
    assert yard.rows("SELECT * FROM worktree_pool") == []
    assert yard.worktrees() == 1
    assert not (yard.repo / ".worktrees").exists()
    assert [ref for ref in yard.refs() if "task-" in ref or "salvage" in ref] == []


def test_a_pool_that_is_kept_is_used_by_the_next_run(yard: Any) -> None:
    yard.configure("[worktree]\nkeep_pool = true\n")
    step = "```crew-script\nsleep 0.3\nwrite {}.txt x\ncommit x\n```"
    first = [{"task_id": "A", "description": step.format("A")},
             {"task_id": "B", "depends_on": ["A"], "description": step.format("B")},
             {"task_id": "C", "depends_on": ["B"], "description": step.format("C")}]  # fmt: skip
    assert yard.run(yard.plan(*first)).code == 0
    kept = yard.rows("SELECT path FROM worktree_pool WHERE status = 'ready'")
    assert kept
    assert yard.run(yard.plan({"task_id": "D", "description": step.format("D")}, name="next.json")).code == 0
    taken = yard.rows("SELECT subject_id FROM event WHERE kind = 'pooled_worktree_taken' ORDER BY event_id")
    assert taken


def test_eight_worktrees_at_once_are_made_without_a_failure(yard: Any) -> None:
    tasks = [{"task_id": f"T{n}"} for n in range(8)]
    done = yard.run(yard.plan(*tasks), "--max-parallel", "8")
    assert done.code == 0, done.err
    assert yard.rows("SELECT count(*) FROM agent_lifecycle")[0][0] == 8, "no attempt failed"


@pytest.mark.parametrize("template", [".worktrees/implementation_task-{task_id}", "../worktrees/task-{task_id}"])
def test_both_documented_places_of_worktrees_work_with_a_pool(yard: Any, template: str) -> None:
    yard.configure(f'worktree_path = "{template}"\n')
    tasks = [
        {"task_id": f"T{n}", "depends_on": [f"T{n - 1}"] if n else [],
         "description": f"```crew-script\nsleep 0.2\nwrite {n}.txt x\ncommit x\n```"}
        for n in range(4)
    ]  # fmt: skip
    done = yard.run(yard.plan(*tasks))
    assert done.code == 0, done.err
    assert yard.holds("SELECT 1 FROM event WHERE kind = 'pooled_worktree_ready'")
    place = (yard.repo / template).resolve().parent
    assert (yard.worktrees(), place.exists()) == (1, False)
    assert subprocess.run(["git", "-C", str(yard.repo), "fsck"], capture_output=True, check=True)
