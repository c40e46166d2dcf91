"""Looks at the evidence that a task is done; no word of an agent replaces it (contract 7, G-05)."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import (
    agents,
    assignments,
    attempts,
    backoff,
    clock,
    denials,
    environment,
    hooks,
    journals,
    merges,
    notices,
    provision,
    reports,
    saving,
    stages,
    steering,
    tasks,
    unmerged,
    workspaces,
    worktrees,
)
from .crew import ACTOR, Crew
from .errors import CrewyardError, GitError, SpawnFailed, SteersAgents, UncommittedChanges, WrongBranch
from .history import Change
from .launcher import restart_policy
from .runners import Finished
from .store import Row, Transaction
from .wording import stopped
from .worktrees import Worktree

LINE_LENGTH = 200
CHECK_LOG = "check.log"  # in the agent's run folder


@dataclass(frozen=True)
class Proof:
    """The branch's tip that was looked at, whether there was nothing to change, and why a person must look at it."""

    head: str
    no_change: bool
    held: SteersAgents | None = None


class NoEvidence(CrewyardError):
    """The branch holds no commit beyond its base, and the agent did not report that nothing is to be changed."""

    code = "no_evidence"


class CheckFailed(CrewyardError):
    """The task's check failed."""

    code = "check_failed"


def prove(crew: Crew, assignment_id: str) -> None:
    """Look at an agent's work; record it as done and queue its merge, or as a failed attempt."""
    assignment = crew.store.read(assignments.get, assignment_id)
    if assignment["status"] != "running":  # the job before this one has done it
        return
    task = crew.store.read(tasks.get, assignment["task_id"])
    now = clock.now()
    try:
        worktree = provision.relocated(crew, crew.store.read(worktrees.require_live, task["task_id"]))
        proof = _look(crew, assignment, task, worktree)
    except WrongBranch as error:
        crew.write(
            assignments.give_up,
            assignment_id,
            code=error.code,
            message=error.message,
            review=True,
            now=now,
            actor=ACTOR,
        )
    except (NoEvidence, CheckFailed, SpawnFailed, GitError) as error:
        if not crew.stopping.is_set():
            crew.write(_refute, assignment_id, error, restart_policy(crew), now)
    else:
        if proof.held is not None:
            crew.write(_hold, assignment_id, proof, proof.held, crew.target, now)
            return
        crew.write(_accept, assignment_id, proof, crew.target, now)


def _look(crew: Crew, assignment: Row, task: Row, worktree: Worktree) -> Proof:
    path = Path(worktree.path)
    workspaces.require_branch(crew.repository, path, worktree.branch)
    agent = crew.store.read(agents.get, assignment["assigned_agent"])
    log = Path(agent["run_dir"]) / CHECK_LOG
    _commit_what_is_left(crew, path, f"Commit what {agent['agent_id']} left of {task['task_id']}", log)
    head = crew.repository.head(path)
    target = crew.repository.tip(crew.target) or worktree.base_commit
    # From where it left the target last: what the target's own merges brought is not the branch's.
    changes = crew.repository.changes(f"{target}...{head}")
    _require_resolved(crew, task["task_id"], path, target, head, changes)
    saving.refuse_gitlinks(changes)
    if not crew.repository.has_own_commits(worktree.base_commit, head, target, changes):
        report = crew.store.read(reports.last, assignment["assigned_agent"])
        if report is None or not report.no_change:
            raise NoEvidence
        return Proof(head, no_change=True)
    if command := tasks.check_of(task):
        _check(crew, command, path, log)
    try:
        steering.require_none(crew, task["task_id"], head)
    except SteersAgents as error:
        return Proof(head, no_change=False, held=error)
    return Proof(head, no_change=False)


def _commit_what_is_left(crew: Crew, path: Path, message: str, log: Path) -> None:
    """As the agent would have done it, with the user's hooks. Raises HookFailed; then it stays there uncommitted."""
    if not (crew.repository.has_changes(path) or crew.repository.operation_in_progress(path) == "merge"):
        saving.remove_stale_locks(crew.repository, path)
        return
    ceremony = hooks.in_force(crew.repository, crew.git_config)
    scribe = hooks.Scribe(crew.repository, crew.runners, ceremony, log, crew.settings.merge.check_timeout_seconds)
    saving.save(crew.repository, path, message, scribe.commit if ceremony.holds_for(hooks.AT_COMMIT) else None)


def _require_resolved(crew: Crew, task_id: str, path: Path, tip: str, head: str, changes: Sequence[Change]) -> None:
    """Raises UncommittedChanges where conflict markers were committed: in what conflicted, or by a merge of its own."""
    last = crew.store.read(merges.latest, task_id)
    conflicted = json.loads(last["conflicted_files"]) if last is not None and last["status"] == "conflicted" else []
    brought = unmerged.markers_committed(crew.repository, crew.target, tip, head, changes)
    if left := {*unmerged.with_markers(path, conflicted), *brought}:
        names = ", ".join(stages.quoted(name) for name in sorted(left))
        raise UncommittedChanges(f"Conflict markers are left in {names}.", files=sorted(left))


def _check(crew: Crew, command: list[str], path: Path, log: Path) -> None:
    done = crew.runners.check(
        command,
        cwd=path,
        log=log,
        timeout_seconds=crew.settings.merge.check_timeout_seconds,
        environment=environment.for_child([]),
    )
    if done.code != 0:
        raise CheckFailed(failed_check(command, done, log))


def failed_check(command: list[str], done: Finished, log: Path) -> str:
    """What a failed check is told as: the command, how it ended, and the end of its output."""
    how = "ran out of time" if done.code is None else f"ended with {done.code}"
    return f"The check `{shlex.join(command)}` {how} after {done.seconds:.1f} s.\n{journals.tail(log).rstrip()}"


def in_short(words: str) -> str:
    """The first line of ``failed_check``, and the last that the check printed."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1][:LINE_LENGTH]}"


def _accept(tx: Transaction, assignment_id: str, proof: Proof, target: str, now: str) -> None:
    assignments.proven(tx, assignment_id, no_change=proof.no_change, now=now, actor=ACTOR)
    notices.proven(tx, assignments.get(tx, assignment_id), now=now)
    if not proof.no_change:
        merges.enqueue(tx, assignment_id, head=proof.head, target=target, approved_by=None, now=now, actor=ACTOR)


def _hold(tx: Transaction, assignment_id: str, proof: Proof, held: SteersAgents, target: str, now: str) -> None:
    """It may be as good as its check says: a request of it waits for somebody to approve it."""
    assignments.proven(tx, assignment_id, no_change=False, now=now, actor=ACTOR)
    row = merges.enqueue(tx, assignment_id, head=proof.head, target=target, approved_by=None, now=now, actor=ACTOR)
    take = f"`crewyard worktrees approve {row['task_id']}` merges it as it is"
    message = f"{held.message} {take}; look first: `git diff {target}...{row['branch_name']}`. {held.hint}"
    merges.abandoned(tx, row["merge_id"], code=held.code, message=message, now=now, actor=ACTOR)


def _refute(tx: Transaction, assignment_id: str, error: CrewyardError, policy: backoff.Policy, now: str) -> None:
    _, _, rest = error.message.partition("\n")
    message = in_short(error.message)
    if refused := denials.told(tx, assignments.get(tx, assignment_id)["assigned_agent"]):
        message = f"{stopped(message)} {refused}"
    attempts.failed(
        tx,
        assignment_id,
        code=error.code,
        message=message,
        tail=f"```\n{rest}\n```" if rest else "",
        exited_at=now,
        policy=policy,
        now=now,
        actor=ACTOR,
    )
