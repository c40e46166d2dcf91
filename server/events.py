"""The append-only record of what happened, and the one place that changes a state (CFR-014, design 3)."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from .errors import (
    AgentNotFound,
    CrewyardError,
    DispatchNotFound,
    ErrorNotFound,
    IllegalTransition,
    MessageNotFound,
    NotFound,
    ProjectNotFound,
    TaskNotFound,
    WorkerNotFound,
)
from .states import Machine
from .store import Row, Transaction

NOT_FOUND: dict[str, type[CrewyardError]] = {
    "task": TaskNotFound,
    "agent": AgentNotFound,
    "message": MessageNotFound,
    "dispatch": DispatchNotFound,
    "error": ErrorNotFound,
    "project": ProjectNotFound,
    "worker": WorkerNotFound,
}


def record(
    tx: Transaction,
    /,
    *,
    now: str,
    actor: str,
    subject_type: str,
    subject_id: object,
    kind: str,
    from_state: str | None = None,
    to_state: str | None = None,
    **data: Any,
) -> int:
    """Append one event; returns its id. ``data`` holds facts, never a secret."""
    tx.subjects.add(subject_type)
    return tx.insert(
        "INSERT INTO event (at, actor, subject_type, subject_id, kind, from_state, to_state, data) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (now, actor, subject_type, str(subject_id), kind, from_state, to_state, json.dumps(data) if data else "{}"),
    )


def transition(
    tx: Transaction,
    machine: Machine,
    key: object,
    want: str,
    *,
    now: str,
    actor: str,
    have: str | None = None,
    why: str = "",
    facts: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Row:
    """As ``change``; returns the row as it is now."""
    change(tx, machine, key, want, now=now, actor=actor, have=have, why=why, facts=facts, **columns)
    # In a statement of its own: RETURNING makes the UPDATE take more than twice as long.
    return tx.only(f"SELECT * FROM {machine.table} WHERE {machine.key} = ?", (key,))


def change(
    tx: Transaction,
    machine: Machine,
    key: object,
    want: str,
    *,
    now: str,
    actor: str,
    have: str | None = None,
    why: str = "",
    facts: Mapping[str, Any] | None = None,
    **columns: Any,
) -> None:
    """Move one row to ``want``, set ``columns`` with it, record the event with ``why`` and the known ``facts``.

    ``have`` is its state where the caller has read it in this transaction. Raises the machine's NotFound, or
    IllegalTransition when ``want`` does not follow the row's state.
    """
    have = have or _state(tx, machine, key)
    if want not in machine.moves[have]:
        raise _illegal(machine, key, have, want)
    sql = _update(machine.table, machine.key, *columns)
    if not tx.run(sql, (want, *columns.values(), key, have)):  # it is not what the caller took it for
        raise _illegal(machine, key, _state(tx, machine, key), want)
    record(
        tx,
        now=now,
        actor=actor,
        subject_type=machine.subject,
        subject_id=key,
        kind=f"{machine.subject}_{want}",
        from_state=have,
        to_state=want,
        **({"why": why} if why else {}),
        **{name: value for name, value in (facts or {}).items() if value is not None},
    )


@cache
def _update(table: str, key: str, *columns: str) -> str:
    assignments = "".join(f", {column} = ?" for column in columns)
    return f"UPDATE {table} SET status = ?{assignments} WHERE {key} = ? AND status = ?"


def _state(tx: Transaction, machine: Machine, key: object) -> str:
    state = tx.value(f"SELECT status FROM {machine.table} WHERE {machine.key} = ?", (key,))
    if state is None:
        raise NOT_FOUND.get(machine.subject, NotFound)(f"There is no {machine.subject} {key}.", id=str(key))
    return str(state)


def _illegal(machine: Machine, key: object, have: str, want: str) -> IllegalTransition:
    sources = machine.sources(want)
    return IllegalTransition(
        f"{machine.subject.capitalize()} {key} is {have}; it cannot become {want}.",
        hint=f"Only from {', '.join(sources)}." if sources else f"Nothing becomes {want}.",
        id=str(key),
        have=have,
        want=want,
    )


def after(tx: Transaction, event_id: int, limit: int = 100) -> list[Row]:
    """Events younger than ``event_id``, oldest first."""
    return tx.all("SELECT * FROM event WHERE event_id > ? ORDER BY event_id LIMIT ?", (event_id, limit))


def latest(tx: Transaction) -> int:
    """The id of the last event; 0 before the first."""
    return int(tx.value("SELECT coalesce(max(event_id), 0) FROM event"))


def newest(tx: Transaction, limit: int) -> list[Row]:
    """The latest events, oldest first."""
    return tx.all("SELECT * FROM event ORDER BY event_id DESC LIMIT ?", (limit,))[::-1]


def of(tx: Transaction, subject_type: str, subject_id: str, limit: int = 50) -> list[Row]:
    """The latest events of one subject, oldest first."""
    rows = tx.all(
        "SELECT * FROM event WHERE subject_type = ? AND subject_id = ? ORDER BY event_id DESC LIMIT ?",
        (subject_type, subject_id, limit),
    )
    return rows[::-1]
