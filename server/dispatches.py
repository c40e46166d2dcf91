"""Dispatches: a scope of tasks that the supervisor works off without any model's help (design 4)."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from . import assignments, clock, events, holds, rehearsals, schedule, states, tasks
from .errors import DispatchNotFound, InvalidInput, NoAvailableWork
from .store import Row, Transaction

# A slot is kept that long for what the end of a task sets free: its proof and merge take a fraction of that, and a
# critical path that finds its slot taken by something lesser waits for that thing's whole duration.
HANDOVER_SECONDS = 1.0
_ENDING = (
    "orchestrator_task o JOIN agent_lifecycle a ON a.agent_id = o.assigned_agent AND a.status = 'completed' "
    "AND o.status IN ('running', 'completed')"
)
# A ready task with an open edge, which only a program that writes past us leaves, is not started.
_MOVES = (
    "(t.status IN ('assigned', 'in_progress') OR (t.status = 'ready' AND NOT EXISTS (SELECT 1 FROM "
    "specs_task_dependency o WHERE o.dependent_task_id = t.task_id AND o.dependency_type = 'hard' "
    "AND o.dependency_status = 'pending')))"
)


@dataclass(frozen=True)
class Limits:
    """What bounds the claims of a dispatch: agents at work of it, and free instances by agent type."""

    slots: int
    instances_left: dict[str, int]
    default_agent: str


def get(tx: Transaction, dispatch_id: str) -> Row:
    """The dispatch's row. Raises DispatchNotFound."""
    row = tx.one("SELECT * FROM dispatch WHERE dispatch_id = ?", (dispatch_id,))
    if row is None:
        raise DispatchNotFound(
            f"There is no dispatch {dispatch_id!r}.",
            hint="The resource crewyard://status lists the open ones.",
            dispatch_id=dispatch_id,
        )
    return row


def listed(tx: Transaction, *, status: str | None = None, limit: int = 100) -> list[Row]:
    return tx.all(
        "SELECT d.*, (SELECT count(*) FROM dispatch_task t WHERE t.dispatch_id = d.dispatch_id) AS tasks "
        "FROM dispatch d WHERE ? IS NULL OR status = ? ORDER BY created_at DESC LIMIT ?",
        (status, status, limit),
    )


def of_scope(tx: Transaction, task_ids: Sequence[str]) -> Row | None:
    """The open dispatch that works off just these tasks."""
    return tx.one(
        "SELECT * FROM dispatch WHERE scope_key = ? AND status IN ('active', 'paused')", (_scope_key(task_ids),)
    )


def open_or_join(
    tx: Transaction, task_ids: Sequence[str], *, max_parallel: int, agent_type: str | None, now: str, actor: str
) -> tuple[Row, bool]:
    """Start working these tasks off, or join the dispatch that does so already; returns it and whether it is new.

    A paused dispatch of the same tasks is resumed, with what is asked for now. Raises InvalidInput for an empty scope.
    """
    if not task_ids:
        raise InvalidInput("There is no task to work off.", hint="plan(action='import') brings some in.")
    tasks.require_all(tx, task_ids)
    assignments.refuse_queued(tx, task_ids)
    assignments.release_reserved(tx, task_ids, now=now, actor=actor)
    present = of_scope(tx, task_ids)
    if present is not None:
        if present["status"] == "paused":
            present = events.transition(
                tx,
                states.DISPATCH,
                present["dispatch_id"],
                "active",
                now=now,
                actor=actor,
                max_parallel=max_parallel,
                agent_type=agent_type,
            )
            rehearsals.rehearse_one(tx, present["dispatch_id"], max_parallel)
        return present, False
    dispatch_id = f"d-{uuid.uuid4().hex[:12]}"
    tx.run(
        "INSERT INTO dispatch (dispatch_id, scope_key, max_parallel, agent_type, created_by, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (dispatch_id, _scope_key(task_ids), max_parallel, agent_type, actor, now),
    )
    tx.many("INSERT INTO dispatch_task (dispatch_id, task_id) VALUES (?, ?)", [(dispatch_id, t) for t in task_ids])
    rehearsals.rehearse_one(tx, dispatch_id, max_parallel)
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="dispatch",
        subject_id=dispatch_id,
        kind="dispatch_active",
        to_state="active",
        tasks=len(task_ids),
        max_parallel=max_parallel,
    )
    return get(tx, dispatch_id), True


