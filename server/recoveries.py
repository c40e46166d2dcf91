"""What somebody does about an error: its class's strategy, another attempt, or a call for a person (R-158 to R-161).

Each is one transaction over the units of work that start tasks again elsewhere; there is no other way to do that here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from . import assignments, error_events, events, failures, holds, launches, restarts, states, tasks
from .errors import IllegalTransition, MaxRetriesExceeded, NonRetryable
from .failures import Severity
from .restarts import Asked
from .store import Row, Transaction
from .wording import cut

Strategy = Literal["automatic_retry", "manual_intervention", "fallback_path"]
FILES_NAMED = 20
SAID_LENGTH = 600


@dataclass(frozen=True)
class Means:
    """What a recovery may use. ``fallback`` is the type of agent that is tried in place of another one."""

    retry_max: int
    grace_seconds: float
    fallback: str | None
    instances: int | None
    everywhere: bool


@dataclass(frozen=True)
class Escalation:
    """``told`` are the mailboxes that were told now: none where all were before."""

    level: Severity
    message: str
    files: list[str]
    told: list[str]


@dataclass(frozen=True)
class Recovery:
    """The wish for the task's next agent; ``is_news`` is false where the same was wished for already."""

    asked: Asked
    is_news: bool = True


@dataclass(frozen=True)
class Handled:
    """What came of handling an error: ``recovery`` where its task is started anew, ``escalation`` where a person is
    called, neither where nothing was done: something follows by itself, or its task waits for somebody."""

    action: str
    attempt: int
    occurred: int
    next_attempt_at: str | None = None
    recovery: Recovery | None = None
    escalation: Escalation | None = None


def meant(tx: Transaction, error_id: str | None, task_id: str | None) -> Row:
    """The error of that id, or the last one of the task. Raises ErrorNotFound, TaskNotFound."""
    if error_id:
        return error_events.get(tx, error_id)
    return error_events.of_task(tx, tasks.get(tx, task_id or "")["task_id"])


def types_of(tx: Transaction, error: Row, strategy: Strategy, fallback: str | None) -> set[str]:
    """The types of agent that recovering from the error would start."""
    if strategy == "fallback_path":
        return {fallback} if fallback else set()
    last = _last_type(tx, error["task_id"])
    return {last} if last else set()


def other_type(tx: Transaction, error: Row, known: Sequence[str]) -> str | None:
    """The first of the ``known`` types of agent that did not have the error's task last."""
    last = _last_type(tx, error["task_id"])
    return next((name for name in known if name != last), None)


def handle(
    tx: Transaction,
    error_id: str | None,
    task_id: str | None,
    *,
    threshold: int,
    means: Means,
    now: str,
    actor: str,
) -> Handled:
    """Do what the error's class asks for: let another attempt follow, or call a person.

    A person is called too where the same has happened to the task more than ``threshold`` times.
    """
    error = _open(meant(tx, error_id, task_id))
    occurred = error_events.occurred(tx, error)
    if not error["retryable"] or occurred > threshold or error["task_id"] is None:
        level = failures.graver(error["severity"], "high")
        called = escalate(tx, error["error_id"], None, level, now=now, actor=actor)
        return Handled("escalate", error["attempt"], occurred, escalation=called)
    task = tasks.get(tx, error["task_id"])
    if task["status"] == "failed":
        recovery = recover(tx, error["error_id"], None, "automatic_retry", means=means, now=now, actor=actor)
        return Handled(error["recovery_action"], error["attempt"] + 1, occurred, recovery=recovery)
    due = _due(tx, task["task_id"], now)
    return Handled(error["recovery_action"], error["attempt"], occurred, next_attempt_at=due)


def recover(
    tx: Transaction,
    error_id: str | None,
    task_id: str | None,
    strategy: Strategy,
    *,
    means: Means,
    now: str,
    actor: str,
) -> Recovery:
    """Start the error's task anew: as it was (``automatic_retry``, where its class is worth that), after somebody has
    mended the cause (``manual_intervention``), or with another type of agent (``fallback_path``).

    What was wished for already, and waits for its agent, is left as it is. Raises ErrorNotFound, IllegalTransition,
    NonRetryable, MaxRetriesExceeded, and what starting a task raises.
    """
    error = _open(meant(tx, error_id, task_id))
    task_id = _require_recoverable(tx, error, strategy, means)
    if (work := _wished(tx, task_id, strategy, now)) is not None:
        holds.lift_stop(tx, now=now, actor=actor)
        return Recovery(restarts.asked_of_task(tx, work, work["error_message"]), is_news=False)
    if strategy == "fallback_path":
        asked = restarts.with_another(
            tx, task_id, means.fallback or "", limit=means.instances, everywhere=means.everywhere, now=now, actor=actor
        )
    else:
        asked = restarts.of_task(tx, task_id, grace_seconds=means.grace_seconds, now=now, actor=actor)
    error_events.recovered(tx, task_id)
    error_events.go_on(tx, task_id, f"{strategy} by {actor}", now=now, actor=actor)
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type=states.ERROR.subject,
        subject_id=error["error_id"],
        kind="error_recovery",
        strategy=strategy,
        task_id=task_id,
    )
    return Recovery(asked)


