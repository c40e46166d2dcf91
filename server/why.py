"""Why something does not run, merge or arrive: one true sentence, and the call that helps (contract 3, ``why``).

Each state has one function; each reads the same rows that the dispatcher and the merger decide by, so that the answer
is what will happen and not a guess.
"""

from collections.abc import Callable
from dataclasses import dataclass

from . import agents, assignments, collisions, dispatches, holds, merges, schedule, tasks
from .errors import NotFound
from .store import Row, Transaction
from .why_subjects import Answer, Bounds, is_in_trouble, of_agent, of_dispatch, of_merge, of_message

__all__ = ["Bounds", "Explanation", "explain", "instances_left"]


@dataclass(frozen=True)
class Explanation:
    """``subject_type`` says what the id was taken for."""

    subject_type: str
    because: str
    next_call: str


def explain(tx: Transaction, subject: str, *, now: str, bounds: Bounds) -> Explanation:
    """Explain a task, an agent, a message, a dispatch or a merge by its id. Raises NotFound."""
    for subject_type, table, key, of in SUBJECTS:
        # SQLite compares the text of a number with an integer key as the number that it is.
        value = subject.removeprefix("merge-") if subject_type == "merge" else subject
        row = tx.one(f"SELECT * FROM {table} WHERE {key} = ?", (value,))
        if row is not None:
            because, next_call = of(tx, row, now, bounds)
            return Explanation(subject_type, because, next_call)
    raise NotFound(
        f"Nothing is called {subject!r}.",
        hint="Give the id of a task, agent, message, dispatch or merge; plan(action='show') and agents(action='list') "
        "list them.",
        subject=subject,
    )


