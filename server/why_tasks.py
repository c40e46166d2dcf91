"""Why a task stands as it does: a function for each of its states, over the rows that the drivers decide by."""

from collections.abc import Callable

from . import agents, assignments, deadlocks, denials, dispatches, merges, reports, tasks, why_launches, worktrees
from .advice import ADVICE
from .cycles import show_chain
from .next_calls import call
from .store import Row, Transaction
from .why_launches import CREW, Bounds
from .why_merges import of_merge
from .why_subjects import Answer, is_in_trouble, log_of, of_agent

BLOCKERS_NAMED = 8


def of_task(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    return STATES[task["status"]](tx, task, now, bounds)


def _pending(tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    task_id = task["task_id"]
    blockers = tasks.open_blockers(tx, task_id)
    if not blockers:
        return f"Task {task_id} is pending, though nothing blocks it any more.", _again(task_id)
    if circle := deadlocks.before(tx, task_id):
        ways_out = call("detect_deadlocks", action="analyze", cycle=circle[:-1])
        it = "tasks wait" if task_id in circle else "it waits for tasks that wait"
        return f"Task {task_id} can never start: {it} for each other in a circle, {show_chain(circle)}.", ways_out
    names = ", ".join(f"{row['task_id']} ({row['status']})" for row in blockers[:BLOCKERS_NAMED])
    more = f" and {len(blockers) - BLOCKERS_NAMED} more" if len(blockers) > BLOCKERS_NAMED else ""
    stuck = next((row for row in blockers if row["status"] in ("failed", "cancelled")), None)
    next_call = call("why", subject=blockers[0]["task_id"]) if stuck is None else _again(stuck["task_id"])
    alone = "" if scope_of(tx, task_id) else ", and no dispatch works it off"
    return f"Task {task_id} is {task['status']}: it waits for {names}{more}{alone}.", next_call


def _ready(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    if tasks.open_blockers(tx, task["task_id"]):  # a program that writes past us set it so; it is not started
        return _pending(tx, task, now, bounds)
    task_id, dispatch = task["task_id"], scope_of(tx, task["task_id"])
    if dispatch is None:
        start = call("assign", action="assign", task_ids=[task_id])
        return f"Task {task_id} is ready, but no dispatch works it off.", start
    name = dispatch["dispatch_id"]
    agent_type = dispatch["agent_type"] or task["agent_type"] or bounds.default_agent
    if dispatch["status"] == "paused":
        trouble = _trouble(tx, agent_type, now)
        return f"Task {task_id} is ready, but {trouble}its dispatch {name} is paused.", _resume(name)
    if (gate := why_launches.held(tx, task_id, agent_type, now)) is not None:
        return f"Task {task_id} is ready, but {gate.because}.", gate.next_call
    if because := why_launches.of_ready(tx, dispatch, task_id, agent_type, now, bounds):
        return f"Task {task_id} is ready, but {because}.", CREW
    return f"Task {task_id} is ready and next in line in dispatch {name}; its agent is about to start.", CREW


def _trouble(tx: Transaction, agent_type: str, now: str) -> str:
    """What waits for a person stands before all that waits for a supervisor."""
    found = why_launches.of_type(tx, agent_type, now)
    return "" if found is None else f"{found.because}. Besides, "


def scope_of(tx: Transaction, task_id: str) -> Row | None:
    """The dispatch that works the task off; an active one first."""
    return tx.one(
        "SELECT d.* FROM dispatch d JOIN dispatch_task t USING (dispatch_id) WHERE t.task_id = ? "
        "AND d.status IN ('active', 'paused') ORDER BY d.status, d.created_at LIMIT 1",
        (task_id,),
    )


def _assigned(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    task_id, work = task["task_id"], assignments.of_task(tx, task["task_id"])
    if work is None:
        return f"Task {task_id} is assigned, but nothing is recorded of an agent.", CREW
    if work["status"] == "completed":  # by somebody's word on a conflict, without an agent
        return _awaiting_merge(tx, task, now, bounds)
    if assignments.is_reserved(work):
        since = f"Task {task_id} is reserved for an agent of type {work['agent_type']} since {work['assigned_at']}"
        return f"{since}; none is started before somebody asks for it.", call("agents", action="spawn", task_id=task_id)
    known = agents.of_task(tx, task_id)
    starting = next((row for row in reversed(known) if row["status"] == "starting"), None)
    if starting is not None:
        name = starting["agent_id"]
        return f"Agent {name} is starting for task {task_id} since {starting['created_at']}.", log_of(name)
    gate = why_launches.held(tx, task_id, work["agent_type"], now)
    if work["not_before"] and work["not_before"] > now:
        also = f" Besides, {gate.because}." if gate else ""
        due = f"Task {task_id} waits until {work['not_before']} for restart {work['retry_count']}, and then goes on"
        failed = f"its last attempt failed ({work['error_code']}): {work['error_message'].rstrip('.')}."
        return f"{due} by itself; {failed}{also}{_allowing(tx, known)}", log_of(
            known[-1]["agent_id"]
        ) if known else CREW
    return _waiting_for_agent(tx, task_id, work, gate, now, bounds)


def _waiting_for_agent(
    tx: Transaction, task_id: str, work: Row, gate: why_launches.Hindrance | None, now: str, bounds: Bounds
) -> Answer:
    """Of an assignment whose time has come and that no agent has yet."""
    head = f"Task {task_id} has waited for an agent of type {work['agent_type']} since {work['assigned_at']}"
    failed = (work["error_message"] or "").rstrip(".")
    if work["rework_count"] and failed:
        head = f"Task {task_id} goes back to an agent (rework {work['rework_count']}: {failed})"
    elif work["error_code"] in ("quota", "authentication_failure") and gate is not None:  # which says the same
        head = f"Task {task_id} is to be tried again"
    elif work["error_code"]:
        head = f"Task {task_id} is to be tried again ({work['error_code']}: {failed})"
    dispatch = None if work["dispatch_id"] is None else dispatches.get(tx, work["dispatch_id"])
    if dispatch is not None and dispatch["status"] == "paused":
        name, trouble = dispatch["dispatch_id"], _trouble(tx, work["agent_type"], now)
        return f"{head}, but {trouble}its dispatch {name} is paused.", _resume(name)
    if gate is not None:
        return f"{head}, but {gate.because}.", gate.next_call
    if because := why_launches.of_assigned(tx, work, bounds):
        return f"{head}, but {because}.", CREW
    made = "agent is" if worktrees.live(tx, task_id) is not None else "worktree and agent are"
    return f"{head}; its {made} being prepared.", CREW


def _in_progress(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    work = assignments.of_task(tx, task["task_id"])
    if work is not None and work["status"] == "completed":
        return _awaiting_merge(tx, task, now, bounds)
    row = tx.one("SELECT * FROM agent_lifecycle WHERE agent_id = ?", (task["assigned_agent"],))
    if row is None:
        return f"Task {task['task_id']} is in progress.", CREW
    name = row["agent_id"]
    if row["status"] == "completed":
        said = f"Agent {name} ended its work on task {task['task_id']} at {row['completed_at']}"
        return f"{said}; the evidence is being checked.", log_of(name)
    if row["completed_at"] is not None or is_in_trouble(tx, row) or name in bounds.gone:
        return of_agent(tx, row, now, bounds)
    return (
        f"Agent {name} works on task {task['task_id']} since {row['started_at']}; it is {row['status']}, "
        f"last sign of life {row['last_heartbeat']}.",
        log_of(name),
    )


def _awaiting_merge(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    request = merges.latest(tx, task["task_id"])
    if request is None or request["status"] not in ("queued", "checking"):
        queue = call("worktrees", action="queue")
        return f"The work on task {task['task_id']} is proven and about to enter the merge queue.", queue
    return of_merge(tx, request, now, bounds)


def _completed(tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    request, task_id = merges.latest(tx, task["task_id"]), task["task_id"]
    if request is not None and request["status"] == "merged":
        how = f"merged into {request['target_branch']} as {request['merge_commit'][:12]}"
    else:
        work = assignments.of_task(tx, task_id)
        how = "nothing was to be changed" if work is not None and work["no_change"] else "set without a merge"
    kept, next_call = _kept(tx, task_id), call("plan", action="show", task_id=task_id)
    if kept:
        next_call = call("worktrees", action="cleanup", task_id=task_id)
    return f"Task {task_id} is completed since {task['completed_at']}: {how}.{kept}", next_call


def _failed(tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    task_id, request = task["task_id"], merges.latest(tx, task["task_id"])
    review = " and waits for your review" if task["needs_review"] else ""
    last = agents.of_task(tx, task_id)
    log = f" {log_of(last[-1]['agent_id'])} shows its last attempt." if last else ""
    message = f"{task['error_message'].rstrip('.')}."
    because = f"Task {task_id} failed at {task['updated_at']} ({task['error_code']}){review}: {message}"
    because += f" {ADVICE.get(task['error_code'], '')}".rstrip() + _allowing(tx, last) + log
    if last and reports.waits(tx, last[-1]["agent_id"]):
        answer = call("route", action="send", target_agent=last[-1]["agent_id"], content="…")
        because += f" {answer} answers it: whoever goes on with the task reads that."
    if request is not None and request["status"] == "conflicted":
        settle = call("worktrees", action="resolve", task_id=task_id, strategy="agent")
        return f"{because} {_again(task_id)} begins it anew.", settle
    return because + _kept(tx, task_id), _again(task_id)


def _allowing(tx: Transaction, known: list[Row]) -> str:
    """What a person may change where the last of these agents was refused something."""
    cure = denials.cure_of(tx, known[-1]["agent_id"]) if known else ""
    return f" {cure}" if cure else ""


def _cancelled(tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    task_id = task["task_id"]
    return f"Task {task_id} is cancelled since {task['updated_at']}.{_kept(tx, task_id)}", _again(task_id)


def _kept(tx: Transaction, task_id: str) -> str:
    """What is said of a worktree that cleanup left standing."""
    worktree = worktrees.live(tx, task_id)
    if worktree is None or worktree.kept_because is None:
        return ""
    return f" Its worktree {worktree.path} stays: {worktree.kept_because.rstrip('.')}."


def _again(task_id: str) -> str:
    return call("plan", action="update", task_id=task_id, new_status="ready")


def _resume(dispatch_id: str) -> str:
    return call("assign", action="resume", dispatch_id=dispatch_id)


STATES: dict[str, Callable[[Transaction, Row, str, Bounds], Answer]] = {
    "pending": _pending,
    "ready": _ready,
    "assigned": _assigned,
    "in_progress": _in_progress,
    "completed": _completed,
    "failed": _failed,
    "cancelled": _cancelled,
}
