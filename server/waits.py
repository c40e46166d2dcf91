"""Who waits for whom among agents and the tasks that they are to get: for answers and for files (C-27).

Each name is a task's, an agent being known by the task that it works on. What a task waits for to be merged, its
blockers, is in the plan (``deadlocks`` puts both together).
"""

from collections.abc import Collection
from dataclasses import dataclass

from . import dispatches, recipients, reports, schedule, tasks
from .store import Row, Transaction


@dataclass(frozen=True)
class Wait:
    """``waiter`` waits for ``awaited``: a ``message`` or a ``file``. ``said`` is it in words."""

    waiter: str
    awaited: str
    kind: str
    said: str


def between(tx: Transaction, *, asked_before: str) -> dict[tuple[str, str], Wait]:
    """Every wait, by the pair of tasks; a question counts once it is older than ``asked_before``, or at once where its
    sender reported to wait."""
    answers = _for_answers(tx, asked_before)
    found: dict[tuple[str, str], Wait] = {}
    for wait in (*answers, *_for_files(tx, {wait.waiter for wait in answers})):
        found.setdefault((wait.waiter, wait.awaited), wait)
    return found


def _for_answers(tx: Transaction, asked_before: str) -> list[Wait]:
    """Questions of live agents that whoever was asked has not answered since."""
    rows = tx.all(
        "SELECT q.from_agent, q.to_agent, q.created_at, a.task_id FROM agent_lifecycle a JOIN agent_message q "
        "ON q.from_agent = a.agent_id AND q.message_type = 'question' WHERE a.status IN ('starting', 'running') "
        "AND a.task_id IS NOT NULL ORDER BY q.id"
    )
    found = []
    for row in rows:
        is_old = row["created_at"] <= asked_before or reports.waits(tx, row["from_agent"])
        awaited = _who_answers(tx, row) if is_old else None
        if awaited is not None and not _has_answer(tx, row):
            said = f"{row['from_agent']} waits since {row['created_at']} for an answer from {row['to_agent']}"
            found.append(Wait(row["task_id"], awaited, "message", said))
    return found


def _who_answers(tx: Transaction, question: Row) -> str | None:
    """The task of whoever was asked; of a type only where nobody else of it could answer, and not who asks.

    A task without a type may get an agent of any.
    """
    to = question["to_agent"]
    if to == recipients.LEAD:
        return None
    agent = tx.one("SELECT task_id, status FROM agent_lifecycle WHERE agent_id = ?", (to,))
    if agent is not None:
        task_id: str | None = agent["task_id"]
        return task_id
    could = tx.all(
        "SELECT task_id FROM agent_lifecycle WHERE agent_type = :type AND status IN ('starting', 'running') "
        "AND agent_id <> :asker UNION SELECT task_id FROM specs_task "
        "WHERE coalesce(agent_type, :type) = :type AND status IN ('pending', 'ready', 'assigned') LIMIT 2",
        {"type": to, "asker": question["from_agent"]},
    )
    return could[0]["task_id"] if len(could) == 1 else None


def _has_answer(tx: Transaction, question: Row) -> bool:
    """Whether anybody that was asked has written to the one that asked, or taken the question as dealt with."""
    return bool(
        tx.value(
            "SELECT 1 FROM agent_message m WHERE m.to_agent = :asker AND m.created_at >= :at "
            "AND m.message_type <> 'question' AND (m.from_agent IN (:asked, :lead) OR m.from_agent IN "
            "(SELECT agent_id FROM agent_lifecycle WHERE agent_type = :asked "
            "OR task_id = (SELECT task_id FROM agent_lifecycle WHERE agent_id = :asked))) LIMIT 1",
            {
                "asker": question["from_agent"],
                "asked": question["to_agent"],
                "at": question["created_at"],
                "lead": recipients.LEAD,
            },
        )
    )


def _for_files(tx: Transaction, stuck: Collection[str]) -> list[Wait]:
    """Ready tasks that are held because one of the ``stuck`` works on the same files: others give them back in time."""
    busy = {name: files for name, files in dispatches.busy_files(tx).items() if name in stuck} if stuck else {}
    if not busy:
        return []
    ready = tx.all(f"SELECT * FROM specs_task t WHERE status = 'ready' AND files <> '[]' ORDER BY {tasks.READY_ORDER}")
    return [
        Wait(row["task_id"], other, "file", f"{row['task_id']} waits for files that {other} has in hand")
        for row in ready
        for other, files in busy.items()
        if schedule.overlap(tasks.files_of(row), files)
    ]
