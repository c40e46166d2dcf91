"""What somebody decides of work that is not merged by itself: of a conflict, and of what was held back.

Each is one transaction, so that it survives the server that recorded it, and a refused one has changed nothing.
"""

import json
from typing import Literal

from . import agents, assignments, attempts, holds, merges, stages, states, tasks
from .errors import IllegalTransition, StillInUse
from .store import Row, Transaction

FILES_SHOWN = 10
Strategy = Literal["agent", "ours", "theirs", "abort"]


def resolve(tx: Transaction, task_id: str, strategy: Strategy, *, now: str, actor: str) -> Row:
    """Returns the merge request that tells what comes of it: a new one for ours and theirs, else the one in conflict.

    ours is the integration branch's side, theirs the task's, in what conflicts and in nothing else. Raises
    TaskNotFound, IllegalTransition where no conflict is to be resolved, StillInUse while an agent works on it.
    """
    conflict = _require_conflict(tx, task_id)
    _require_idle(tx, task_id)
    work = assignments.of_task(tx, task_id)
    if strategy == "abort":
        if work is not None:
            _abort(tx, work, conflict, now=now, actor=actor)
        return conflict
    if work is None:
        work = attempts.open_again(tx, task_id, now=now, actor=actor)
        _place(tx, work, conflict)
    if strategy == "agent":
        holds.lift_stop(tx, now=now, actor=actor)
        attempts.begin_rework(tx, work["orchestrator_task_id"], now=now, actor=actor)
        return conflict
    assignments.proven(tx, work["orchestrator_task_id"], no_change=False, now=now, actor=actor)
    return merges.enqueue_again(
        tx, work["orchestrator_task_id"], conflict, approved_by=actor, strategy=strategy, now=now, actor=actor
    )


def take(tx: Transaction, held: Row, *, approved_by: str, now: str, actor: str) -> Row:
    """Queue work as it is that was given up only for want of somebody's word."""
    work = attempts.open_again(tx, held["task_id"], now=now, actor=actor)
    _place(tx, work, held)
    assignments.proven(tx, work["orchestrator_task_id"], no_change=False, now=now, actor=actor)
    return merges.enqueue_again(tx, work["orchestrator_task_id"], held, approved_by=approved_by, now=now, actor=actor)


def _require_conflict(tx: Transaction, task_id: str) -> Row:
    task, last = tasks.get(tx, task_id), merges.latest(tx, task_id)
    if last is not None and last["status"] == "conflicted" and task["status"] not in ("completed", "cancelled"):
        return last
    merge = "has no merge" if last is None else f"has a merge that is {last['status']}"
    raise IllegalTransition(
        f"Task {task_id} is {task['status']} and {merge}; there is no conflict to resolve.",
        hint=f"why(subject='{task_id}') tells how it stands; worktrees(action='queue') shows what is to be merged.",
        task_id=task_id,
    )


def _require_idle(tx: Transaction, task_id: str) -> None:
    work = assignments.of_task(tx, task_id)
    agent = next((row for row in agents.of_task(tx, task_id) if row["status"] in states.LIVE_AGENT), None)
    if agent is not None:
        raise StillInUse(
            f"{agent['agent_id']} is resolving the conflict of task {task_id}.",
            hint=f"Wait for it, or agents(action='kill', agent_id='{agent['agent_id']}') first.",
            task_id=task_id,
            agent_id=agent["agent_id"],
        )
    if work is not None and work["status"] != "assigned":
        raise StillInUse(
            f"The agent of task {task_id} has ended, and its work is being looked at.",
            hint="Call again in a moment.",
            task_id=task_id,
        )


def _abort(tx: Transaction, work: Row, conflict: Row, *, now: str, actor: str) -> None:
    files = ", ".join(map(stages.quoted, json.loads(conflict["conflicted_files"])[:FILES_SHOWN]))
    message = f"{actor} gave up its merge into {conflict['target_branch']}, which conflicts in {files}."
    assignments.give_up(
        tx, work["orchestrator_task_id"], code="merge_conflicts", message=message, review=True, now=now, actor=actor
    )


def _place(tx: Transaction, work: Row, conflict: Row) -> None:
    """Where the work of an assignment that was given up lies, copied to the one that follows it."""
    path = tx.value(
        "SELECT worktree_path FROM orchestrator_task WHERE orchestrator_task_id = ?",
        (conflict["orchestrator_task_id"],),
    )
    assignments.placed(tx, work["orchestrator_task_id"], path=path, branch=conflict["branch_name"])
