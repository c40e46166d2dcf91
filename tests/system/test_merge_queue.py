"""The merge queue with real git: batches, flaky checks, order, hooks and signatures."""

import errno
import json
import shlex
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crewyard.server import clock, merger, merges, merging, settings
from crewyard.server.crew import Crew
from crewyard.server.errors import GitError
from crewyard.server.supervisor import Supervisor

Proven = Callable[..., int]


@pytest.fixture
def configured(crew: Crew, yard) -> Callable[[str], Crew]:
    """The crew under such a configuration."""

    def configure(text: str) -> Crew:
        yard.configure(text)
        crew.settings = settings.load(yard.repo)
        return crew

    return configure


@pytest.fixture
def checks(yard) -> Iterator[Callable[[str], str]]:
    """``checks(SCRIPT)``: a merge table whose check runs it, and notes the tree."""

    def table(script: str, more: str = "") -> str:
        script = f"git rev-parse HEAD^{{tree}} >> {shlex.quote(str(yard.folder / 'checked'))}; {script}"
        return f"[merge]\ncheck = {json.dumps(['sh', '-c', script])}\n{more}"

    return table


def checked(yard) -> list[str]:
    file = yard.folder / "checked"
    return file.read_text().split() if file.exists() else []


def status(crew: Crew, merge_id: int) -> str:
    return str(crew.store.read(merges.get, merge_id)["status"])


def hook(yard, name: str, script: str) -> None:
    file = yard.repo / ".git" / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def merge_subjects(yard) -> list[str]:
    return yard.git(yard.repo, "log", "--first-parent", "--merges", "--reverse", "--format=%s", "roadmap").splitlines()


# --------------------------------------------------------------------------------------------------- batches


def test_sixteen_green_branches_take_one_check_and_are_merged_each_by_itself(
    configured, checks, yard, proven_task: Proven
) -> None:
    crew = configured(checks("true"))
    requests = [proven_task(f"T{n}") for n in range(16)]
    merger.work_off(crew, "roadmap")
    assert {status(crew, each) for each in requests} == {"merged"}
    assert len(checked(yard)) == 1
    assert merge_subjects(yard) == [f"Merge task T{n}: T{n}" for n in range(16)]
    commits = [crew.store.read(merges.get, each)["merge_commit"] for each in requests]
    assert yard.git(yard.repo, "rev-list", "--first-parent", "--reverse", "-16", "roadmap").splitlines() == commits
    assert crew.store.read(merges.get, requests[7])["files_changed"] == 1
    assert not list(crew.paths.checks.iterdir())


def test_a_culprit_is_found_by_halving_and_the_others_are_merged(configured, checks, yard, proven_task: Proven) -> None:
    crew = configured(checks("test ! -e T5.txt"))
    requests = [proven_task(f"T{n}") for n in range(8)]
    merger.work_off(crew, "roadmap")
    ends = [status(crew, each) for each in requests]
    assert ends == ["merged"] * 5 + ["rejected"] + ["merged"] * 2
    assert len(checked(yard)) <= 8
    refused = crew.store.read(merges.get, requests[5])
    assert refused["error_code"] == "merge_check_failed"
    assert refused["flaky"] == 0
    work = yard.rows("SELECT * FROM orchestrator_task WHERE task_id = 'T5'")[0]
    assert (work["status"], work["rework_count"]) == ("assigned", 1)
    assert yard.git(yard.repo, "ls-tree", "--name-only", "roadmap", "T5.txt") == ""


def test_a_branch_that_conflicts_with_the_batch_waits_for_its_own_turn(
    configured, checks, yard, proven_task: Proven
) -> None:
    crew = configured(checks("true"))
    first, second = proven_task("A", {"same.txt": "a\n"}), proven_task("B", {"same.txt": "b\n"})
    third = proven_task("C")
    merger.work_off(crew, "roadmap")
    assert [status(crew, each) for each in (first, second, third)] == ["merged", "conflicted", "merged"]
    assert merge_subjects(yard) == ["Merge task A: A", "Merge task C: C"]


