"""Assignments (``orchestrator_task``): a task given to an agent, until its work is merged or given up.

Each function changes the assignment, its task and what belongs to them in one transaction.
"""

import uuid

from . import agents, alerts, backoff, clock, events, states, tasks
from .errors import AlreadyAssigned, TaskNotCompleted
from .store import Row, Transaction


def get(tx: Transaction, assignment_id: str) -> Row:
    return tx.only("SELECT * FROM orchestrator_task WHERE orchestrator_task_id = ?", (assignment_id,))


def of_task(tx: Transaction, task_id: str) -> Row | None:
    """The task's assignment that is not given up, if there is one."""
    return tx.one(
        "SELECT * FROM orchestrator_task WHERE task_id = ? AND status NOT IN ('failed', 'cancelled')", (task_id,)
    )


def create(tx: Transaction, task: Row, *, agent_type: str, dispatch_id: str | None, now: str, actor: str) -> Row:
    """Give the task to an agent type. Raises AlreadyAssigned (G-17); one statement decides between rivals."""
    present = of_task(tx, task["task_id"])
    if present is not None:
        raise AlreadyAssigned(
            f"Task {task['task_id']} is {present['status']} already, by {present['agent_type']}.",
            hint="why(subject=…) tells how it stands.",
            task_id=task["task_id"],
            orchestrator_task_id=present["orchestrator_task_id"],
        )
    events.transition(
        tx, states.TASK, task["task_id"], "assigned", now=now, actor=actor, updated_at=now, assigned_agent=agent_type
    )
    row = tx.only(
        "INSERT INTO orchestrator_task (orchestrator_task_id, task_id, dispatch_id, spec_id, agent_type, priority, "
        "estimated_hours, next_prompt, assigned_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            f"ot-{uuid.uuid4().hex[:12]}",
            task["task_id"],
            dispatch_id,
            task["spec_id"],
            agent_type,
            task["priority"],
            task["estimated_hours"],
            _last_words(tx, task["task_id"]),
            now,
            now,
        ),
    )
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
    )
    return row


def open_again(tx: Transaction, task_id: str, *, now: str, actor: str) -> Row:
    """Give a task that failed to an agent of the same type again, with what was asked for it and a fresh count."""
    last = tx.only("SELECT * FROM orchestrator_task WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,))
    dispatch_id = tx.value(
        "SELECT dispatch_id FROM dispatch WHERE dispatch_id = ? AND status = 'active'", (last["dispatch_id"],)
    )
    tasks.release(tx, task_id, now=now, actor=actor, why=f"restarted by {actor}")
    row = create(
        tx, tasks.get(tx, task_id), agent_type=last["agent_type"], dispatch_id=dispatch_id, now=now, actor=actor
    )
    assignment_id = row["orchestrator_task_id"]
    tx.run(
        "UPDATE orchestrator_task SET metadata = ? WHERE orchestrator_task_id = ?", (last["metadata"], assignment_id)
    )
    log_restart(tx, row, code="restarted", attempt=0, delay=0.0, due=now, now=now)
    return get(tx, assignment_id)


def started(tx: Transaction, assignment_id: str, agent_id: str, *, now: str, actor: str) -> None:
    """An agent runs on it."""
    row = get(tx, assignment_id)
    events.transition(
        tx,
        states.ASSIGNMENT,
        assignment_id,
        "running",
        now=now,
        actor=actor,
        assigned_agent=agent_id,
        started_at=row["started_at"] or now,
        not_before=None,
    )
    events.transition(
        tx,
        states.TASK,
        row["task_id"],
        "in_progress",
        now=now,
        actor=actor,
        assigned_agent=agent_id,
        updated_at=now,
        started_at=row["started_at"] or now,
    )


def note(tx: Transaction, assignment_id: str, *, timeout_seconds: float) -> None:
    """Keep what was asked for this assignment in place of its agent type's setting."""
    tx.run(
        "UPDATE orchestrator_task SET metadata = json_set(metadata, '$.timeout_seconds', ?) "
        "WHERE orchestrator_task_id = ?",
        (timeout_seconds, assignment_id),
    )


def placed(tx: Transaction, assignment_id: str, *, path: str, branch: str) -> None:
    """Copy where it works, beside the tracker's record (C-22)."""
    tx.run(
        "UPDATE orchestrator_task SET worktree_path = ?, branch_name = ? WHERE orchestrator_task_id = ?",
        (path, branch, assignment_id),
    )


def attempt_failed(
    tx: Transaction,
    assignment_id: str,
    *,
    code: str,
    message: str,
    tail: str,
    exited_at: str,
    policy: backoff.Policy,
    now: str,
    actor: str,
    lasted: float = 0.0,
) -> backoff.Verdict:
    """An attempt failed after ``lasted`` seconds: wait for the next one, or give the task up (R-116, C-26).

    The delay counts from ``exited_at``. ``tail`` is what the next attempt is shown of this one's output.
    """
    row = get(tx, assignment_id)
    launches = agents.launches(tx, assignment_id)
    verdict = backoff.after_failure(code, row["retry_count"], policy, lasted=lasted, launches=launches)
    if verdict.delay_seconds is None:
        final = code if code in backoff.PERMANENT else "max_retries_exceeded"
        text = message if final == code else f"{message} Given up after {max(launches, verdict.attempt + 1)} attempts."
        give_up(tx, assignment_id, code=final, message=text, tail=tail, review=final != code, now=now, actor=actor)
        return verdict
    due = clock.plus(exited_at, verdict.delay_seconds)
    prompt = _prompt_after(row, message, tail)
    _wait_again(tx, row, why=message, not_before=due, prompt=prompt, now=now, actor=actor)
    tx.run(
        "UPDATE orchestrator_task SET retry_count = ?, error_code = ?, error_message = ? "
        "WHERE orchestrator_task_id = ?",
        (verdict.attempt, code, message, assignment_id),
    )
    log_restart(tx, row, code=code, attempt=verdict.attempt, delay=verdict.delay_seconds, due=due, now=now)
    return verdict


def wait(
    tx: Transaction, assignment_id: str, *, code: str, message: str, until: str | None, now: str, actor: str
) -> None:
    """Its agent ended for no fault of the task's: again, from ``until`` on, without counting a restart."""
    row = get(tx, assignment_id)
    said = f"An earlier attempt was cut off: {message}"
    before = row["next_prompt"] or ""
    prompt = before if said in before else f"{before}\n\n{said}".strip()
    _wait_again(tx, row, why=message, not_before=until, prompt=prompt, now=now, actor=actor)
    tx.run(
        "UPDATE orchestrator_task SET error_code = ?, error_message = ? WHERE orchestrator_task_id = ?",
        (code, message, assignment_id),
    )
    delay = clock.seconds_between(now, until) if until else 0.0
    log_restart(tx, row, code=code, attempt=row["retry_count"], delay=max(0.0, delay), due=until or now, now=now)


def begin_anew(tx: Transaction, assignment_id: str, *, now: str, actor: str) -> None:
    """Start the next attempt at once and count restarts from nought again (G-04: by hand)."""
    row = get(tx, assignment_id)
    tx.run(
        "UPDATE orchestrator_task SET retry_count = 0, not_before = NULL WHERE orchestrator_task_id = ?",
        (assignment_id,),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="assignment",
        subject_id=assignment_id,
        kind="assignment_begun_anew",
        task_id=row["task_id"],
    )


def send_back(
    tx: Transaction, assignment_id: str, *, code: str, message: str, prompt: str, limit: int, now: str, actor: str
) -> bool:
    """The work is done but cannot be merged: back to an agent, or to review after ``limit`` times.

    Returns whether an agent gets it.
    """
    row = get(tx, assignment_id)
    if row["rework_count"] >= limit:
        give_up(tx, assignment_id, code=code, message=message, review=True, now=now, actor=actor)
        return False
    _wait_again(tx, row, why=message, not_before=None, prompt=prompt, now=now, actor=actor)
    tx.run(
        "UPDATE orchestrator_task SET rework_count = rework_count + 1, error_code = ?, error_message = ? "
        "WHERE orchestrator_task_id = ?",
        (code, message, assignment_id),
    )
    log_restart(tx, row, code=code, attempt=row["rework_count"] + 1, delay=0.0, due=now, now=now)
    return True


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
) -> None:
    """End the assignment without its work; its worktree and branch stay, and the next one's agent is told why."""
    prompt = _prompt_after(get(tx, assignment_id), message, tail)
    row = events.transition(
        tx,
        states.ASSIGNMENT,
        assignment_id,
        "failed",
        now=now,
        actor=actor,
        why=message,
        error_code=code,
        error_message=message,
        next_prompt=prompt,
        completed_at=now,
    )
    tasks.fail(tx, row["task_id"], now=now, actor=actor, code=code, message=message, review=review)
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
    if not no_change:
        return None
    return tasks.complete(tx, row["task_id"], now=now, actor=actor, why="nothing was to be changed")


