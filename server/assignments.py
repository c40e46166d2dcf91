"""Assignments (``orchestrator_task``): a task given to an agent, until its work is merged or given up.

Each function changes the assignment, its task and what belongs to them in one transaction.
"""

import json
import uuid
from collections.abc import Sequence

from . import agents, alerts, error_events, events, notices, recipients, states, tasks
from .error_events import Note
from .errors import AlreadyAssigned, NoAvailableWork, TaskNotCompleted
from .store import Row, Transaction

_CONFLICTED = "SELECT conflicted_files FROM merge_request WHERE task_id = ? ORDER BY merge_id DESC LIMIT 1"
_UNRESERVED = "json_extract(o.metadata, '$.reserved') IS NULL"


def get(tx: Transaction, assignment_id: str) -> Row:
    return tx.only("SELECT * FROM orchestrator_task WHERE orchestrator_task_id = ?", (assignment_id,))


def of_task(tx: Transaction, task_id: str) -> Row | None:
    """The task's assignment that is not given up, if there is one."""
    return tx.one(
        "SELECT * FROM orchestrator_task WHERE task_id = ? AND status NOT IN ('failed', 'cancelled')", (task_id,)
    )


def create(
    tx: Transaction,
    task: Row,
    *,
    agent_type: str,
    dispatch_id: str | None,
    now: str,
    actor: str,
    reserved: bool = False,
    instance_id: str | None = None,
    to_worker: bool = False,
) -> Row:
    """Give the task to an agent type. Raises AlreadyAssigned (G-17); one statement decides between rivals.

    ``reserved``: no agent is started for it before somebody asks for one (``take_up``). A task of a project in a
    queue goes ``to_worker`` only; raises NoAvailableWork for anybody else.
    """
    if not to_worker:
        refuse_queued(tx, [task["task_id"]])
    present = of_task(tx, task["task_id"])
    if present is not None:
        raise AlreadyAssigned(
            f"Task {task['task_id']} is {present['status']} already, by {present['agent_type']}.",
            hint="why(subject=…) tells how it stands.",
            task_id=task["task_id"],
            orchestrator_task_id=present["orchestrator_task_id"],
        )
    events.change(
        tx, states.TASK, task["task_id"], "assigned", now=now, actor=actor, updated_at=now, assigned_agent=agent_type
    )
    row = tx.only(
        "INSERT INTO orchestrator_task (orchestrator_task_id, task_id, dispatch_id, spec_id, agent_type, priority, "
        "estimated_hours, next_prompt, orchestrator_instance_id, metadata, assigned_at, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            f"ot-{uuid.uuid4().hex[:12]}",
            task["task_id"],
            dispatch_id,
            task["spec_id"],
            agent_type,
            task["priority"],
            task["estimated_hours"],
            _last_words(tx, task["task_id"]),
            instance_id,
            json.dumps({"reserved": True} if reserved else {}),
            now,
            now,
        ),
    )
    if not reserved:
        error_events.go_on(tx, task["task_id"], f"given to {agent_type}", now=now, actor=actor)
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="assignment",
        subject_id=row["orchestrator_task_id"],
        kind="assignment_assigned",
        to_state="assigned",
        task_id=task["task_id"],
        agent_type=agent_type,
        dispatch=dispatch_id,
        **({"orchestrator_instance_id": instance_id} if instance_id else {}),
    )
    return row


def refuse_queued(tx: Transaction, task_ids: Sequence[str]) -> None:
    """Raises NoAvailableWork for the first task that is a project's in some queue: its workers get it."""
    row = tx.one(
        "SELECT task_id, project_id, workflow FROM queue_item WHERE task_id IN (SELECT value FROM json_each(?)) "
        "AND status IN ('waiting', 'held', 'review') LIMIT 1",
        (json.dumps(list(task_ids)),),
    )
    if row is not None:
        raise NoAvailableWork(
            f"Task {row['task_id']} is of project {row['project_id']}, in the queue of {row['workflow']}: a worker "
            "gets it.",
            hint=f"why(subject={row['project_id']!r}) tells how it stands.",
            task_id=row["task_id"],
            project_id=row["project_id"],
        )


def take_up(tx: Transaction, row: Row, *, agent_type: str, instance_id: str | None, now: str, actor: str) -> Row:
    """A reserved assignment waits for its agent from now on, which is of this type."""
    tx.run(
        "UPDATE orchestrator_task SET metadata = json_remove(metadata, '$.reserved'), agent_type = ?, "
        "orchestrator_instance_id = coalesce(?, orchestrator_instance_id) WHERE orchestrator_task_id = ?",
        (agent_type, instance_id, row["orchestrator_task_id"]),
    )
    error_events.go_on(tx, row["task_id"], f"given to {agent_type}", now=now, actor=actor)
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="assignment",
        subject_id=row["orchestrator_task_id"],
        kind="assignment_taken_up",
        task_id=row["task_id"],
        agent_type=agent_type,
    )
    return get(tx, row["orchestrator_task_id"])