def test_what_waits_without_a_check_moves_the_branch_once_for_all_of_it(crew: Crew, yard, proven_task: Proven) -> None:
    requests = [proven_task(f"T{n}") for n in range(3)]
    merger.work_off(crew, "roadmap")
    assert {status(crew, each) for each in requests} == {"merged"}
    assert merge_subjects(yard) == [f"Merge task T{n}: T{n}" for n in range(3)]
    moves = yard.git(yard.repo, "reflog", "--format=%gs", "roadmap").splitlines()
    assert [each for each in moves if "merge" in each] == ["crewyard: merge T0, T1, T2"]


def test_what_lies_in_the_way_of_one_merge_in_a_checkout_stops_no_other(crew: Crew, yard, proven_task: Proven) -> None:
    requests = [proven_task(f"T{n}") for n in range(3)]
    yard.git(yard.repo, "switch", "--quiet", "roadmap")
    (yard.repo / "T1.txt").write_text("mine\n")
    merger.work_off(crew, "roadmap")
    assert [status(crew, each) for each in requests] == ["merged", "queued", "merged"]
    assert (yard.repo / "T1.txt").read_text() == "mine\n"


def test_r196_with_max_batch_1_each_merge_is_checked_by_itself(configured, checks, yard, proven_task: Proven) -> None:
    crew = configured(checks("true", "max_batch = 1\n"))
    for n in range(3):
        proven_task(f"T{n}")
    merger.work_off(crew, "roadmap")
    assert len(checked(yard)) == 3


def test_a_batch_cut_off_after_the_branch_moved_is_recorded_and_not_merged_twice(
    configured, checks, yard, proven_task: Proven, monkeypatch
) -> None:
    crew = configured(checks("true"))
    requests = [proven_task(f"T{n}") for n in range(3)]

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merger, "_record", die)
        with pytest.raises(KeyboardInterrupt):
            merger.work_off(crew, "roadmap")
    assert [status(crew, each) for each in requests] == ["checking", "queued", "queued"]
    moved = yard.git(yard.repo, "rev-parse", "roadmap")
    merger.work_off(crew, "roadmap")
    assert {status(crew, each) for each in requests} == {"merged"}
    assert yard.git(yard.repo, "rev-parse", "roadmap") == moved
    assert len(checked(yard)) == 1


def test_what_is_withdrawn_while_its_batch_is_checked_is_not_merged(
    configured, checks, yard, proven_task: Proven, monkeypatch
) -> None:
    crew = configured(checks("true"))
    first, second = proven_task("A"), proven_task("B")
    passes = merger._passes

    def withdrawn_meanwhile(*args: object) -> bool:
        crew.store.run(
            lambda tx: tx.run("UPDATE merge_request SET head_commit = 'other' WHERE merge_id = ?", (second,))
        )
        monkeypatch.setattr(merger, "_passes", passes)
        crew.stopping.set()
        return True

    monkeypatch.setattr(merger, "_passes", withdrawn_meanwhile)
    merger.work_off(crew, "roadmap")
    assert status(crew, first) == "queued"
    assert merge_subjects(yard) == []


# --------------------------------------------------------------------------------------------- order, flakiness


def test_work_that_comes_again_after_rework_takes_the_place_that_it_had(crew: Crew, yard, proven_task: Proven) -> None:
    first, second = proven_task("A", {"same.txt": "a\n"}), proven_task("B", {"same.txt": "b\n"})
    third = proven_task("C")
    crew.write(merges.claim, first, now=clock.now(), actor="test")
    crew.write(
        merges.refused, first, want="rejected", code="merge_check_failed", message="no", prompt="no", limit=3,
        now=clock.now(), actor="test",
    )  # fmt: skip
    crew.store.run(lambda tx: tx.run("UPDATE orchestrator_task SET status = 'completed' WHERE task_id = 'A'"))
    again = crew.store.run(
        merges.enqueue, "ot-A", head="0" * 40, target="roadmap", approved_by=None, now=clock.now(), actor="test"
    )
    order = [row["merge_id"] for row in crew.store.read(merges.queue)]
    assert order == [again["merge_id"], second, third]


