"""What became of the tasks of a run, from the database alone (contract 2, 9)."""

from collections.abc import Sequence
from typing import Any

from . import tasks
from .store import Row, Transaction

SETTLED_WELL = ("merged", "completed")


def of_tasks(tx: Transaction, task_ids: Sequence[str], *, over: bool) -> list[dict[str, Any]]:
    """One object a task: ``task_id``, ``title``, ``status``, ``attempts``, ``agent_ids``, ``merge_commit``, ``error``.

    ``status`` is merged, completed (nothing was to be changed), failed, review or cancelled. With ``over`` a task that
    never started, because a task that it waits for did not complete, is cancelled too, with the reason; the plan keeps
    it pending, so that a later run can take it up.
    """
    return [_outcome(tx, tasks.get(tx, task_id), over) for task_id in task_ids]


def totals(outcomes: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many tasks ended in which way, and how many agents were launched."""
    states = [outcome["status"] for outcome in outcomes]
    counted = {state: states.count(state) for state in ("merged", "completed", "failed", "review", "cancelled")}
    return {"tasks": len(outcomes), **counted, "attempts": sum(outcome["attempts"] for outcome in outcomes)}


def verdict(outcomes: Sequence[dict[str, Any]]) -> str:
    """``success`` where every task is merged, ``failed`` where none is, else ``partial``."""
    well = [outcome["status"] in SETTLED_WELL for outcome in outcomes]
    return "success" if all(well) else "partial" if any(well) else "failed"


def _outcome(tx: Transaction, task: Row, over: bool) -> dict[str, Any]:
    agent_ids = [
        row["agent_id"]
        for row in tx.all(
            "SELECT agent_id FROM agent_lifecycle WHERE task_id = ? AND runner_pid IS NOT NULL "
            "ORDER BY attempt, created_at",
            (task["task_id"],),
        )
    ]
    commit = tx.value(
        "SELECT merge_commit FROM merge_request WHERE task_id = ? AND status = 'merged' ORDER BY merge_id DESC",
        (task["task_id"],),
    )
    status, error = _status(tx, task, commit, over)
    return {
        "task_id": task["task_id"],
        "title": task["title"],
        "status": status,
        "attempts": len(agent_ids),
        "agent_ids": agent_ids,
        "merge_commit": commit if status == "merged" else None,
        "error": error,
    }


def _status(tx: Transaction, task: Row, commit: str | None, over: bool) -> tuple[str, dict[str, str] | None]:
    state = task["status"]
    if state == "completed":
        return ("merged" if commit else "completed"), None
    if state == "failed":
        error = {"code": task["error_code"], "message": task["error_message"]}
        return ("review" if task["needs_review"] else "failed"), error
    if state == "cancelled":
        return "cancelled", {"code": "cancelled", "message": "It was cancelled."}
    blockers = tasks.open_blockers(tx, task["task_id"])
    if over and state == "pending" and blockers:
        names = ", ".join(f"{row['task_id']} ({row['status']})" for row in blockers)
        return "cancelled", {"code": "blocker_not_completed", "message": f"It was not started: it waits for {names}."}
    return state, None