def escalate(
    tx: Transaction, error_id: str | None, task_id: str | None, level: Severity, *, now: str, actor: str
) -> Escalation:
    """Call whom an error of ``level`` concerns, once. What follows by itself goes on. Raises ErrorNotFound."""
    error = _open(meant(tx, error_id, task_id))
    before = error["escalation_level"]
    if error["status"] != "escalated":
        events.change(
            tx, states.ERROR, error["error_id"], "escalated", have=error["status"], now=now, actor=actor,
            why=f"escalated by {actor}",
        )  # fmt: skip
    files, message = _files(tx, error), _message(tx, error, level)
    is_news = before is None or failures.graver(before, level) != before
    if is_news:
        tx.run("UPDATE error_events SET escalation_level = ? WHERE error_id = ?", (level, error["error_id"]))
    told = error_events.tell(tx, error, level, message=message, now=now, files=files) if is_news else []
    return Escalation(level if is_news else before, message, files, told)


def _open(error: Row) -> Row:
    if error["status"] == "resolved":
        raise IllegalTransition(
            f"Error {error['error_id']} is resolved since {error['resolved_at']}: {error['resolution']}.",
            hint="handle_agent_errors(action='detect') lists those that are not.",
            error_id=error["error_id"],
        )
    return error


def _require_recoverable(tx: Transaction, error: Row, strategy: Strategy, means: Means) -> str:
    task_id: str | None = error["task_id"]
    if task_id is None:
        raise NonRetryable(
            f"Error {error['error_id']} ({error['error_class']}) is of no task that could be started anew.",
            hint="detect_deadlocks(action='detect') tells the ways out of a deadlock.",
            error_id=error["error_id"],
        )
    if strategy == "automatic_retry" and not error["retryable"]:
        raise NonRetryable(
            f"Trying again does not mend this ({error['error_class']}): {cut(error['message'], SAID_LENGTH)}",
            hint="Mend the cause, then recovery_strategy='manual_intervention'; or 'fallback_path'.",
            error_id=error["error_id"],
            task_id=task_id,
        )
    if strategy == "fallback_path" and means.fallback is None:
        raise NonRetryable(
            f"No other type of agent is configured that could take task {task_id}.",
            hint="Add one under [agents] in crewyard.toml, or recovery_strategy='manual_intervention'.",
            task_id=task_id,
        )
    if (made := error_events.recoveries(tx, task_id)) >= means.retry_max:
        raise MaxRetriesExceeded(
            f"Task {task_id} was recovered {made} times since it last went on; retry_max is {means.retry_max}.",
            hint=f"handle_agent_errors(action='escalate', task_id='{task_id}') calls a person.",
            task_id=task_id,
        )
    return task_id


def _wished(tx: Transaction, task_id: str, strategy: Strategy, now: str) -> Row | None:
    """The assignment by which the same recovery waits for its agent already."""
    work = assignments.of_task(tx, task_id)
    if work is None or not error_events.is_recovered(tx, task_id):
        return None
    is_due = assignments.is_waiting(tx, work["orchestrator_task_id"]) and (work["not_before"] or now) <= now
    if not is_due or assignments.is_reserved(work):
        return None
    if strategy != "fallback_path":
        return work
    before = tx.value(
        "SELECT agent_type FROM orchestrator_task WHERE task_id = ? AND rowid < "
        "(SELECT rowid FROM orchestrator_task WHERE orchestrator_task_id = ?) ORDER BY rowid DESC LIMIT 1",
        (task_id, work["orchestrator_task_id"]),
    )
    is_untried = launches.count(tx, work["orchestrator_task_id"]) == 0
    return work if is_untried and before not in (None, work["agent_type"]) else None


def _due(tx: Transaction, task_id: str, now: str) -> str | None:
    """When the task's next agent is to start, where that is a time to come and nothing without an end holds it."""
    work = assignments.of_task(tx, task_id)
    if work is None or work["status"] != "assigned":
        return None
    paused = tx.value("SELECT 1 FROM dispatch WHERE dispatch_id = ? AND status = 'paused'", (work["dispatch_id"],))
    hold = holds.in_force(tx, work["agent_type"], now)
    if paused or (hold is not None and hold["until"] is None):
        return None
    due: str = max(work["not_before"] or "", hold["until"] if hold is not None else "")
    return due if due > now else None


def _last_type(tx: Transaction, task_id: str | None) -> str | None:
    value: str | None = tx.value(
        "SELECT agent_type FROM orchestrator_task WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,)
    )
    return value


def _files(tx: Transaction, error: Row) -> list[str]:
    """What conflicts, and what its task says that it touches."""
    task = tx.one("SELECT * FROM specs_task WHERE task_id = ?", (error["task_id"],))
    of_task = tasks.files_of(task) if task is not None else ()
    return list(dict.fromkeys([*json.loads(error["files"]), *of_task]))[:FILES_NAMED]


def _message(tx: Transaction, error: Row, level: Severity) -> str:
    kind = error["error_class"].replace("_", " ")
    about = f" of task {error['task_id']}" if error["task_id"] else ""
    by = f", last agent {error['agent_id']}" if error["agent_id"] else ""
    times = error_events.occurred(tx, error)
    often = f", {times} times" if times > 1 else ""
    return f"{level.capitalize()}: {kind}{about}{by}{often}, since {error['timestamp']}. {error['message']}"