def test_a_check_that_fails_once_on_a_tree_is_repeated_and_told(configured, checks, yard, proven_task: Proven) -> None:
    once = yard.folder / "once"
    crew = configured(checks(f"test -e {once} || {{ touch {once}; exit 1; }}"))
    request = proven_task("A")
    merger.work_off(crew, "roadmap")
    assert (status(crew, request), crew.store.read(merges.get, request)["flaky"]) == ("merged", 1)
    assert len(checked(yard)) == 2
    [message] = yard.rows("SELECT content FROM agent_message WHERE to_agent = 'lead' AND message_type = 'alert'")
    assert "flaky" in json.loads(message["content"])["title"]


def test_a_check_that_fails_for_a_batch_and_passes_on_the_same_tree_is_told(
    configured, checks, yard, proven_task: Proven
) -> None:
    once = yard.folder / "once"
    crew = configured(checks(f"test -e {once} || {{ touch {once}; exit 1; }}"))
    requests = [proven_task(f"T{n}") for n in range(4)]
    merger.work_off(crew, "roadmap")
    assert {status(crew, each) for each in requests} == {"merged"}
    assert crew.store.read(merges.get, requests[-1])["flaky"] == 1
    assert yard.rows("SELECT count(*) AS n FROM event WHERE kind = 'merge_check_flaky'")[0]["n"] == 1


def test_a_check_sees_the_whole_tree_although_the_users_checkout_is_sparse(
    configured, checks, yard, proven_task: Proven
) -> None:
    crew = configured(checks("test -e far/away.txt"))
    (yard.repo / "far").mkdir()
    request = proven_task("A", {"far/away.txt": "a"})
    yard.git(yard.repo, "sparse-checkout", "set", "--cone", "near")
    merger.work_off(crew, "roadmap")
    assert status(crew, request) == "merged"
    assert not (yard.repo / "far").exists()


# ----------------------------------------------------------------------------------------- hooks and signatures


@pytest.mark.parametrize("has_check", [False, True])
def test_the_users_hooks_run_at_each_merge_and_may_change_its_message(
    configured, checks, yard, proven_task: Proven, has_check: bool
) -> None:
    crew = configured(checks("test -e A.txt") if has_check else "")
    seen = yard.folder / "seen"
    hook(yard, "pre-merge-commit", f"git diff --cached --name-only >> {seen}")
    hook(yard, "commit-msg", 'echo "Reviewed-by: hook" >> "$1"')
    requests = [proven_task("A"), proven_task("B")]
    merger.work_off(crew, "roadmap")
    assert {status(crew, each) for each in requests} == {"merged"}
    assert seen.read_text().split() == ["A.txt", "B.txt"]
    bodies = yard.git(yard.repo, "log", "--first-parent", "--merges", "--format=%b", "roadmap")
    assert bodies.count("Reviewed-by: hook") == 2
    assert yard.at_roadmap("B.txt") == "B"


def test_a_hook_that_refuses_a_merge_sends_the_work_back_with_its_words(crew: Crew, yard, proven_task: Proven) -> None:
    hook(yard, "pre-merge-commit", "echo 'no merges on Fridays'; test ! -e bad.txt")
    good, bad, also_good = proven_task("A"), proven_task("B", {"bad.txt": "b"}), proven_task("C")
    merger.work_off(crew, "roadmap")
    assert [status(crew, each) for each in (good, bad, also_good)] == ["merged", "rejected", "merged"]
    refused = crew.store.read(merges.get, bad)
    assert refused["error_code"] == "hook_failed"
    prompt = yard.rows("SELECT next_prompt FROM orchestrator_task WHERE task_id = 'B'")[0]["next_prompt"]
    assert "no merges on Fridays" in prompt
    assert merge_subjects(yard) == ["Merge task A: A", "Merge task C: C"]


