"""How a run stands, for people: plain lines from events, or the rows of a live table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import clock, events, holds, log_ins, reports
from .store import Row, Transaction
from .wording import cut

# The type of agent that a task ``t``, assigned as ``o`` or not at all, is or will be worked on by.
TYPE = (
    "coalesce(o.agent_type, (SELECT d.agent_type FROM dispatch d JOIN dispatch_task x USING (dispatch_id) "
    "WHERE x.task_id = t.task_id AND d.status IN ('active', 'paused') ORDER BY d.status, d.created_at LIMIT 1), "
    "t.agent_type, :default)"
)
APPROVE = "waits for an approval: `crewyard worktrees approve "


@dataclass(frozen=True)
class Line:
    """One task in the live table."""

    task_id: str
    title: str
    state: str
    agent: str
    attempt: int
    seconds: float | None
    note: str


def latest_event(tx: Transaction) -> int:
    return int(tx.value("SELECT coalesce(max(event_id), 0) FROM event"))


def told(tx: Transaction, after: int, task_ids: frozenset[str], *, approvals: bool = False) -> tuple[int, list[str]]:
    """What happened to these tasks since event ``after``, as sentences; returns the last event looked at with them.

    With ``approvals`` merges wait for them.
    """
    said = []
    last = after
    for event in events.after(tx, after, limit=500):
        last = event["event_id"]
        sentence = _sentence(tx, event, task_ids, approvals)
        if sentence is not None:
            said.append(f"{clock.local_time(event['at'])}  {sentence}")
    return last, said


def table(
    tx: Transaction, task_ids: Sequence[str], now: str, *, approvals: bool = False, default_agent: str = ""
) -> list[Line]:
    """One line a task, in the order given."""
    troubles = {row["scope"]: row for row in _troubles(tx) if row["until"] > now}
    rows = tx.all(
        "SELECT t.*, (SELECT group_concat(blocking_task_id, ', ') FROM specs_task_dependency d "
        "WHERE d.dependent_task_id = t.task_id AND dependency_type = 'hard' AND dependency_status = 'pending') "
        "AS waits_for, o.status AS work, o.not_before, o.error_message AS setback, "
        "iif(:approvals AND m.status = 'queued' AND m.approved_by IS NULL, :how || t.task_id || '`', m.status) "
        "AS merge, m.merge_commit, m.error_message AS merge_note, a.agent_id, a.attempt, "
        f"a.started_at AS since, a.completed_at AS until, a.status AS agent_status, {TYPE} AS type FROM specs_task t "
        "LEFT JOIN orchestrator_task o ON o.task_id = t.task_id AND o.status NOT IN ('failed', 'cancelled') "
        "LEFT JOIN merge_request m ON m.merge_id = (SELECT max(merge_id) FROM merge_request WHERE task_id = t.task_id) "
        "LEFT JOIN agent_lifecycle a ON a.rowid = (SELECT max(rowid) FROM agent_lifecycle WHERE task_id = t.task_id) "
        "JOIN json_each(:wanted) AS wanted ON wanted.value = t.task_id ORDER BY wanted.key",
        {"wanted": json.dumps(list(task_ids)), "approvals": int(approvals), "how": APPROVE, "default": default_agent},
    )
    return [_line(tx, row, troubles, now) for row in rows]


def held(tx: Transaction, task_ids: Sequence[str], default_agent: str) -> list[Row]:
    """What holds types of agents that these tasks still need until a trial is passed."""
    needed = {
        row["type"]
        for row in tx.all(
            f"SELECT {TYPE} AS type FROM specs_task t JOIN json_each(:wanted) AS wanted ON wanted.value = t.task_id "
            "LEFT JOIN orchestrator_task o ON o.task_id = t.task_id AND o.status NOT IN ('failed', 'cancelled') "
            "WHERE t.status NOT IN ('completed', 'cancelled')",
            {"wanted": json.dumps(list(task_ids)), "default": default_agent},
        )
    }
    return [row for row in _troubles(tx) if row["scope"] in needed]


def told_of_hold(scope: str, reason: str, message: str, until: str | None) -> str:
    """Whose launches wait, until when and why, as a sentence."""
    if reason == log_ins.REASON:
        return message  # which says all that
    who = "agents" if scope == holds.EVERYONE else f"agents of type {scope}"
    end = f" until {clock.local_time(until)}" if until else ""
    return f"no {who} are started{end} ({reason}): {message if reason in holds.TRIED else _short(message)}"


def cure_of_hold(hold: Row) -> str:
    """The same where nobody tries again by himself: what a person is to do."""
    if hold["reason"] == log_ins.REASON:
        return f"agents of type {hold['scope']} are not logged in: {log_ins.cure_of(hold['message'])}"
    return told_of_hold(hold["scope"], hold["reason"], hold["message"], hold["until"])


def _troubles(tx: Transaction) -> list[Row]:
    return [row for row in holds.listed(tx) if row["reason"] in holds.TRIED]


def _line(tx: Transaction, row: Row, troubles: Mapping[str, Row], now: str) -> Line:
    state, note = _state(row, now)
    is_next = state == "ready" or (state == "starting" and row["agent_status"] != "starting")
    if is_next and (hold := troubles.get(row["type"])) is not None:
        cure = log_ins.cure_of(hold["message"]) if hold["reason"] == log_ins.REASON else hold["message"]
        state, note = "held", f"until {clock.local_time(hold['until'])}: {_short(cure)}"
    if state == "running" and reports.waits(tx, row["agent_id"]):
        state, note = "asks", _question(tx, row)
    seconds = clock.seconds_between(row["since"], row["until"] or now) if row["since"] else None
    return Line(row["task_id"], row["title"], state, row["agent_id"] or "", row["attempt"] or 0, seconds, note)


def _state(row: Row, now: str) -> tuple[str, str]:
    if row["status"] == "completed":
        return ("merged", row["merge_commit"][:10]) if row["merge_commit"] else ("completed", "nothing to change")
    if row["status"] == "failed":
        return ("review" if row["needs_review"] else "failed"), _short(row["error_message"])
    if row["work"] == "completed":
        return "merging", _short(row["merge_note"] or row["merge"] or "")
    if row["work"] == "running":
        return ("checking", "") if row["agent_status"] == "completed" else ("running", "")
    if row["work"] == "assigned" and row["not_before"] and row["not_before"] > now:
        return "waiting", f"again in {clock.seconds_between(now, row['not_before']):.0f} s: {_short(row['setback'])}"
    if row["work"] == "assigned":
        return "starting", _short(row["setback"] or "")
    if row["status"] == "pending":
        return "blocked", f"waits for {row['waits_for']}"
    return str(row["status"]), ""


def _question(tx: Transaction, row: Row) -> str:
    """What it asks, behind what answers it: a narrow screen cuts the end."""
    if reports.is_answered(tx, row["agent_id"]):
        return "it has not read your answer yet"
    said = reports.last(tx, row["agent_id"])
    return f"`crewyard send {row['task_id']} TEXT` answers: {_short(said.summary if said else '')}"


def _sentence(tx: Transaction, event: Row, task_ids: frozenset[str], approvals: bool) -> str | None:
    kind, subject, data = event["kind"], event["subject_id"], json.loads(event["data"])
    why, summary = _short(data.get("why", "")), _short(data.get("summary", ""))
    if event["subject_type"] == "task":
        words = {"task_completed": "done", "task_failed": "given up"}.get(kind)
        return f"{subject}: {words}: {why}" if words and subject in task_ids else None
    if kind == "assignment_assigned" and event["from_state"] == "running" and why:
        row = tx.only("SELECT * FROM orchestrator_task WHERE orchestrator_task_id = ?", (subject,))
        told_of_agent = why.startswith(f"{row['assigned_agent']}:")
        return None if told_of_agent or row["task_id"] not in task_ids else f"{row['task_id']}: {why}"
    if kind == "collision_found" and subject in task_ids:
        return f"{subject}: would conflict with {data['other']} in {', '.join(data['files'])}"
    if kind == "garbage_collected":
        return f"git gc packed the repository's objects in {data['seconds']:g} s"
    if event["subject_type"] == "launches":
        return _of_launches(kind, subject, data)
    task_id = _task_of(tx, event["subject_type"], subject)
    if task_id not in task_ids:
        return None
    sentences = {
        "agent_running": f"{task_id}: {subject} started",
        "agent_failed": f"{task_id}: {subject} failed: {why}",
        "agent_timeout": f"{task_id}: {subject} ran out of time",
        "agent_killed": f"{task_id}: {subject} was ended",
        "agent_lost": f"{task_id}: {subject} was lost: {why}",
        "agent_stalled": f"{task_id}: {subject} is stalled: {data.get('reasons')}",
        "agent_completed": f"{task_id}: {subject} finished",
        "report_question": f"{task_id}: {subject} asks (`crewyard send {task_id} TEXT` answers): {summary}",
        "report_blocked": f"{task_id}: {subject} is blocked (`crewyard send {task_id} TEXT` answers): {summary}",
        "merge_conflicted": f"{task_id}: {why}",
        "merge_rejected": f"{task_id}: {why}",
        "merge_check_flaky": f"{task_id}: the merge check failed, then passed on the same files: it is flaky",
        "merge_approved": f"{task_id}: its merge is approved by {data.get('approved_by')}",
        "worktree_kept": f"{task_id}: its worktree stays: {why}",
        "leftover_branch_salvaged": f"{task_id}: work of an earlier run is kept under {data.get('ref')}",
    }
    if kind == "merge_queued" and approvals and not data.get("approved_by") and not why:
        return f"{task_id}: done; its merge {APPROVE}{task_id}`"
    return sentences.get(kind) if kind != "merge_queued" or not why else f"{task_id}: merge waits: {why}"


def _of_launches(kind: str, scope: str, data: dict[str, Any]) -> str | None:
    """What keeps agents from being started, and that it does no more; what only slows launches down is not told."""
    if data["reason"] in holds.PASSING:
        return None
    if kind == "launches_free":
        who = "agents" if scope == holds.EVERYONE else f"agents of type {scope}"
        return f"{who} are started again ({data['reason']})"
    return told_of_hold(scope, data["reason"], data["message"], data.get("until"))


def _task_of(tx: Transaction, subject_type: str, subject: str) -> str | None:
    table = {"agent": "agent_lifecycle", "merge": "merge_request", "worktree": "git_worktree_tracker"}.get(subject_type)
    if table is None:
        return None
    key = {"agent": "agent_id", "merge": "merge_id", "worktree": "worktree_id"}[subject_type]
    found: str | None = tx.value(f"SELECT task_id FROM {table} WHERE {key} = ?", (subject,))
    return found


def _short(text: str | None, width: int = 160) -> str:
    first = (text or "").strip().splitlines()[:1]
    line = first[0] if first else ""
    return cut(line, width)