def reopen_failed(tx: Transaction, task_ids: Sequence[str], *, now: str, actor: str) -> list[str]:
    """Offer those of the tasks again that failed, with a fresh count of attempts; returns them."""
    again = [
        task_id
        for task_id in task_ids
        if tx.one("SELECT 1 FROM specs_task WHERE task_id = ? AND status = 'failed'", (task_id,))
    ]
    for task_id in again:
        tasks.release(tx, task_id, now=now, actor=actor, why="started again")
    return again


def change(tx: Transaction, dispatch_id: str, want: str, *, now: str, actor: str, why: str = "") -> Row:
    """Pause (``paused``), resume (``active``), end (``completed``) or cancel (``cancelled``) a dispatch."""
    get(tx, dispatch_id)
    ended = now if want in ("completed", "cancelled") else None
    if want == "cancelled":
        give_back(tx, dispatch_id, why="its dispatch was cancelled", now=now, actor=actor)
    if want == "active":
        holds.lift_stop(tx, now=now, actor=actor)
    return events.transition(tx, states.DISPATCH, dispatch_id, want, now=now, actor=actor, why=why, ended_at=ended)


def give_back(tx: Transaction, dispatch_id: str, *, why: str, now: str, actor: str) -> None:
    """Give the tasks that no agent of the dispatch works on back to the plan."""
    for row in tx.all(
        "SELECT orchestrator_task_id FROM orchestrator_task o WHERE dispatch_id = ? AND status = 'assigned' "
        "AND NOT EXISTS (SELECT 1 FROM agent_lifecycle a WHERE a.orchestrator_task_id = o.orchestrator_task_id "
        "AND a.status IN ('starting', 'running'))",
        (dispatch_id,),
    ):
        assignments.release(tx, row["orchestrator_task_id"], why=why, now=now, actor=actor)


def claim(tx: Transaction, dispatch_id: str, limits: Limits, *, now: str, actor: str) -> list[Row]:
    """Give as many ready tasks of the dispatch to agents as the limits allow; returns the assignments."""
    dispatch = get(tx, dispatch_id)
    if dispatch["status"] != "active" or limits.slots <= 0:
        return []
    found = {each.task_id: each for each in candidates(tx, dispatch, limits, now=now)}
    choice = schedule.choose(
        found.values(), slots=limits.slots, busy_files=busy_files(tx), instances_left=limits.instances_left
    )
    return [
        assignments.create(
            tx,
            tasks.get(tx, task_id),
            agent_type=found[task_id].agent_type,
            dispatch_id=dispatch_id,
            now=now,
            actor=actor,
        )
        for task_id in choice.start
    ]


def candidates(tx: Transaction, dispatch: Row, limits: Limits, *, now: str) -> list[schedule.Candidate]:
    """What could be started of the dispatch, the most urgent first; types with no room are passed over."""
    full = {name for name, left in limits.instances_left.items() if left <= 0}
    if dispatch["agent_type"] is not None:  # it is every task's, whatever the task names
        if dispatch["agent_type"] in full:
            return []
        full = set()
    dispatch_id = dispatch["dispatch_id"]
    ready = tasks.ready(
        tx, limit=limits.slots + 200, dispatch_id=dispatch_id, but_types=full, default_type=limits.default_agent
    )
    # A program that writes edges past us leaves the counters behind: the edges are what counts.
    blocked = tasks.blocked(tx, [row["task_id"] for row in ready])
    ready = [row for row in ready if row["task_id"] not in blocked]
    rows = {row["task_id"]: row for row in sorted([*ready, *_heirs(tx, dispatch_id, now)], key=tasks.ready_order)}
    return [
        schedule.Candidate(
            row["task_id"], _agent_type(dispatch, row, limits), tasks.files_of(row), row["status"] == "ready"
        )
        for row in rows.values()
    ]