def test_a_hook_that_refuses_one_of_a_batch_leaves_nothing_of_it_in_the_others(
    configured, checks, yard, proven_task: Proven
) -> None:
    crew = configured(checks("test ! -e junk && test ! -e bad.txt"))
    hook(yard, "pre-merge-commit", "test ! -e bad.txt || { touch junk; exit 1; }")
    requests = [proven_task("A"), proven_task("B", {"bad.txt": "b"}), proven_task("C")]
    merger.work_off(crew, "roadmap")
    assert [status(crew, each) for each in requests] == ["merged", "rejected", "merged"]


def test_a_hook_that_hangs_is_ended_when_its_time_is_over(configured, yard, proven_task: Proven) -> None:
    crew = configured("[merge]\ncheck_timeout_seconds = 0.5\n")
    request = proven_task("A")
    hook(yard, "commit-msg", "sleep 600")
    merger.work_off(crew, "roadmap")
    assert status(crew, request) == "rejected"
    assert "out of time" in crew.store.read(merges.get, request)["error_message"]


def test_the_hooks_of_a_relative_path_are_those_of_the_main_checkout(crew: Crew, yard, proven_task: Proven) -> None:
    request = proven_task("A")
    yard.git(yard.repo, "config", "core.hooksPath", "ours/hooks")
    folder = yard.repo / "ours" / "hooks"
    folder.mkdir(parents=True)
    (folder / "commit-msg").write_text("#!/bin/sh\necho refused by ours; exit 1\n")
    (folder / "commit-msg").chmod(0o755)
    merger.work_off(crew, "roadmap")
    assert "refused by ours" in crew.store.read(merges.get, request)["error_message"]


def test_what_an_agent_left_uncommitted_is_committed_with_the_users_hooks(yard) -> None:
    """The hook refuses the first attempt; the second finds its files as they were, and mends them."""
    program = yard.folder / "agent.sh"
    program.write_text("test -e work.txt && mv work.txt found.txt && exit 0; echo bad > work.txt")
    yard.configure(f'[agents.builder]\ncommand = ["sh", "{program}"]\n')
    hook(yard, "pre-commit", "echo 'work.txt is bad'; test ! -e work.txt")
    done = yard.run(yard.plan({"task_id": "A", "agent_type": "builder"}))
    assert done.code == 0, done.err
    assert done.task("A")["attempts"] == 2
    assert yard.at_roadmap("found.txt") == "bad"
    [restart] = yard.rows("SELECT * FROM agent_restart_log")
    assert restart["reason"] == "hook_failed"


def test_a_hook_that_always_refuses_what_was_left_ends_in_review_with_the_work_kept(yard) -> None:
    program = yard.folder / "agent.sh"
    program.write_text("echo bad > work.txt")
    yard.configure(f'max_restarts = 1\n[agents.builder]\ncommand = ["sh", "{program}"]\n')
    hook(yard, "pre-commit", "echo 'work.txt is bad'; exit 1")
    done = yard.run(yard.plan({"task_id": "A", "agent_type": "builder"}))
    assert (done.code, done.task("A")["status"]) == (1, "review")
    assert "work.txt is bad" in done.task("A")["error"]["message"]
    [worktree] = yard.rows("SELECT * FROM git_worktree_tracker")
    assert (Path(worktree["worktree_path"]) / "work.txt").read_text() == "bad\n"


def signing_key(yard) -> Path:
    key = yard.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "t@example.org", "-f", key], check=True)
    (yard.folder / "allowed").write_text(f"test@example.org {key.with_suffix('.pub').read_text()}")
    for name, value in {
        "gpg.format": "ssh",
        "user.signingKey": str(key),
        "gpg.ssh.allowedSignersFile": str(yard.folder / "allowed"),
    }.items():
        yard.git(yard.repo, "config", name, value)
    return key


