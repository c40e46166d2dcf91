"""What comes after an attempt at a task: another one, now or later, or its end (R-116 to R-120)."""

import json
from collections.abc import Sequence
from dataclasses import replace

from . import agents, assignments, backoff, clock, error_events, events, failures, launches, notices, states, tasks
from .assignments import get
from .error_events import Note
from .recipients import LEAD
from .store import Row, Transaction
from .wording import stopped

# Nobody's judgement is asked for: the settings are to be mended, and why tells which.
UNREVIEWED = ("spawn_failed", "non_retryable_error")


def open_again(tx: Transaction, task_id: str, *, now: str, actor: str) -> Row:
    """Give a task that failed to an agent of the same type again, with what was asked for it and a fresh count."""
    last = tx.only("SELECT * FROM orchestrator_task WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,))
    dispatch_id = tx.value(
        "SELECT dispatch_id FROM dispatch WHERE dispatch_id = ? AND status = 'active'", (last["dispatch_id"],)
    )
    tasks.release(tx, task_id, now=now, actor=actor, why=f"restarted by {actor}")
    row = assignments.create(
        tx, tasks.get(tx, task_id), agent_type=last["agent_type"], dispatch_id=dispatch_id, now=now, actor=actor
    )
    assignment_id = row["orchestrator_task_id"]
    tx.run(
        "UPDATE orchestrator_task SET metadata = ? WHERE orchestrator_task_id = ?", (last["metadata"], assignment_id)
    )
    log_restart(tx, row, code="restarted", attempt=0, delay=0.0, due=now, now=now, actor=actor)
    return get(tx, assignment_id)


def failed(
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
    row, code = get(tx, assignment_id), failures.named(code, message)
    policy = policy_of(row, policy)
    made = launches.count(tx, assignment_id)
    verdict = backoff.after_failure(code, row["retry_count"], policy, lasted=lasted, launches=made)
    if verdict.delay_seconds is None:
        final = "max_retries_exceeded" if failures.of(code).retryable else code
        text = (
            message
            if final == code
            else f"{stopped(message)} Given up after {max(made, verdict.attempt + 1)} attempts."
        )
        assignments.give_up(
            tx, assignment_id, code=final, message=text, tail=tail, review=final not in UNREVIEWED, cause=code, now=now,
            actor=actor,
        )  # fmt: skip
        return verdict
    due = clock.plus(exited_at, verdict.delay_seconds)
    prompt = assignments.prompt_after(row, message, tail)
    _wait_again(tx, row, why=message, not_before=due, prompt=prompt, now=now, actor=actor)
    tx.run(
        "UPDATE orchestrator_task SET retry_count = ?, error_code = ?, error_message = ? "
        "WHERE orchestrator_task_id = ?",
        (verdict.attempt, code, message, assignment_id),
    )
    log_restart(tx, row, code=code, attempt=verdict.attempt, delay=verdict.delay_seconds, due=due, now=now, actor=actor)
    _record(tx, row, code, message, attempt=verdict.attempt, told=(LEAD,), now=now, actor=actor)
    then = f"Attempt {made + 1} starts in {verdict.delay_seconds:g} s, in the same worktree."
    notices.attempt_failed(tx, row["task_id"], code, message, then=then, now=now)
    return verdict


def policy_of(row: Row, usual: backoff.Policy) -> backoff.Policy:
    """How this assignment's failures are followed up: as was asked for it, else as usual."""
    asked = json.loads(row["metadata"])
    return replace(
        usual,
        max_restarts=int(asked.get("max_restarts", usual.max_restarts)),
        base=asked.get("backoff_seconds", usual.base),
        cap=asked.get("backoff_cap_seconds", usual.cap),
    )


def wait(
    tx: Transaction,
    assignment_id: str,
    *,
    code: str,
    message: str,
    until: str | None,
    now: str,
    actor: str,
    told: Sequence[str] = (),
) -> None:
    """Its agent ended for no fault of the task's: again, from ``until`` on, without counting a restart.

    ``told`` are the mailboxes that learn of it otherwise.
    """
    row = get(tx, assignment_id)
    said = f"An earlier attempt was cut off: {message}"
    before = row["next_prompt"] or ""
    prompt = before if said in before else f"{before}\n\n{said}".strip()
    _wait_again(tx, row, why=message, not_before=until, prompt=prompt, now=now, actor=actor)
    tx.run(
        "UPDATE orchestrator_task SET error_code = ?, error_message = ? WHERE orchestrator_task_id = ?",
        (code, message, assignment_id),
    )
    if code in failures.BY_CODE:  # that somebody wanted it started anew is no error
        _record(tx, row, code, message, attempt=row["retry_count"], told=told, now=now, actor=actor)
    delay = clock.seconds_between(now, until) if until else 0.0
    log_restart(
        tx, row, code=code, attempt=row["retry_count"], delay=max(0.0, delay), due=until or now, now=now, actor=actor
    )


def begin_anew(tx: Transaction, assignment_id: str, *, now: str, actor: str) -> None:
    """Start the next attempt at once and count restarts from nought again (G-04: by hand).

    Where the task was only reserved, that is what its agent was waited for.
    """
    row = get(tx, assignment_id)
    if assignments.is_reserved(row):
        assignments.take_up(tx, row, agent_type=row["agent_type"], instance_id=None, now=now, actor=actor)
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


def schedule(tx: Transaction, row: Row, policy: backoff.Policy, *, now: str, actor: str) -> None:
    """Have a restart that waits for its time come after the delay of this policy, counted from the exit."""
    last = agents.of_task(tx, row["task_id"])
    ended = last[-1]["completed_at"] if last else None
    due = clock.plus(ended or now, backoff.delay(max(1, row["retry_count"]), policy.base, policy.cap))
    tx.run(
        "UPDATE orchestrator_task SET not_before = ? WHERE orchestrator_task_id = ?", (due, row["orchestrator_task_id"])
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="assignment",
        subject_id=row["orchestrator_task_id"],
        kind="assignment_restart_scheduled",
        task_id=row["task_id"],
        due=due,
    )


def retries_of(tx: Transaction, task_id: str) -> int:
    """Restarts after failures of the task's last assignment."""
    sql = "SELECT retry_count FROM orchestrator_task WHERE task_id = ? ORDER BY rowid DESC LIMIT 1"
    return int(tx.value(sql, (task_id,)) or 0)


def begin_rework(tx: Transaction, assignment_id: str, *, now: str, actor: str) -> None:
    """As ``begin_anew``, for work that cannot be merged: the attempt that follows is the first again."""
    begin_anew(tx, assignment_id, now=now, actor=actor)
    tx.run("UPDATE orchestrator_task SET rework_count = 1 WHERE orchestrator_task_id = ?", (assignment_id,))


def send_back(
    tx: Transaction,
    assignment_id: str,
    *,
    code: str,
    message: str,
    prompt: str,
    limit: int,
    now: str,
    actor: str,
    files: Sequence[str] = (),
) -> bool:
    """The work is done but cannot be merged: back to an agent, or to review after ``limit`` times.

    Returns whether an agent gets it.
    """
    row = get(tx, assignment_id)
    if row["rework_count"] >= limit:
        assignments.give_up(
            tx, assignment_id, code=code, message=message, tail=prompt, review=True, now=now, actor=actor
        )
        return False
    _wait_again(tx, row, why=message, not_before=None, prompt=prompt, now=now, actor=actor)
    tx.run(
        "UPDATE orchestrator_task SET rework_count = rework_count + 1, error_code = ?, error_message = ? "
        "WHERE orchestrator_task_id = ?",
        (code, message, assignment_id),
    )
    times = row["rework_count"] + 1
    _record(tx, row, code, message, attempt=times, told=(LEAD,), files=files, now=now, actor=actor)
    log_restart(tx, row, code=code, attempt=times, delay=0.0, due=now, now=now, actor=actor)
    then = f"It goes back to an agent, {times} of at most {limit} times."
    notices.attempt_failed(tx, row["task_id"], code, message, then=then, now=now)
    return True


def _record(
    tx: Transaction,
    row: Row,
    code: str,
    message: str,
    *,
    attempt: int,
    told: Sequence[str] = (),
    files: Sequence[str] = (),
    now: str,
    actor: str,
) -> None:
    """What follows by itself is on its way."""
    error = Note(code, message, "recovering", row["task_id"], files=files, attempt=attempt, told=told)
    error_events.note(tx, error, now=now, actor=actor)


def _wait_again(
    tx: Transaction, row: Row, *, why: str, not_before: str | None, prompt: str, now: str, actor: str
) -> None:
    assignment_id, task_id = row["orchestrator_task_id"], row["task_id"]
    if row["status"] != "assigned":  # it is where no agent could be started at all
        events.change(tx, states.ASSIGNMENT, assignment_id, "assigned", now=now, actor=actor, why=why)
    if tasks.get(tx, task_id)["status"] != "assigned":
        events.change(tx, states.TASK, task_id, "assigned", now=now, actor=actor, why=why, updated_at=now)
    tx.run(
        "UPDATE orchestrator_task SET not_before = ?, next_prompt = ?, completed_at = NULL "
        "WHERE orchestrator_task_id = ?",
        (not_before, prompt, assignment_id),
    )


def log_restart(
    tx: Transaction, row: Row, *, code: str, attempt: int, delay: float, due: str, now: str, actor: str
) -> None:
    """Put a restart of this assignment's task down; the agent that follows is added when it is launched (R-174)."""
    last = agents.of_task(tx, row["task_id"])
    if last:
        agent_id = last[-1]["agent_id"]
        tx.run(
            "INSERT INTO agent_restart_log (agent_id, task_id, reason, attempt_number, backoff_seconds, due_at, "
            "timestamp) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (agent_id, row["task_id"], code, attempt, delay, due, now),
        )
        events.record(
            tx, now=now, actor=actor, subject_type="agent", subject_id=agent_id, kind="agent_restart_scheduled",
            task_id=row["task_id"], code=code, attempt=attempt, backoff_seconds=delay, due_at=due,
        )  # fmt: skip