def of_task(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    because, next_call = _TASK[task["status"]](tx, task, now, bounds)
    return because + collisions.sentence(tx, task["task_id"]), next_call


def _pending(tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    blockers = tasks.open_blockers(tx, task["task_id"])
    names = ", ".join(f"{row['task_id']} ({row['status']})" for row in blockers[:8])
    more = f" and {len(blockers) - 8} more" if len(blockers) > 8 else ""
    stuck = next((row for row in blockers if row["status"] in ("failed", "cancelled")), None)
    next_call = f"why(subject='{(stuck or blockers[0])['task_id']}')" if blockers else "plan(action='show')"
    if stuck is not None:
        next_call = f"plan(action='update', task_id='{stuck['task_id']}', new_status='ready')"
    return f"Task {task['task_id']} is pending: it waits for {names}{more}.", next_call


def _ready(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    task_id = task["task_id"]
    scopes = tx.all(
        "SELECT d.* FROM dispatch d JOIN dispatch_task t USING (dispatch_id) WHERE t.task_id = ? "
        "AND d.status IN ('active', 'paused') ORDER BY d.status, d.created_at",
        (task_id,),
    )
    if not scopes:
        return (
            f"Task {task_id} is ready, but no dispatch works it off.",
            f"assign(action='assign', task_ids=['{task_id}'])",
        )
    dispatch = scopes[0]
    if dispatch["status"] == "paused":
        return (
            f"Task {task_id} is ready, but its dispatch {dispatch['dispatch_id']} is paused.",
            f"assign(action='resume', dispatch_id='{dispatch['dispatch_id']}')",
        )
    agent_type = dispatch["agent_type"] or task["agent_type"] or bounds.default_agent
    held = _launches_held(tx, agent_type, now) or _held(tx, dispatch, task_id, agent_type, bounds)
    if held is None:
        return (
            f"Task {task_id} is ready and next in line in dispatch {dispatch['dispatch_id']}; an agent starts now.",
            "agents(action='list')",
        )
    return f"Task {task_id} is ready, but {held}.", "agents(action='list')"


def _held(tx: Transaction, dispatch: Row, task_id: str, agent_type: str, bounds: Bounds) -> str | None:
    """What keeps the dispatcher from starting the task, decided as the dispatcher does."""
    used = dispatches.slots_used(tx, dispatch["dispatch_id"])
    if used >= dispatch["max_parallel"]:
        return f"{used} of {dispatch['max_parallel']} agents of dispatch {dispatch['dispatch_id']} are at work"
    rows = tasks.ready(tx, limit=1_000, dispatch_id=dispatch["dispatch_id"])
    candidates = [
        schedule.Candidate(
            row["task_id"],
            dispatch["agent_type"] or row["agent_type"] or bounds.default_agent,
            tasks.files_of(row),
        )
        for row in rows
    ]
    choice = schedule.choose(
        candidates,
        slots=dispatch["max_parallel"] - used,
        busy_files=dispatches.busy_files(tx),
        instances_left=instances_left(tx, bounds),
    )
    held = choice.held.get(task_id)
    return _instances_busy(tx, agent_type, bounds) or held if held else None


def _instances_busy(tx: Transaction, agent_type: str, bounds: Bounds) -> str | None:
    """The agents that are all there may be of a type at the same time (C-15)."""
    limit = bounds.max_instances.get(agent_type)
    busy = [f"{row['agent_id']} on task {row['task_id']}" for row in agents.live(tx) if row["agent_type"] == agent_type]
    if limit is None or len(busy) < limit:
        return None
    return f"max_instances ({limit}) agents of type {agent_type} are at work: {', '.join(busy[:5])}"


def _no_room(tx: Transaction, work: Row, bounds: Bounds) -> str | None:
    """What keeps an assignment that waits for its agent waiting, decided as the dispatcher does."""
    if work["dispatch_id"]:
        slots = dispatches.get(tx, work["dispatch_id"])["max_parallel"]
        used = dispatches.agents_at_work(tx, work["dispatch_id"])
        if used >= slots:
            return f"{used} of {slots} agents of dispatch {work['dispatch_id']} are at work"
    return _instances_busy(tx, work["agent_type"], bounds)


def _launches_held(tx: Transaction, agent_type: str, now: str) -> str | None:
    """The gate that is shut for this type, decided as the dispatcher does."""
    if (hold := holds.in_force(tx, agent_type, now)) is not None:
        until = f" until {hold['until']}" if hold["until"] else ""
        return f"launches are held{until} ({hold['reason']}): {hold['message']}"
    if (trial := holds.trial_of(tx, agent_type, now)) is not None:
        return f"one {agent_type} at a time is let through on trial, after: {trial['message']}"
    return None


def instances_left(tx: Transaction, bounds: Bounds) -> dict[str, int]:
    """How many more agents of each bounded type may start."""
    alive: dict[str, int] = {}
    for row in agents.live(tx):
        alive[row["agent_type"]] = alive.get(row["agent_type"], 0) + 1
    return {kind: limit - alive.get(kind, 0) for kind, limit in bounds.max_instances.items()}


def _assigned(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    task_id, work = task["task_id"], assignments.of_task(tx, task["task_id"])
    if work is None:
        return f"Task {task_id} is assigned, but nothing is recorded of an agent.", "agents(action='list')"
    if work["status"] == "completed":  # by somebody's word on a conflict, without an agent
        return _awaiting_merge(tx, task, now, bounds)
    if work["status"] == "completed":
        return _awaiting_merge(tx, task, now, bounds)
    held = _launches_held(tx, work["agent_type"], now)
    if work["not_before"] and work["not_before"] > now:
        also = f" Besides, {held}." if held else ""
        last = agents.of_task(tx, task_id)
        return (
            f"Task {task_id} waits until {work['not_before']} for restart {work['retry_count']}, because its last "
            f"attempt failed: {work['error_message']}{also}",
            f"agents(action='restart', agent_id='{last[-1]['agent_id']}')"
            if last
            else "agents(action='restart_failed')",
        )
    starting = next((row for row in reversed(agents.of_task(tx, task_id)) if row["status"] == "starting"), None)
    if starting is not None:
        return (
            f"Agent {starting['agent_id']} is starting for task {task_id} since {starting['created_at']}.",
            f"agents(action='log', agent_id='{starting['agent_id']}')",
        )
    if work["rework_count"] and work["error_message"]:
        return (
            f"Task {task_id} goes back to an agent (rework {work['rework_count']}): {work['error_message']}",
            "agents(action='list')",
        )
    if paused := _paused(tx, work):
        return (
            f"Task {task_id} is assigned, but its dispatch {paused} is paused.",
            f"assign(action='resume', dispatch_id='{paused}')",
        )
    if held := held or _no_room(tx, work, bounds):
        return f"Task {task_id} is given to a {work['agent_type']}, but {held}.", "agents(action='list')"
    return (
        f"Task {task_id} is given to a {work['agent_type']} since {work['assigned_at']}; its worktree and agent are "
        "being prepared.",
        "agents(action='list')",
    )


def _paused(tx: Transaction, work: Row) -> str | None:
    value: str | None = tx.value(
        "SELECT dispatch_id FROM dispatch WHERE dispatch_id = ? AND status = 'paused'", (work["dispatch_id"],)
    )
    return value


def _in_progress(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    work = assignments.of_task(tx, task["task_id"])
    if work is not None and work["status"] == "completed":
        return _awaiting_merge(tx, task, now, bounds)
    row = tx.one("SELECT * FROM agent_lifecycle WHERE agent_id = ?", (task["assigned_agent"],))
    if row is None:
        return f"Task {task['task_id']} is in progress.", "agents(action='list')"
    if row["status"] == "completed":
        return (
            f"Agent {row['agent_id']} says that task {task['task_id']} is done; the evidence is being checked.",
            f"agents(action='log', agent_id='{row['agent_id']}')",
        )
    if is_in_trouble(tx, row):
        return of_agent(tx, row, now, bounds)
    return (
        f"Agent {row['agent_id']} works on task {task['task_id']} since {row['started_at']}; it is {row['status']}, "
        f"last sign of life {row['last_heartbeat']}.",
        f"agents(action='log', agent_id='{row['agent_id']}')",
    )


def _awaiting_merge(tx: Transaction, task: Row, now: str, bounds: Bounds) -> Answer:
    request = merges.latest(tx, task["task_id"])
    if request is None or request["status"] not in ("queued", "checking"):
        return (
            f"The work on task {task['task_id']} is proven and about to enter the merge queue.",
            "worktrees(action='queue')",
        )
    return of_merge(tx, request, now, bounds)


def _completed(tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    request = merges.latest(tx, task["task_id"])
    if request is not None and request["status"] == "merged":
        how = f"merged into {request['target_branch']} as {request['merge_commit'][:12]}"
    else:
        work = assignments.of_task(tx, task["task_id"])
        how = "nothing was to be changed" if work is not None and work["no_change"] else "set without a merge"
    return f"Task {task['task_id']} is completed since {task['completed_at']}: {how}.", "plan(action='show')"


def _failed(tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    review = " and waits for your review" if task["needs_review"] else ""
    last = agents.of_task(tx, task["task_id"])
    log = f"; agents(action='log', agent_id='{last[-1]['agent_id']}') shows the last attempt" if last else ""
    request = merges.latest(tx, task["task_id"])
    if request is not None and request["status"] == "conflicted":
        log = f", or worktrees(action='resolve', task_id='{task['task_id']}', strategy=…) settles its conflict{log}"
    return (
        f"Task {task['task_id']} failed ({task['error_code']}){review}: {task['error_message']}",
        f"plan(action='update', task_id='{task['task_id']}', new_status='ready') tries it again{log}",
    )


def _cancelled(_tx: Transaction, task: Row, _now: str, _bounds: Bounds) -> Answer:
    return (
        f"Task {task['task_id']} is cancelled since {task['updated_at']}.",
        f"plan(action='update', task_id='{task['task_id']}', new_status='ready')",
    )


Explainer = Callable[[Transaction, Row, str, Bounds], Answer]

_TASK: dict[str, Explainer] = {
    "pending": _pending,
    "ready": _ready,
    "assigned": _assigned,
    "in_progress": _in_progress,
    "completed": _completed,
    "failed": _failed,
    "cancelled": _cancelled,
}
SUBJECTS: tuple[tuple[str, str, str, Explainer], ...] = (
    ("task", "specs_task", "task_id", of_task),
    ("agent", "agent_lifecycle", "agent_id", of_agent),
    ("message", "agent_message", "message_id", of_message),
    ("dispatch", "dispatch", "dispatch_id", of_dispatch),
    ("merge", "merge_request", "merge_id", of_merge),
)
