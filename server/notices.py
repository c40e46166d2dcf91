"""What Crewyard tells the lead and its agents of its own accord: facts and the next step (R-143, R-147, R-293).

Each is written in the transaction that changes what it tells of. What needs a person is told in ``alerts``, branches
that would collide in ``collisions``.
"""

import json
from collections.abc import Sequence
from typing import Any

from . import lapses, messages, recipients
from .store import Row, Transaction
from .wording import cut

ASSIGNED, UNBLOCKED, COMPLETE, FAILED, MERGED = (
    "task_assignment",
    "dependency_unblocked",
    "task_complete",
    "error_report",
    "merged",
)
# Of no worth to whoever goes on with an ended agent's task: its prompt says how things stand by then.
_OF_ONE_LIFE = (ASSIGNED, UNBLOCKED, MERGED)
_PRIORITY = {FAILED: 3, ASSIGNED: 4, UNBLOCKED: 5, COMPLETE: 6, MERGED: 7}
TASKS_NAMED = 20
WORDS_LENGTH = 500


def assigned(tx: Transaction, agent: Row, *, now: str) -> None:
    """An agent is launched: what it is to do, where, and what it builds on."""
    work = tx.only(
        "SELECT t.title, o.branch_name FROM orchestrator_task o JOIN specs_task t USING (task_id) "
        "WHERE o.orchestrator_task_id = ?",
        (agent["orchestrator_task_id"],),
    )
    before = tx.all(
        "SELECT b.task_id, b.title FROM specs_task_dependency d JOIN specs_task b ON b.task_id = d.blocking_task_id "
        "WHERE d.dependent_task_id = ? AND b.status = 'completed' ORDER BY b.task_id",
        (agent["task_id"],),
    )
    content = {
        "task_id": agent["task_id"],
        "title": cut(work["title"], WORDS_LENGTH),
        "branch": work["branch_name"],
        "worktree": agent["workspace"],
        "attempt": agent["attempt"],
        "builds_on": [
            {"task_id": row["task_id"], "title": cut(row["title"], WORDS_LENGTH)} for row in before[:TASKS_NAMED]
        ],
        "next": "Your prompt holds the task. Commit your work, report complete, and end.",
    }
    _tell(tx, agent["agent_id"], ASSIGNED, content, now)


def proven(tx: Transaction, assignment: Row, *, now: str) -> None:
    """The evidence of a task's work holds."""
    no_change = bool(assignment["no_change"])
    content = {
        "task_id": assignment["task_id"],
        "title": _title(tx, assignment["task_id"]),
        "agent_id": assignment["assigned_agent"],
        "branch": assignment["branch_name"],
        "no_change": no_change,
        "next": "Nothing was to be changed." if no_change else "It waits for its merge: worktrees(action='queue').",
    }
    _tell(tx, recipients.LEAD, COMPLETE, content, now)


def completed(tx: Transaction, task_id: str, unblocked: Sequence[str], *, now: str, actor: str) -> None:
    """A task is completed: the lead learns what is ready by it, and who works on what depends on it that it is there.

    The lead that has completed it by hand knows from its answer.
    """
    title = _title(tx, task_id)
    if unblocked and actor != recipients.LEAD:
        content = {
            "task_id": task_id,
            "title": title,
            "ready": list(unblocked[:TASKS_NAMED]),
            "ready_count": len(unblocked),
            "next": "A dispatch that covers them starts them by itself; otherwise assign(…).",
        }
        _tell(tx, recipients.LEAD, UNBLOCKED, content, now)
    for agent in tx.all(
        "SELECT a.agent_id, a.task_id FROM specs_task_dependency d JOIN agent_lifecycle a "
        "ON a.task_id = d.dependent_task_id AND a.status IN ('starting', 'running') WHERE d.blocking_task_id = ?",
        (task_id,),
    ):
        content = {
            "task_id": task_id,
            "title": title,
            "ready": [agent["task_id"]],
            "next": "Your task depends on it. Its work is on the integration branch: merge that into yours.",
        }
        _tell(tx, agent["agent_id"], UNBLOCKED, content, now)


