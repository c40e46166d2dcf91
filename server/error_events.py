"""What went wrong, kept for good: recorded, told and resolved in the transaction that it is about (R-158 to R-162).

Nothing here decides whether an attempt is followed by another; ``failures`` and ``backoff`` do, and what they said is
put down.
"""

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from . import alerts, events, failures, states
from .errors import ErrorNotFound
from .failures import Severity
from .store import Row, Transaction
from .wording import cut

MESSAGE_LENGTH = 2_000
UNRESOLVED = ("open", "recovering", "escalated")
_LAST = "SELECT max(rowid) FROM error_events WHERE task_id = :task AND status <> 'resolved'"


@dataclass(frozen=True)
class Note:
    """One error. ``told`` are the mailboxes that the same transaction tells of it in another message."""

    code: str
    message: str
    status: str
    task_id: str | None = None
    agent_id: str | None = None
    subject: str | None = None
    files: Sequence[str] = ()
    attempt: int = 0
    severity: Severity | None = None
    escalation_level: Severity | None = None
    told: Collection[str] = ()


def note(tx: Transaction, error: Note, *, now: str, actor: str) -> str:
    """Record an error and tell whom it concerns; returns its id.

    Of a kind of error that its task has unresolved already nobody is told again.
    """
    kind, error_id = failures.of(error.code), f"err-{uuid.uuid4().hex[:12]}"
    severity = error.severity or kind.severity
    is_known = _is_known(tx, error, kind.name)
    tx.run(
        "INSERT INTO error_events (error_id, status, error_class, error_code, severity, retryable, recovery_action, "
        "message, agent_id, task_id, subject, files, attempt, escalation_level, timestamp) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            error_id,
            error.status,
            kind.name,
            error.code,
            severity,
            int(kind.retryable),
            kind.strategy,
            cut(error.message, MESSAGE_LENGTH),
            error.agent_id or last_agent(tx, error.task_id),
            error.task_id,
            error.subject,
            json.dumps(list(error.files)),
            error.attempt,
            error.escalation_level,
            now,
        ),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type=states.ERROR.subject,
        subject_id=error_id,
        kind=f"error_{error.status}",
        to_state=error.status,
        error_class=kind.name,
        severity=severity,
        task_id=error.task_id,
    )
    level = failures.graver(severity, error.escalation_level or severity)
    if not is_known or error.status == "escalated":
        tell(tx, get(tx, error_id), level, told=error.told, now=now)
    return error_id


def note_once(tx: Transaction, error: Note, *, now: str, actor: str) -> str | None:
    """As ``note``, but for what is known and not resolved."""
    known = _is_known(tx, error, failures.of(error.code).name)
    return None if known else note(tx, error, now=now, actor=actor)


def tell(
    tx: Transaction,
    error: Row,
    level: Severity,
    *,
    message: str = "",
    told: Collection[str] = (),
    files: Sequence[str] = (),
    now: str,
) -> list[str]:
    """Tell of an error whom its ``level`` concerns, but for who is ``told`` otherwise; returns the mailboxes."""
    about = error["task_id"] or error["subject"] or error["agent_id"] or "this repository"
    return alerts.of_error(
        tx,
        level,
        f"{error['error_class'].replace('_', ' ').capitalize()}: {cut(about, 200)}",
        message or error["message"],
        told=told,
        now=now,
        error_id=error["error_id"],
        task_id=error["task_id"],
        agent=error["agent_id"],
        recovery_action=error["recovery_action"],
        **({"files": list(files)} if files else {}),
        next=f"handle_agent_errors(action='handle', error_id='{error['error_id']}')",
    )


def get(tx: Transaction, error_id: str) -> Row:
    """The error's row. Raises ErrorNotFound."""
    row = tx.one("SELECT * FROM error_events WHERE error_id = ?", (error_id,))
    if row is None:
        raise ErrorNotFound(
            f"There is no error {error_id!r}.",
            hint="handle_agent_errors(action='detect') lists them.",
            error_id=error_id,
        )
    return row


def of_task(tx: Transaction, task_id: str) -> Row:
    """The last error of the task that is not resolved. Raises ErrorNotFound."""
    row = tx.one(
        "SELECT * FROM error_events WHERE task_id = ? AND status <> 'resolved' ORDER BY rowid DESC LIMIT 1", (task_id,)
    )
    if row is None:
        raise ErrorNotFound(
            f"Task {task_id} has no error that is not resolved.",
            hint=f"why(subject='{task_id}') tells how it stands.",
            task_id=task_id,
        )
    return row


