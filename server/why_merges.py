"""Why a merge does not go on, and why a worktree is still there."""

import json
from collections.abc import Callable

from . import agents, events, merges, standstill, worktrees
from .advice import ADVICE
from .next_calls import call
from .store import Row, Transaction
from .why_launches import Bounds
from .why_subjects import Answer

QUEUE = call("worktrees", action="queue")
FILES_NAMED = 5


def of_merge(tx: Transaction, request: Row, now: str, bounds: Bounds) -> Answer:
    head = f"Merge {request['merge_id']} of task {request['task_id']} into {request['target_branch']}"
    because, next_call = MERGES[request["status"]](tx, request, now, bounds)
    flaky = " Its check failed once and then passed on the very same files." if request["flaky"] else ""
    return f"{head} {because}{flaky}", next_call


def _queued(tx: Transaction, request: Row, now: str, bounds: Bounds) -> Answer:
    line = [row for row in merges.queue(tx) if row["target_branch"] == request["target_branch"]]
    position = next(row["position"] for row in line if row["merge_id"] == request["merge_id"])
    if not bounds.auto_approve and request["approved_by"] is None:
        approve = call("worktrees", action="merge", task_id=request["task_id"], approve=True)
        since = request["queued_since"] or request["created_at"]
        return f"waits for an approval since {since}, at position {position} of the queue.", approve
    if request["not_before"] and request["not_before"] > now:
        tried = f"failed {request['attempts']} time{'s' if request['attempts'] > 1 else ''}"
        said = f"{request['error_message'].rstrip('.')}. {ADVICE.get(request['error_code'], '')}".rstrip()
        return f"waits until {request['not_before']}, since it {tried} ({request['error_code']}): {said}", QUEUE
    first = line[0]
    if first["status"] == "checking":
        ahead = f": {first['task_id']} is being merged first"
    elif position > 1:
        ahead = f", behind {first['task_id']}"
    else:
        ahead = " and next" + (", though merges stand still" if standstill.is_held(tx) else "")
    return f"is at position {position} of the queue{ahead}.", QUEUE


def _checking(tx: Transaction, request: Row, _now: str, _bounds: Bounds) -> Answer:
    begun = [row for row in events.of(tx, "merge", str(request["merge_id"])) if row["kind"] == "merge_checking"]
    since = f" since {begun[-1]['at']}" if begun else ""
    step = "; the branch is about to be moved" if request["candidate_commit"] else ""
    return f"is being checked{since}{step}.", QUEUE


def _merged(_tx: Transaction, request: Row, _now: str, _bounds: Bounds) -> Answer:
    settled = merges.settled_in(request)
    told = f" Conflicts settled: {'; '.join(settled)}." if settled else ""
    return f"happened at {request['ended_at']} as {request['merge_commit'][:12]}.{told}", _task(request)


def _conflicted(_tx: Transaction, request: Row, _now: str, _bounds: Bounds) -> Answer:
    files = json.loads(request["conflicted_files"])
    named = f" in {', '.join(files[:FILES_NAMED])}" if files else ""
    more = f" and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else ""
    said = request["error_message"].rstrip(".")
    return f"met a conflict{named}{more} at {request['ended_at']} (conflicted): {said}.", _task(request)


def _rejected(_tx: Transaction, request: Row, _now: str, _bounds: Bounds) -> Answer:
    said = f"{request['error_message'].rstrip('.')}. {ADVICE.get(request['error_code'], '')}".rstrip()
    return f"was rejected at {request['ended_at']} ({request['error_code']}): {said}", _task(request)


def _cancelled(_tx: Transaction, request: Row, _now: str, _bounds: Bounds) -> Answer:
    said = f": {request['error_message'].rstrip('.')}" if request["error_message"] else ""
    return f"was cancelled at {request['ended_at']}{said}.", _task(request)


def _task(request: Row) -> str:
    return call("why", subject=request["task_id"])


def of_worktree(tx: Transaction, row: Row, _now: str, _bounds: Bounds) -> Answer:
    worktree = worktrees.of_row(row)
    because, next_call = WORKTREES[worktree.status](tx, row)
    return f"The worktree {worktree.path} of task {worktree.task_id} {because}", next_call


def of_pooled(_tx: Transaction, row: Row, _now: str, _bounds: Bounds) -> Answer:
    return f"The worktree {row['path']} {POOL[row['status']]} since {row['since']}.", call("worktrees", action="list")


def _creating(_tx: Transaction, row: Row) -> Answer:
    return f"is being made since {row['created_at']}.", call("why", subject=row["task_id"])


def _standing(tx: Transaction, row: Row) -> Answer:
    task = call("why", subject=row["task_id"])
    user = next((each["agent_id"] for each in agents.live(tx) if each["task_id"] == row["task_id"]), None)
    if user is not None:
        return f"is in use: {user} works in it.", call("why", subject=user)
    if row["kept_because"] is not None:
        cleanup = call("worktrees", action="cleanup", task_id=row["task_id"])
        return f"stays: {row['kept_because'].rstrip('.')}.", cleanup
    if row["cleanup"] is not None or row["status"] == "merged":
        return "is done with and about to be cleaned up.", call("worktrees", action="list")
    return "stays for its task, whose work is on no other branch yet.", task


def _cleaned(_tx: Transaction, row: Row) -> Answer:
    kept = f"; what it held is kept at {row['salvage_ref']}" if row["salvage_ref"] else ""
    return f"was cleaned up at {row['cleaned_at']}{kept}.", call("why", subject=row["task_id"])


MERGES: dict[str, Callable[[Transaction, Row, str, Bounds], Answer]] = {
    "queued": _queued,
    "checking": _checking,
    "merged": _merged,
    "conflicted": _conflicted,
    "rejected": _rejected,
    "cancelled": _cancelled,
}
WORKTREES: dict[str, Callable[[Transaction, Row], Answer]] = {
    "creating": _creating,
    "active": _standing,
    "merged": _standing,
    "cleaned": _cleaned,
}
POOL = {
    "filling": "is being made clean for a next task",
    "ready": "is clean and waits for a next task",
    "taken": "is being handed to a next task",
}