def release_reserved(tx: Transaction, task_ids: Sequence[str], *, now: str, actor: str) -> None:
    """Give those of the tasks back to the plan that are reserved: somebody works them off in another way."""
    for row in tx.all(
        f"SELECT orchestrator_task_id FROM orchestrator_task o WHERE status = 'assigned' AND NOT ({_UNRESERVED}) "
        "AND task_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(task_ids)),),
    ):
        release(tx, row["orchestrator_task_id"], why="it was reserved, and is worked off now", now=now, actor=actor)


def is_reserved(row: Row) -> bool:
    """Whether an assignment waits for somebody to ask for its agent."""
    return row["status"] == "assigned" and "reserved" in json.loads(row["metadata"])


def started(tx: Transaction, assignment_id: str, agent_id: str, *, now: str, actor: str) -> None:
    """An agent runs on it."""
    row = get(tx, assignment_id)
    events.change(
        tx,
        states.ASSIGNMENT,
        assignment_id,
        "running",
        now=now,
        actor=actor,
        facts={"task_id": row["task_id"], "agent_id": agent_id},
        assigned_agent=agent_id,
        started_at=row["started_at"] or now,
        not_before=None,
    )
    events.change(
        tx,
        states.TASK,
        row["task_id"],
        "in_progress",
        now=now,
        actor=actor,
        facts={"agent_id": agent_id},
        assigned_agent=agent_id,
        updated_at=now,
        started_at=row["started_at"] or now,
    )


def note(tx: Transaction, assignment_id: str, **asked: float | None) -> None:
    """Keep what was asked for this assignment in place of the settings: ``timeout_seconds`` of its agents,
    ``max_restarts``, ``backoff_seconds`` and ``backoff_cap_seconds``; None leaves what there is."""
    given = {key: value for key, value in asked.items() if value is not None}
    tx.run(
        "UPDATE orchestrator_task SET metadata = json_patch(metadata, ?) WHERE orchestrator_task_id = ?",
        (json.dumps(given), assignment_id),
    )


def tell(tx: Transaction, assignment_id: str, text: str) -> None:
    """What its next agent is to know besides, of what came before."""
    tx.run(
        "UPDATE orchestrator_task SET next_prompt = trim(coalesce(next_prompt, '') || char(10, 10) || ?, char(10)) "
        "WHERE orchestrator_task_id = ?",
        (text, assignment_id),
    )


def placed(tx: Transaction, assignment_id: str, *, path: str, branch: str) -> None:
    """Copy where it works, beside the tracker's record (C-22)."""
    tx.run(
        "UPDATE orchestrator_task SET worktree_path = ?, branch_name = ? WHERE orchestrator_task_id = ?",
        (path, branch, assignment_id),
    )


def give_up(
    tx: Transaction,
    assignment_id: str,
    *,
    code: str,
    message: str,
    review: bool,
    now: str,
    actor: str,
    tail: str = "",
    cause: str | None = None,
) -> None:
    """End the assignment without its work; its worktree and branch stay, and the next one's agent is told why.

    ``cause`` is the code of what went wrong, where ``code`` only says that it did so too often.
    """
    prompt = prompt_after(get(tx, assignment_id), message, tail)
    row = events.transition(
        tx,
        states.ASSIGNMENT,
        assignment_id,
        "failed",
        now=now,
        actor=actor,
        why=message,
        facts={"code": code},
        error_code=code,
        error_message=message,
        next_prompt=prompt,
        completed_at=now,
    )
    tasks.fail(tx, row["task_id"], now=now, actor=actor, code=code, message=message, review=review)
    error_events.escalate_all(tx, row["task_id"], message, now=now, actor=actor)
    if code != "killed":  # that somebody ended it is no error
        _record(tx, row["task_id"], cause or code, message, review=review, now=now, actor=actor)
    if review:
        alerts.alert(
            tx,
            "critical",
            f"Task {row['task_id']} needs a person",
            message,
            now=now,
            task_id=row["task_id"],
            code=code,
            attempts=agents.history(tx, assignment_id),
        )
    else:
        then = "It is given up: why(subject=…) tells more, plan(action='update') opens it again."
        notices.attempt_failed(tx, row["task_id"], code, message, then=then, now=now)


def _record(tx: Transaction, task_id: str, code: str, message: str, *, review: bool, now: str, actor: str) -> None:
    """Nothing follows by itself any more; the lead, and where it is for review the administrator, are told besides."""
    error = Note(
        code,
        message,
        "escalated" if review else "open",
        task_id,
        files=json.loads(tx.value(_CONFLICTED, (task_id,)) or "[]") if code == "merge_conflicts" else [],
        escalation_level="critical" if review else None,
        told=(recipients.LEAD, alerts.ADMINISTRATOR) if review else (recipients.LEAD,),
    )
    error_events.note(tx, error, now=now, actor=actor)


def release(tx: Transaction, assignment_id: str, *, why: str, now: str, actor: str) -> None:
    """Take the task back from its agent without blame; the plan offers it again."""
    row = events.transition(
        tx, states.ASSIGNMENT, assignment_id, "cancelled", now=now, actor=actor, why=why, completed_at=now
    )
    tasks.release(tx, row["task_id"], now=now, actor=actor, why=why)


