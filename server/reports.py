"""What agents say of their own work. Their word is heard and kept; only evidence completes a task (contract 7)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import alerts, events, recipients
from .errors import InvalidInput
from .store import Transaction

KINDS = ("progress", "complete", "failed", "blocked", "question")


@dataclass(frozen=True)
class Report:
    """One report of an agent."""

    kind: str
    summary: str
    no_change: bool
    at: str


def record(
    tx: Transaction,
    agent_id: str,
    kind: str,
    summary: str,
    *,
    now: str,
    no_change: bool = False,
    output: Mapping[str, Any] | None = None,
) -> None:
    """Keep a report; it is also a heartbeat. ``output`` is what its stage asks for. Raises InvalidInput for an unknown
    kind."""
    if kind not in KINDS:
        raise InvalidInput(f"{kind!r} is no kind of report.", hint=f"Give one of {', '.join(KINDS)}.")
    tx.run(
        "INSERT INTO agent_report (agent_id, kind, summary, no_change, at, output) VALUES (?, ?, ?, ?, ?, ?)",
        (agent_id, kind, summary, int(no_change), now, None if output is None else json.dumps(output)),
    )
    tx.run("UPDATE agent_lifecycle SET last_heartbeat = ? WHERE agent_id = ?", (now, agent_id))
    events.record(
        tx, now=now, actor=agent_id, subject_type="agent", subject_id=agent_id, kind=f"report_{kind}", summary=summary
    )
    if kind in ("question", "blocked"):
        title = f"{agent_id} {'asks' if kind == 'question' else 'is blocked'}"
        alerts.alert(tx, "high", title, summary, now=now, agent=agent_id, reply_to=agent_id)


def last(tx: Transaction, agent_id: str) -> Report | None:
    """The latest report of an agent that says how it stands (progress is not one)."""
    row = tx.one(
        "SELECT * FROM agent_report WHERE agent_id = ? AND kind <> 'progress' ORDER BY report_id DESC LIMIT 1",
        (agent_id,),
    )
    return None if row is None else Report(row["kind"], row["summary"], bool(row["no_change"]), row["at"])


def completion_of(tx: Transaction, task_id: str) -> str | None:
    """What the task's agent said that it has done, when it reported to be complete."""
    summary: str | None = tx.value(
        "SELECT r.summary FROM agent_lifecycle a JOIN agent_report r USING (agent_id) "
        "WHERE a.task_id = ? AND r.kind = 'complete' AND r.summary <> '' ORDER BY r.report_id DESC LIMIT 1",
        (task_id,),
    )
    return summary


def output_of(tx: Transaction, task_id: str) -> dict[str, Any] | None:
    """What the task's agents last reported as their output, in whichever attempt."""
    text = tx.value(
        "SELECT r.output FROM agent_lifecycle a JOIN agent_report r USING (agent_id) "
        "WHERE a.task_id = ? AND r.kind = 'complete' AND r.output IS NOT NULL ORDER BY r.report_id DESC LIMIT 1",
        (task_id,),
    )
    return None if text is None else dict(json.loads(text))


def waits(tx: Transaction, agent_id: str) -> bool:
    """Whether the last thing that the agent reported is a question, or that it is blocked, and nobody has answered.

    An answer is any message but ours that it took after that.
    """
    said = tx.one(
        "SELECT kind, at FROM agent_report WHERE agent_id = ? ORDER BY report_id DESC LIMIT 1",
        (agent_id,),
    )
    if said is None or said["kind"] not in ("question", "blocked"):
        return False
    answer = "SELECT 1 FROM agent_message WHERE to_agent = ? AND from_agent <> ? AND delivered_at >= ? LIMIT 1"
    return tx.one(answer, (agent_id, recipients.SYSTEM, said["at"])) is None


def is_answered(tx: Transaction, agent_id: str) -> bool:
    """Whether somebody has written to an agent since it last reported, and it has not read that yet."""
    sent = (
        "SELECT 1 FROM agent_message WHERE to_agent = :agent AND from_agent <> :us AND delivered_at IS NULL "
        "AND status IN ('pending', 'delivered') AND status = 'pending' "  # as the index agent_message_inbox wants it
        "AND created_at >= (SELECT max(at) FROM agent_report WHERE agent_id = :agent) LIMIT 1"
    )
    return tx.one(sent, {"agent": agent_id, "us": recipients.SYSTEM}) is not None