def test_merges_are_signed_where_commits_must_be(crew: Crew, yard, proven_task: Proven) -> None:
    request = proven_task("A")
    signing_key(yard)
    yard.git(yard.repo, "config", "commit.gpgSign", "true")
    merger.work_off(crew, "roadmap")
    assert status(crew, request) == "merged"
    assert "gpgsig" in yard.git(yard.repo, "cat-file", "commit", "roadmap")


def test_a_signature_that_cannot_be_made_waits_and_then_goes_to_review_with_the_reason(
    configured, yard, proven_task: Proven
) -> None:
    crew = configured("[merge]\nmax_attempts = 2\nretry_seconds = 0\n")
    request = proven_task("A")
    key = signing_key(yard)
    key.unlink()
    yard.git(yard.repo, "config", "commit.gpgSign", "true")
    merger.work_off(crew, "roadmap")
    ended = crew.store.read(merges.get, request)
    assert (ended["status"], ended["error_code"]) == ("rejected", "git_error")
    assert str(key) in ended["error_message"]
    assert yard.rows("SELECT needs_review FROM specs_task")[0]["needs_review"] == 1
    assert yard.git(yard.repo, "rev-parse", "--verify", "roadmap-implementation_task-A")


# --------------------------------------------------------------------------------------------- users' checkouts


def test_a_branch_that_somebody_is_rebasing_is_not_moved(crew: Crew, yard, proven_task: Proven) -> None:
    request = proven_task("A")
    yard.git(yard.repo, "switch", "--quiet", "roadmap")
    (yard.repo / "mine.txt").write_text("mine")
    yard.git(yard.repo, "add", "mine.txt")
    yard.git(yard.repo, "commit", "-qm", "mine")
    subprocess.run(
        ["git", "-C", yard.repo, "-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-qi", "HEAD^"], check=True
    )
    tip = yard.git(yard.repo, "rev-parse", "roadmap")
    merger.work_off(crew, "roadmap")
    assert yard.git(yard.repo, "rev-parse", "roadmap") == tip
    waits = crew.store.read(merges.get, request)
    assert (waits["status"], waits["error_code"]) == ("queued", "dirty_working_directory")
    yard.git(yard.repo, "rebase", "--continue")
    crew.store.run(lambda tx: tx.run("UPDATE merge_request SET not_before = NULL"))
    merger.work_off(crew, "roadmap")
    assert status(crew, request) == "merged"
    assert (yard.repo / "A.txt").exists(), "the checkout followed"


def test_a_head_in_the_old_form_of_a_link_counts_as_a_checkout(crew: Crew, yard) -> None:
    yard.git(yard.repo, "switch", "--quiet", "roadmap")
    head = yard.repo / ".git" / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/roadmap")
    assert crew.repository.may_be_checked_out("roadmap")


# ------------------------------------------------------------------------------------ what is checked and recorded


@pytest.mark.parametrize("leaves", ["a hook", "the check before"])
def test_a_check_sees_just_what_is_merged_whatever_was_left_there(
    configured, checks, yard, proven_task: Proven, leaves: str
) -> None:
    crew = configured(checks("test -e mended || { touch mended; exit 1; }"))
    request = proven_task("A")
    hook(yard, "pre-merge-commit", "touch mended" if leaves == "a hook" else "exit 0")
    merger.work_off(crew, "roadmap")
    assert (status(crew, request), len(checked(yard))) == ("rejected", 2)
    assert merge_subjects(yard) == []