def assign(
    tx: Transaction,
    task_ids: Sequence[str],
    *,
    max_parallel: int,
    agent_type: str | None,
    follow: bool,
    force: bool,
    now: str,
    actor: str,
) -> tuple[Row, list[str]]:
    """Begin a dispatch for a lead (R-175); returns it and the ids that wait for a blocker.

    With ``follow`` it covers all of ``task_ids`` as they become free, otherwise only what can start now. ``force``
    starts tasks although their blockers are open. Raises NoAvailableWork, TaskNotFound, InvalidInput.
    """
    tasks.require_all(tx, task_ids)
    assignments.release_reserved(tx, task_ids, now=now, actor=actor)
    rows = [tasks.get(tx, task_id) for task_id in task_ids]
    open_ids = [row["task_id"] for row in rows if row["status"] in ("pending", "ready")]
    blocked = [row["task_id"] for row in rows if row["status"] == "pending"]
    if force:
        blocked = []
    startable = [task_id for task_id in open_ids if task_id not in blocked]
    if not startable and not (follow and open_ids):
        raise NoAvailableWork(
            f"None of the {len(task_ids)} tasks can start now.", hint="assign(action='find') tells what each waits for."
        )
    scope = open_ids if follow else startable[:max_parallel]
    dispatch, _ = open_or_join(tx, scope, max_parallel=max_parallel, agent_type=agent_type, now=now, actor=actor)
    tx.run("UPDATE dispatch SET follow = ? WHERE dispatch_id = ?", (int(follow), dispatch["dispatch_id"]))
    return get(tx, dispatch["dispatch_id"]), blocked


def busy_files(tx: Transaction) -> dict[str, tuple[str, ...]]:
    """The files of each task whose work is not yet on the integration branch."""
    rows = tx.all(
        "SELECT t.* FROM specs_task t JOIN orchestrator_task o USING (task_id) "
        "WHERE t.files <> '[]' "
        "AND (o.status IN ('assigned', 'running') OR (o.status = 'completed' AND o.no_change = 0))"
    )
    return {row["task_id"]: tasks.files_of(row) for row in rows}


def slots_used(tx: Transaction, dispatch_id: str) -> int:
    """Agents of the dispatch that are starting or running, and tasks that one is about to be started for."""
    return int(
        tx.value(
            "SELECT count(*) FROM orchestrator_task o WHERE o.dispatch_id = ? "
            "AND (EXISTS (SELECT 1 FROM agent_lifecycle a "
            "WHERE a.orchestrator_task_id = o.orchestrator_task_id AND a.status IN ('starting', 'running')) "
            "OR (o.status = 'assigned' AND o.not_before IS NULL AND o.error_code IS NULL))",
            (dispatch_id,),
        )
    )


def agents_at_work(tx: Transaction, dispatch_id: str) -> int:
    """Agents of the dispatch that are starting or running."""
    return int(
        tx.value(
            "SELECT count(*) FROM agent_lifecycle a JOIN orchestrator_task o USING (orchestrator_task_id) "
            "WHERE o.dispatch_id = ? AND a.status IN ('starting', 'running')",
            (dispatch_id,),
        )
    )


def is_over(tx: Transaction, dispatch_id: str) -> bool:
    """Whether nothing of the scope can go on: each task is settled, or waits for one that never will be."""
    of_scope = "SELECT t.task_id FROM dispatch_task d JOIN specs_task t USING (task_id) WHERE d.dispatch_id = ? "
    if tx.one(f"{of_scope} AND {_MOVES} LIMIT 1", (dispatch_id,)):
        return False
    pending = tx.all(of_scope + "AND t.status IN ('pending', 'ready')", (dispatch_id,))
    return not any(_may_become_ready(tx, row["task_id"]) for row in pending)