def merged(tx: Transaction, assignment_id: str, *, merge_commit: str, now: str, actor: str) -> tasks.Completion:
    """The work is on the integration branch: the task is completed, and what waited for it goes on."""
    row = events.transition(tx, states.ASSIGNMENT, assignment_id, "merged", now=now, actor=actor)
    return tasks.complete(tx, row["task_id"], now=now, actor=actor, why=f"merged as {merge_commit[:12]}")


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


def _last_words(tx: Transaction, task_id: str) -> str | None:
    """What the agent of a task's next assignment must know of the one before, whose worktree it may find."""
    text: str | None = tx.value(
        "SELECT next_prompt FROM orchestrator_task WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,)
    )
    return text


def _prompt_after(row: Row, message: str, tail: str) -> str:
    prompt = f"An earlier attempt at this task failed: {message}\n{tail}".rstrip()
    if row["rework_count"] and row["next_prompt"]:  # why it was sent back still holds
        prompt = f"{row['next_prompt']}\n\n{prompt}"
    return prompt


def _wait_again(
    tx: Transaction, row: Row, *, why: str, not_before: str | None, prompt: str, now: str, actor: str
) -> None:
    assignment_id, task_id = row["orchestrator_task_id"], row["task_id"]
    if row["status"] != "assigned":  # it is where no agent could be started at all
        events.transition(tx, states.ASSIGNMENT, assignment_id, "assigned", now=now, actor=actor, why=why)
    if tasks.get(tx, task_id)["status"] != "assigned":
        events.transition(tx, states.TASK, task_id, "assigned", now=now, actor=actor, why=why, updated_at=now)
    tx.run(
        "UPDATE orchestrator_task SET not_before = ?, next_prompt = ?, completed_at = NULL "
        "WHERE orchestrator_task_id = ?",
        (not_before, prompt, assignment_id),
    )


def log_restart(tx: Transaction, row: Row, *, code: str, attempt: int, delay: float, due: str, now: str) -> None:
    """Put a restart of this assignment's task down; the agent that follows is added when it is launched (R-174)."""
    last = agents.of_task(tx, row["task_id"])
    if last:
        tx.run(
            "INSERT INTO agent_restart_log (agent_id, task_id, reason, attempt_number, backoff_seconds, due_at, "
            "timestamp) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (last[-1]["agent_id"], row["task_id"], code, attempt, delay, due, now),
        )
