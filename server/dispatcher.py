"""Works the dispatches off: which tasks get an agent now, and when a dispatch is over (design 4)."""

from . import agents, assignments, clock, dispatches
from .crew import ACTOR, Crew
from .dispatches import Limits
from .store import Row, Transaction


def to_launch(crew: Crew) -> list[Row]:
    """Assignments that an agent is to be started for now: those that wait, then newly claimed ready tasks."""
    return crew.write(_choose, crew, clock.now())


def end_finished(crew: Crew) -> None:
    """Close each dispatch of which nothing can go on and whose worktrees are dealt with."""
    for dispatch in crew.store.read(dispatches.listed, status="active"):
        if crew.store.read(_is_finished, dispatch["dispatch_id"]):
            crew.write(dispatches.change, dispatch["dispatch_id"], "completed", now=clock.now(), actor=ACTOR)


def has_work(tx: Transaction, now: str) -> bool:
    """Whether looking for launches is worth a write: something waits for an agent, or is ready in a dispatch."""
    return bool(
        assignments.waiting(tx, now=now)
        or tx.value(
            "SELECT 1 FROM specs_task t JOIN dispatch_task USING (task_id) JOIN dispatch d USING (dispatch_id) "
            "WHERE t.status = 'ready' AND d.status = 'active' LIMIT 1"
        )
    )


def _choose(tx: Transaction, crew: Crew, now: str) -> list[Row]:
    chosen: list[Row] = []
    at_work = _agents_at_work(tx)
    for row in assignments.waiting(tx, now=now):
        has_slot = row["dispatch_id"] is None or _free_slots(tx, row["dispatch_id"], at_work) > 0
        if has_slot and _instances_left(crew, at_work).get(row["agent_type"], 1) > 0:
            chosen.append(row)
            at_work.append(row)
    for dispatch in dispatches.listed(tx, status="active"):
        limits = Limits(
            slots=_free_slots(tx, dispatch["dispatch_id"], at_work),
            instances_left=_instances_left(crew, at_work),
            default_agent=crew.settings.default_agent,
        )
        claimed = dispatches.claim(tx, dispatch["dispatch_id"], limits, now=now, actor=ACTOR)
        chosen += claimed
        at_work += claimed
    return chosen


def _agents_at_work(tx: Transaction) -> list[Row]:
    """The assignments that a live agent works on."""
    live = {row["orchestrator_task_id"] for row in agents.live(tx)}
    return [assignments.get(tx, assignment_id) for assignment_id in sorted(live - {None})]


def _free_slots(tx: Transaction, dispatch_id: str, at_work: list[Row]) -> int:
    used = [row["dispatch_id"] for row in at_work].count(dispatch_id)
    slots: int = dispatches.get(tx, dispatch_id)["max_parallel"]
    return slots - used


def _instances_left(crew: Crew, at_work: list[Row]) -> dict[str, int]:
    return {
        name: agent.max_instances - [row["agent_type"] for row in at_work].count(name)
        for name, agent in crew.settings.agents.items()
        if agent.max_instances is not None
    }


def _is_finished(tx: Transaction, dispatch_id: str) -> bool:
    return dispatches.is_over(tx, dispatch_id) and dispatches.is_tidy(tx, dispatch_id)