def proven(tx: Transaction, assignment_id: str, *, no_change: bool, now: str, actor: str) -> tasks.Completion | None:
    """The evidence holds. Where nothing was to be changed the task is completed with it, otherwise by its merge."""
    row = events.transition(
        tx,
        states.ASSIGNMENT,
        assignment_id,
        "completed",
        now=now,
        actor=actor,
        completed_at=now,
        no_change=int(no_change),
        next_prompt=None,
        error_code=None,
        error_message=None,
    )
    error_events.resolve(tx, row["task_id"], "the evidence of its work holds", now=now, actor=actor)
    if not no_change:
        return None
    return _complete(tx, row["task_id"], why="nothing was to be changed", now=now, actor=actor)


def merged(tx: Transaction, assignment_id: str, *, merge_commit: str, now: str, actor: str) -> tasks.Completion:
    """The work is on the integration branch: the task is completed, and what waited for it goes on."""
    row = events.transition(tx, states.ASSIGNMENT, assignment_id, "merged", now=now, actor=actor)
    return _complete(tx, row["task_id"], why=f"merged as {merge_commit[:12]}", now=now, actor=actor)


def _complete(tx: Transaction, task_id: str, *, why: str, now: str, actor: str) -> tasks.Completion:
    done = tasks.complete(tx, task_id, now=now, actor=actor, why=why)
    notices.completed(tx, task_id, done.unblocked, now=now, actor=actor)
    return done


def require_proven(tx: Transaction, task_id: str) -> Row:
    """The task's assignment whose work may be merged. Raises TaskNotCompleted."""
    tasks.get(tx, task_id)
    row = of_task(tx, task_id)
    if row is None or row["status"] not in ("completed", "merged"):
        raise TaskNotCompleted(
            f"Task {task_id} is {row['status'] if row else 'not assigned'}; there is nothing proven to merge.",
            hint="why(subject=…) tells what it waits for.",
            task_id=task_id,
        )
    return row


def waiting(tx: Transaction, *, now: str) -> list[Row]:
    """Assignments that an agent is to be started for now, those longest due first."""
    return tx.all(
        "SELECT o.* FROM orchestrator_task o LEFT JOIN dispatch d USING (dispatch_id) WHERE o.status = 'assigned' "
        f"AND {_UNRESERVED} "
        "AND (o.not_before IS NULL OR o.not_before <= ?) AND coalesce(d.status, 'active') = 'active' "
        "AND NOT EXISTS (SELECT 1 FROM agent_lifecycle a WHERE a.orchestrator_task_id = o.orchestrator_task_id "
        "AND a.status IN ('starting', 'running')) "
        "ORDER BY coalesce(o.not_before, o.assigned_at), o.priority, o.task_id",
        (now,),
    )


def at_work(tx: Transaction) -> list[Row]:
    """Assignments that a live agent works on."""
    return tx.all(
        "SELECT o.* FROM orchestrator_task o WHERE EXISTS (SELECT 1 FROM agent_lifecycle a "
        "WHERE a.orchestrator_task_id = o.orchestrator_task_id AND a.status IN ('starting', 'running'))"
    )


def is_waiting(tx: Transaction, assignment_id: str) -> bool:
    """Whether an agent is still to be started for it."""
    return bool(
        tx.value(
            "SELECT 1 FROM orchestrator_task o WHERE orchestrator_task_id = ? AND status = 'assigned' "
            "AND NOT EXISTS (SELECT 1 FROM agent_lifecycle a WHERE a.orchestrator_task_id = o.orchestrator_task_id "
            "AND a.status IN ('starting', 'running'))",
            (assignment_id,),
        )
    )


def next_due(tx: Transaction, *, now: str) -> str | None:
    """When the next delayed restart is due."""
    due: str | None = tx.value(
        "SELECT min(not_before) FROM orchestrator_task WHERE status = 'assigned' AND not_before > ?", (now,)
    )
    return due


def unproven(tx: Transaction) -> list[Row]:
    """Running assignments whose agent has ended well: their evidence is to be looked at."""
    return tx.all(
        "SELECT o.* FROM orchestrator_task o JOIN agent_lifecycle a ON a.agent_id = o.assigned_agent "
        "WHERE o.status = 'running' AND a.status = 'completed' ORDER BY a.completed_at"
    )


def is_being_proven(tx: Transaction, task_id: str) -> bool:
    """Whether the task's agent has ended well and its evidence is still to be looked at."""
    return any(row["task_id"] == task_id for row in unproven(tx))


def _last_words(tx: Transaction, task_id: str) -> str | None:
    """What the agent of a task's next assignment must know of the one before, whose worktree it may find."""
    text: str | None = tx.value(
        "SELECT next_prompt FROM orchestrator_task WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,)
    )
    return text


def prompt_after(row: Row, message: str, tail: str) -> str:
    prompt = f"An earlier attempt at this task failed: {message}\n{tail}".rstrip()
    if row["rework_count"] and row["next_prompt"]:  # why it was sent back still holds
        prompt = f"{row['next_prompt']}\n\n{prompt}"
    return prompt
