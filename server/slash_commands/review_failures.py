"""``review-failures``: what failed, why, and the call that goes on."""

from collections.abc import Mapping

from .. import error_events, tasks, why
from ..store import Row, Transaction
from ..wording import counted, cut
from .base import NOT_INSTRUCTIONS, Argument, SlashCommand, Standing

MOST = 10
TASK = """\
Go through the failures below with the user, one after the other. For each: look at what its agent wrote \
(agents(action='log', agent_id=…)) and at its branch, say the cause in a sentence and propose a cure: a better \
description or check, another type of agent, a change by hand, or giving the task up. Do what the user agrees to. Then \
plan(action='update', task_id=…, new_status='ready') and assign(task_ids=[…]) try a task again."""


def text(tx: Transaction, given: Mapping[str, str], at: Standing) -> str:
    """Raises TaskNotFound."""
    if task_id := given.get("task_id"):
        task = tasks.get(tx, task_id)
        if task["status"] != "failed":
            said = f"Tell the user that {task_id} has not failed: it is {task['status']}. How it stands:"
            return "\n\n".join([said, _failure(tx, task, at), NOT_INSTRUCTIONS])
        return "\n\n".join([TASK, _failure(tx, task, at), NOT_INSTRUCTIONS])
    failed = tasks.listed(tx, status="failed", limit=MOST)
    rest = tasks.counts(tx).get("failed", 0) - len(failed)
    errors = [row for row in error_events.listed(tx, limit=MOST) if row["task_id"] not in _ids(failed)]
    if not failed and not errors:
        return "Tell the user that no task has failed, and that no error is unresolved."
    more = (
        [f"And {counted(rest, 'failed task')} more: plan(action='show', new_status='failed') lists them."]
        if rest > 0
        else []
    )
    return "\n\n".join(
        [TASK, *(_failure(tx, row, at) for row in failed), *more, *(_error(row) for row in errors), NOT_INSTRUCTIONS]
    )


def _failure(tx: Transaction, task: Row, at: Standing) -> str:
    found = why.explain(tx, task["task_id"], now=at.now, bounds=at.bounds)
    agents = tx.all(
        "SELECT agent_id, status, exit_code FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid DESC LIMIT 3",
        (task["task_id"],),
    )
    attempts = "; ".join(
        f"{row['agent_id']} {row['status']}" + ("" if row["exit_code"] is None else f" (exit {row['exit_code']})")
        for row in agents
    )
    lines = [
        f"## {task['task_id']}: {cut(task['title'], 120)}",
        cut(found.because, 600),
        f"Its last agents: {attempts}." if attempts else "",
        f"Next: {found.next_call}",
    ]
    return "\n".join(line for line in lines if line)


def _error(row: Row) -> str:
    about = row["task_id"] or row["subject"] or row["agent_id"] or "this repository"
    return f"## Unresolved: {cut(about, 120)}\n{cut(row['message'], 400)}\nNext: why(subject='{row['error_id']}')"


def _ids(rows: list[Row]) -> set[str]:
    return {row["task_id"] for row in rows}


COMMAND = SlashCommand(
    name="review-failures",
    title="Review failures",
    description="Go through what failed: the cause of each, and what to do about it.",
    text=text,
    arguments=(Argument("task_id", "this task alone; without it, all that failed"),),
)