def attempt_failed(tx: Transaction, task_id: str, code: str, message: str, *, then: str, now: str) -> None:
    """An attempt at a task failed; ``then`` says what happens next."""
    content = {
        "task_id": task_id,
        "title": _title(tx, task_id),
        "code": code,
        "message": cut(message, WORDS_LENGTH),
        "next": then,
    }
    _tell(tx, recipients.LEAD, FAILED, content, now)


def merged(tx: Transaction, done: Sequence[Row], *, now: str) -> None:
    """These requests have moved their target branch: for the lead, and for all whose branches began before that.

    To whom has not read of earlier merges yet they are told together, as one message.
    """
    target, own = done[-1]["target_branch"], [row["task_id"] for row in done]
    news = [
        {
            "task_id": row["task_id"],
            "title": _title(tx, row["task_id"]),
            "commit": row["merge_commit"],
            "files_changed": row["files_changed"],
        }
        for row in done
    ]
    others = tx.all(
        "SELECT agent_id FROM agent_lifecycle WHERE status IN ('starting', 'running') "
        "AND task_id NOT IN (SELECT value FROM json_each(?)) ORDER BY agent_id",
        (json.dumps(own),),
    )
    _tell_of_merges(tx, recipients.LEAD, target, news, "Nothing is to be done; who works on is told.", now)
    advice = f"Your branch began before. `git diff --name-only HEAD...{target}` lists what is new; where that touches "
    advice += f"your files, commit and `git merge {target}`. Otherwise go on."
    for agent in others:
        _tell_of_merges(tx, agent["agent_id"], target, news, advice, now)


def reader_ended(tx: Transaction, agent_id: str, *, now: str, actor: str) -> None:
    """Settle what an ended agent has not read of what concerned nobody but itself; other mail is its successor's."""
    for row in tx.all(
        "SELECT message_id, status FROM agent_message WHERE to_agent = ? AND status IN ('pending', 'delivered') "
        "AND from_agent = ? AND message_type IN (SELECT value FROM json_each(?))",
        (agent_id, recipients.SYSTEM, json.dumps(_OF_ONE_LIFE)),
    ):
        why = "its reader has ended"
        lapses.end(tx, row, "expired", now=now, actor=actor, why=why, error_message=why)


def _tell_of_merges(
    tx: Transaction, box: str, target: str, news: Sequence[dict[str, Any]], advice: str, now: str
) -> None:
    unread = tx.one(
        "SELECT message_id, content FROM agent_message WHERE to_agent = ? AND status IN ('pending', 'delivered') "
        "AND status = 'pending' AND delivery_count = 0 AND from_agent = ? AND message_type = ? "
        "AND content ->> '$.target' = ? ORDER BY id DESC LIMIT 1",
        (box, recipients.SYSTEM, MERGED, target),
    )
    before: dict[str, Any] = json.loads(unread["content"]) if unread is not None else {"merges": 0, "tasks": []}
    content = {
        "target": target,
        "commit": news[-1]["commit"],
        "merges": before["merges"] + len(news),
        "tasks": [*before["tasks"], *news][-TASKS_NAMED:],
        "next": advice,
    }
    if unread is None:
        _tell(tx, box, MERGED, content, now)
    else:
        tx.run("UPDATE agent_message SET content = ? WHERE message_id = ?", (json.dumps(content), unread["message_id"]))


def _tell(tx: Transaction, box: str, kind: str, content: dict[str, Any], now: str) -> None:
    messages.notify(tx, box, kind, content, priority=_PRIORITY[kind], now=now)


def _title(tx: Transaction, task_id: str) -> str:
    return cut(tx.value("SELECT title FROM specs_task WHERE task_id = ?", (task_id,)), WORDS_LENGTH)