def listed(tx: Transaction, *, task_id: str | None = None, before: str | None = None, limit: int = 50) -> list[Row]:
    """Errors that are not resolved, of one task or of all, the newest first.

    ``before``: the id of the last one of the page before.
    """
    place = None if before is None else tx.value("SELECT rowid FROM error_events WHERE error_id = ?", (before,))
    return tx.all(
        "SELECT * FROM error_events e "
        "WHERE e.status <> 'resolved' AND (:task IS NULL OR e.task_id = :task) "
        "AND (:place IS NULL OR e.rowid < :place) ORDER BY e.rowid DESC LIMIT :limit",
        {"task": task_id, "place": place, "limit": limit},
    )


def count(tx: Transaction, task_id: str | None = None) -> int:
    """How many errors are not resolved, of one task or of all."""
    return int(
        tx.value(
            "SELECT count(*) FROM error_events WHERE status <> 'resolved' AND (? IS NULL OR task_id = ?)",
            (task_id, task_id),
        )
    )


def occurred(tx: Transaction, error: Row) -> int:
    """How often the same kind of error has come since its task last went on."""
    return int(
        tx.value(
            "SELECT count(*) FROM error_events WHERE task_id IS ? AND error_class = ? AND subject IS ? "
            "AND status <> 'resolved'",
            (error["task_id"], error["error_class"], error["subject"]),
        )
    )


def recoveries(tx: Transaction, task_id: str) -> int:
    """After how many of its errors somebody had the task recovered since it last went on, but for the last one."""
    return int(
        tx.value(
            "SELECT coalesce(sum(recoveries > 0), 0) FROM error_events WHERE task_id = :task AND status <> 'resolved' "
            f"AND rowid < ({_LAST})",
            {"task": task_id},
        )
    )


def is_recovered(tx: Transaction, task_id: str) -> bool:
    """Whether somebody has had the task recovered since its last error."""
    return bool(tx.value(f"SELECT recoveries FROM error_events WHERE rowid = ({_LAST})", {"task": task_id}))


def recovered(tx: Transaction, task_id: str) -> None:
    """Somebody has the task recovered: that counts once until an attempt has failed again."""
    tx.run(f"UPDATE error_events SET recoveries = 1 WHERE rowid = ({_LAST})", {"task": task_id})


def resolve(tx: Transaction, task_id: str, why: str, *, now: str, actor: str) -> None:
    """The task went on: whatever went wrong with it is over."""
    for row in _unresolved(tx, task_id):
        end(tx, row, why, now=now, actor=actor)


def end(tx: Transaction, error: Row, why: str, *, now: str, actor: str) -> None:
    """This error is over."""
    events.change(
        tx, states.ERROR, error["error_id"], "resolved", have=error["status"], now=now, actor=actor, why=why,
        resolved_at=now, resolution=why,
    )  # fmt: skip
    alerts.withdraw(tx, error["error_id"], now=now, actor=actor)


def go_on(tx: Transaction, task_id: str, why: str, *, now: str, actor: str) -> None:
    """The task is given to an agent again: whatever is not resolved is being recovered from."""
    _change_all(tx, task_id, ("open", "escalated"), "recovering", why, now, actor)


def stop(tx: Transaction, task_id: str, why: str, *, now: str, actor: str) -> None:
    """The task is taken back, and nobody was called: nothing follows before it is given to an agent again."""
    _change_all(tx, task_id, ("recovering",), "open", why, now, actor)


def escalate_all(tx: Transaction, task_id: str, why: str, *, now: str, actor: str) -> None:
    """No other attempt follows: all that is not resolved of the task waits for a person."""
    _change_all(tx, task_id, ("open", "recovering"), "escalated", why, now, actor)


def last_agent(tx: Transaction, task_id: str | None) -> str | None:
    value: str | None = tx.value(
        "SELECT agent_id FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,)
    )
    return value


def _change_all(
    tx: Transaction, task_id: str, sources: Collection[str], want: str, why: str, now: str, actor: str
) -> None:
    for row in _unresolved(tx, task_id):
        if row["status"] in sources:
            events.change(tx, states.ERROR, row["error_id"], want, have=row["status"], now=now, actor=actor, why=why)


def _unresolved(tx: Transaction, task_id: str) -> list[Row]:
    return tx.all("SELECT * FROM error_events WHERE task_id = ? AND status <> 'resolved'", (task_id,))


def _is_known(tx: Transaction, error: Note, error_class: str) -> bool:
    return bool(
        tx.value(
            "SELECT 1 FROM error_events WHERE status <> 'resolved' AND task_id IS ? AND subject IS ? "
            "AND error_class = ? LIMIT 1",
            (error.task_id, error.subject, error_class),
        )
    )