@pytest.mark.parametrize("hooked", [False, True])
def test_a_request_that_git_fails_at_costs_no_other_of_its_batch_anything(
    configured, checks, yard, proven_task: Proven, hooked: bool
) -> None:
    crew = configured(checks("true", "max_attempts = 1\n"))
    first, broken, last = (proven_task(name) for name in "ABC")
    crew.store.run(lambda tx: tx.run("UPDATE merge_request SET head_commit = ? WHERE merge_id = ?", ("1" * 40, broken)))
    if hooked:
        hook(yard, "commit-msg", "exit 0")
    merger.work_off(crew, "roadmap")
    assert [status(crew, each) for each in (first, broken, last)] == ["merged", "rejected", "merged"]
    assert "merge-tree failed" in crew.store.read(merges.get, broken)["error_message"]


def test_a_hook_that_is_ended_because_all_stops_refuses_nothing(crew: Crew, yard, proven_task, wait_until) -> None:
    request = proven_task("A")
    hook(yard, "commit-msg", f"touch {shlex.quote(str(yard.folder / 'begun'))}; sleep 60")
    supervisor = Supervisor(crew)
    with ThreadPoolExecutor(1) as apart:
        working = apart.submit(merger.work_off, crew, "roadmap")
        wait_until((yard.folder / "begun").exists)
        crew.stopping.set()
        wait_until(lambda: supervisor.end_checks() or working.done())
        working.result()
    assert status(crew, request) == "checking"
    assert yard.rows("SELECT rework_count FROM orchestrator_task")[0]["rework_count"] == 0


def test_what_has_landed_is_never_recorded_as_refused(configured, yard, proven_task: Proven, monkeypatch) -> None:
    crew = configured("[merge]\nmax_attempts = 1\n")
    request = proven_task("A")

    def no_memory(*_: object) -> None:
        raise GitError("git diff-tree failed: out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(crew.repository, "diff_stats", no_memory)
        with pytest.raises(GitError):
            merger.work_off(crew, "roadmap")
    assert (status(crew, request), merge_subjects(yard)) == ("checking", ["Merge task A: A"])
    merger.work_off(crew, "roadmap")
    assert (status(crew, request), merge_subjects(yard)) == ("merged", ["Merge task A: A"])


def test_a_disk_that_is_full_for_a_moment_is_waited_for(crew: Crew, proven_task: Proven, monkeypatch) -> None:
    request = proven_task("A")

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(merging, "commit", no_space)
        merger.work_off(crew, "roadmap")
    row = crew.store.read(merges.get, request)
    assert (row["status"], row["attempts"]) == ("queued", 1)
    assert "No space left" in row["error_message"]


def test_work_that_only_its_merge_was_held_up_of_is_merged_by_the_next_run_without_an_agent(yard) -> None:
    program = yard.folder / "agent.sh"
    program.write_text("echo theirs > shared.txt; git add .; git commit -qm work")
    yard.configure(f'[agents.builder]\ncommand = ["sh", "{program}"]\n[merge]\nmax_attempts = 1\n')
    plan = yard.plan({"task_id": "A", "agent_type": "builder"})
    yard.git(yard.repo, "switch", "--quiet", "--create", "roadmap")
    (yard.repo / "shared.txt").write_text("mine")
    first = yard.run(plan)
    assert (first.code, first.task("A")["status"]) == (1, "review"), first.err
    assert "shared.txt are in the way. Commit, stash or remove them" in first.task("A")["error"]["message"]
    assert (yard.repo / "shared.txt").read_text() == "mine"
    (yard.repo / "shared.txt").unlink()
    second = yard.run(plan)
    assert (second.code, second.task("A")["status"]) == (0, "merged"), second.err
    assert second.task("A")["attempts"] == 1
    assert (yard.repo / "shared.txt").read_text() == "theirs\n"
    assert yard.worktrees() == 1


def test_what_the_agents_would_start_without_is_told(yard) -> None:
    yard.git(yard.repo, "branch", "roadmap")
    (yard.repo / "late.txt").write_text("late")
    yard.git(yard.repo, "add", "late.txt")
    yard.git(yard.repo, "commit", "-qm", "late")
    done = yard.run(yard.plan({"task_id": "A"}))
    [warning] = done.result["warnings"]
    assert "main has 1 commit that roadmap has not" in warning