def not_begun(tx: Transaction, dispatch_id: str, most: int) -> int:
    """How many of its tasks wait for their first agent, counted up to ``most``."""
    return int(
        tx.value(
            "SELECT count(*) FROM (SELECT 1 FROM dispatch_task d JOIN specs_task t USING (task_id) "
            "WHERE d.dispatch_id = ? AND t.status IN ('pending', 'ready') LIMIT ?)",
            (dispatch_id, most),
        )
    )


def is_tidy(tx: Transaction, dispatch_id: str) -> bool:
    """Whether cleanup has dealt with each worktree of the dispatch: removed it, or noted why it stays."""
    left = tx.value(
        "SELECT count(*) FROM git_worktree_tracker w JOIN dispatch_task d USING (task_id) "
        "JOIN specs_task t USING (task_id) "
        "WHERE t.status IN ('completed', 'failed', 'cancelled') AND d.dispatch_id = ? "
        "AND w.status <> 'cleaned' AND w.kept_because IS NULL",
        (dispatch_id,),
    )
    return not left


def handover_ends(tx: Transaction, now: str) -> str | None:
    """When the first slot that is kept for the heirs of a task being merged is given up."""
    ended: str | None = tx.value(
        f"SELECT min(a.completed_at) FROM {_ENDING} WHERE a.completed_at > ?", (clock.plus(now, -HANDOVER_SECONDS),)
    )
    return None if ended is None else clock.plus(ended, HANDOVER_SECONDS)


def _heirs(tx: Transaction, dispatch_id: str, now: str) -> list[Row]:
    """Tasks that are ready as soon as the merge of one just finished is through, and so are worth a moment's wait."""
    return tx.all(
        f"SELECT t.* FROM {_ENDING} JOIN specs_task_dependency e ON e.blocking_task_id = o.task_id "
        "AND e.dependency_type = 'hard' AND e.dependency_status = 'pending' "
        "JOIN specs_task t ON t.task_id = e.dependent_task_id AND t.status = 'pending' AND t.unmet_blockers = 1 "
        "JOIN dispatch_task d ON d.task_id = t.task_id AND d.dispatch_id = ? WHERE a.completed_at > ?",
        (dispatch_id, clock.plus(now, -HANDOVER_SECONDS)),
    )


def _scope_key(task_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(task_ids)).encode()).hexdigest()


def _may_become_ready(tx: Transaction, task_id: str) -> bool:
    """Whether some blocker's progress can still free a pending task.

    All its open ancestors are being worked off, and at least one of them moves: in a circle, and behind one, none does.
    """
    is_stuck, moves = tx.only(
        f"""
        WITH RECURSIVE ancestor (task_id) AS (
            SELECT blocking_task_id FROM specs_task_dependency
            WHERE dependent_task_id = ? AND dependency_type = 'hard' AND dependency_status = 'pending'
            UNION
            SELECT e.blocking_task_id FROM specs_task_dependency e JOIN ancestor a ON e.dependent_task_id = a.task_id
            WHERE e.dependency_type = 'hard' AND e.dependency_status = 'pending')
        SELECT max(t.status IN ('failed', 'cancelled')
                   OR (t.status IN ('pending', 'ready') AND NOT EXISTS (
                       SELECT 1 FROM dispatch_task d JOIN dispatch p USING (dispatch_id)
                       WHERE d.task_id = t.task_id AND p.status = 'active'))), max({_MOVES})
        FROM ancestor a JOIN specs_task t USING (task_id)
        """,
        (task_id,),
    )
    return bool(moves) and not is_stuck


def _agent_type(dispatch: Row, task: Row, limits: Limits) -> str:
    return str(dispatch["agent_type"] or task["agent_type"] or limits.default_agent)
