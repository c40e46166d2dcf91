"""What a lead's ``assign`` does: begin a dispatch and hand out what can start at once, in one transaction (R-175)."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import assignments, dispatches, events, holds, states, tasks, why_launches
from .errors import NoAvailableWork, NotFound
from .store import Row, Transaction


@dataclass(frozen=True)
class Order:
    """What the lead asks for; without ``task_ids`` the tasks of ``priority_id``, without both every open one."""

    task_ids: Sequence[str]
    priority_id: str | None
    max_parallel: int
    agent_type: str | None
    follow: bool
    force: bool


@dataclass(frozen=True)
class Begun:
    dispatch: Row
    assignments: list[Row]
    blocked: list[str]


def begin(tx: Transaction, order: Order, *, bounds: why_launches.Bounds, now: str, actor: str) -> Begun:
    """Begin or join the dispatch. Raises NoAvailableWork, NotFound, TaskNotFound, InvalidInput."""
    holds.lift_stop(tx, now=now, actor=actor)
    task_ids = scope(tx, order)
    dispatch, blocked = dispatches.assign(
        tx,
        task_ids,
        max_parallel=order.max_parallel,
        agent_type=order.agent_type,
        follow=order.follow,
        force=order.force,
        now=now,
        actor=actor,
    )
    dispatch_id = dispatch["dispatch_id"]
    slots = dispatch["max_parallel"] - dispatches.slots_used(tx, dispatch_id)
    limits = dispatches.Limits(slots, why_launches.instances_left(tx, bounds), bounds.default_agent)
    given = dispatches.claim(tx, dispatch_id, limits, now=now, actor=actor)
    if order.force:
        given += _force(tx, dispatch, slots - len(given), bounds.default_agent, now=now, actor=actor)
    return Begun(dispatch, given, blocked)


def scope(tx: Transaction, order: Order) -> list[str]:
    """The ids that an order covers. Raises NotFound for an unknown priority, NoAvailableWork for an empty scope."""
    if order.task_ids:
        return list(dict.fromkeys(order.task_ids))
    if order.priority_id and tx.one("SELECT 1 FROM roadmap_priority WHERE id = ?", (order.priority_id,)) is None:
        raise NotFound(f"There is no priority {order.priority_id!r}.", hint="plan(action='show') names each task's.")
    rows = tx.all(
        "SELECT task_id FROM specs_task WHERE status IN ('pending', 'ready') AND (? IS NULL OR priority_id = ?) "
        # What workers have in hand is theirs, also between two attempts.
        "AND task_id NOT IN (SELECT task_id FROM queue_item WHERE task_id IS NOT NULL) ORDER BY task_id",
        (order.priority_id, order.priority_id),
    )
    if not rows:
        raise NoAvailableWork("No task is open.", hint="plan(action='import', path=…) brings some in.")
    return [row["task_id"] for row in rows]


def change(tx: Transaction, want: str, dispatch_id: str | None, *, now: str, actor: str) -> list[Row]:
    """Pause, resume or cancel one dispatch, or all that it applies to; returns them as they are now.

    A cancelled dispatch gives back what no agent has begun; agents at work finish.
    """
    sources = states.DISPATCH.sources(want)
    ids = [dispatch_id] if dispatch_id else [r["dispatch_id"] for s in sources for r in dispatches.listed(tx, status=s)]
    for each in ids:
        dispatches.change(tx, each, want, now=now, actor=actor)
        if want == "cancelled":
            _give_back(tx, each, now=now, actor=actor)
    return [row for row in dispatches.listed(tx, limit=10_000) if row["dispatch_id"] in ids]


def _give_back(tx: Transaction, dispatch_id: str, *, now: str, actor: str) -> None:
    rows = tx.all(
        "SELECT orchestrator_task_id FROM orchestrator_task o WHERE dispatch_id = ? AND status = 'assigned' "
        "AND NOT EXISTS (SELECT 1 FROM agent_lifecycle a WHERE a.orchestrator_task_id = o.orchestrator_task_id "
        "AND a.status IN ('starting', 'running'))",
        (dispatch_id,),
    )
    for row in rows:
        assignments.release(
            tx, row["orchestrator_task_id"], why=f"dispatch {dispatch_id} is cancelled", now=now, actor=actor
        )


def _force(tx: Transaction, dispatch: Row, slots: int, default_agent: str, *, now: str, actor: str) -> list[Row]:
    """Hand out tasks of the dispatch although their blockers are open."""
    rows = tx.all(
        "SELECT t.* FROM specs_task t JOIN dispatch_task d USING (task_id) WHERE d.dispatch_id = ? "
        f"AND t.status = 'pending' ORDER BY {tasks.READY_ORDER} LIMIT ?",
        (dispatch["dispatch_id"], max(0, slots)),
    )
    for row in rows:
        events.record(
            tx, now=now, actor=actor, subject_type="task", subject_id=row["task_id"], kind="dependencies_overridden"
        )
    return [
        assignments.create(
            tx,
            row,
            agent_type=dispatch["agent_type"] or row["agent_type"] or default_agent,
            dispatch_id=dispatch["dispatch_id"],
            now=now,
            actor=actor,
        )
        for row in rows
    ]


def agent_types_of(tx: Transaction, order: Order, default_agent: str) -> set[str]:
    """The types of agent that an order needs. Raises as ``scope``, and TaskNotFound."""
    types = {tasks.get(tx, task_id)["agent_type"] or default_agent for task_id in scope(tx, order)}
    return {order.agent_type} if order.agent_type else types
