"""A person's word on a task's status, and what is wrong with the graph of dependencies (R-092 to R-096)."""

from dataclasses import dataclass

from . import assignments, cycles, graph, tasks
from .errors import DependencyCycle
from .store import Row, Transaction


@dataclass(frozen=True)
class Circle:
    """Tasks that wait for each other, in the direction "waits for"."""

    circular_chain: list[str]
    affected_tasks: list[str]


def update_status(tx: Transaction, task_id: str, new_status: str, *, now: str, actor: str) -> tasks.Completion:
    """As ``tasks.update_status``, also for a task that is reserved or waits for its next agent: nobody works on it.

    A task in a circle is not opened before the circle is. Raises DependencyCycle besides.
    """
    tasks.get(tx, task_id)
    circle = next((each for each in circles(tx) if task_id in each.affected_tasks), None)
    if circle is not None and new_status in ("ready", "pending"):
        raise DependencyCycle(
            f"Task {task_id} waits for itself: {cycles.show_chain(circle.circular_chain)}.",
            hint="Take away one of these dependencies; detect_deadlocks suggests which.",
            circular_chain=circle.circular_chain,
            affected_tasks=circle.affected_tasks,
        )
    work = assignments.of_task(tx, task_id)
    if work is not None and new_status in ("cancelled", "completed"):
        _take_back(tx, work, new_status, now=now, actor=actor)
    was_reserved = work is not None and assignments.is_reserved(work)
    assignments.release_reserved(tx, [task_id], now=now, actor=actor)
    if was_reserved and tasks.get(tx, task_id)["status"] == new_status:
        return tasks.Completion(dependencies_resolved=0, unblocked=[])
    return tasks.update_status(tx, task_id, new_status, now=now, actor=actor)


def _take_back(tx: Transaction, work: Row, new_status: str, *, now: str, actor: str) -> None:
    if assignments.is_waiting(tx, work["orchestrator_task_id"]):
        assignments.release(tx, work["orchestrator_task_id"], why=f"{new_status} by {actor}", now=now, actor=actor)


def circles(tx: Transaction) -> list[Circle]:
    """The circles of hard dependencies."""
    waits = [(dependent, blocking) for blocking, dependent in graph.hard_edges(tx)]
    return [Circle(chain, chain[:-1]) for chain in cycles.cycles(waits)]


def issues(tx: Transaction, found: graph.Graph) -> list[str]:
    """What is wrong with the graph: circles, and what contradicts itself."""
    return [f"circle: {cycles.show_chain(each.circular_chain)}" for each in circles(tx)] + graph.faults(found)
