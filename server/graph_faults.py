"""Whether the dependencies and what is derived from them agree (R-092, R-095). Looks only, and repairs nothing."""

from dataclasses import dataclass

from . import cycles, graph
from .store import Transaction

MOST_OF_A_KIND = 50
BOTH = "specs_task_dependency d LEFT JOIN specs_task b ON b.task_id = d.blocking_task_id LEFT JOIN specs_task t "
BOTH += "ON t.task_id = d.dependent_task_id"
OPEN = (
    "(SELECT count(*) FROM specs_task_dependency d WHERE d.dependent_task_id = t.task_id "
    "AND d.dependency_type = 'hard' AND d.dependency_status = 'pending')"
)
STARTS = "t.status IN ('pending', 'ready')"


@dataclass(frozen=True)
class Fault:
    """``kind`` is stable; ``tasks`` are those concerned; ``said`` is it in words."""

    kind: str
    tasks: tuple[str, ...]
    said: str


# Kind, query for its rows, and what is said of one.
CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "orphan_dependency",
        f"SELECT d.blocking_task_id, d.dependent_task_id FROM {BOTH} WHERE b.task_id IS NULL OR t.task_id IS NULL",
        "The dependency of {1!r} on {0!r} names a task that is not there.",
    ),
    (
        "unresolved_dependency",
        f"SELECT d.blocking_task_id, d.dependent_task_id FROM {BOTH} WHERE d.dependency_status = 'pending' "
        "AND b.status = 'completed'",
        "{1!r} still waits for {0!r}, which is completed.",
    ),
    (
        "resolved_too_early",
        f"SELECT d.blocking_task_id, d.dependent_task_id FROM {BOTH} WHERE d.dependency_status = 'completed' "
        "AND b.status <> 'completed'",
        "{1!r} no longer waits for {0!r}, which is not completed.",
    ),
    (
        "wrong_counter",
        f"SELECT t.task_id, t.unmet_blockers, {OPEN} AS open FROM specs_task t WHERE {STARTS} "
        f"AND t.unmet_blockers <> {OPEN}",
        "{0!r} counts {1} open dependencies and has {2}.",
    ),
    (
        "ready_but_blocked",
        f"SELECT t.task_id FROM specs_task t WHERE t.status = 'ready' AND {OPEN} > 0",
        "{0!r} is ready although a dependency of it is open; it is not started.",
    ),
    (
        "pending_without_blockers",
        f"SELECT t.task_id FROM specs_task t WHERE t.status = 'pending' AND {OPEN} = 0",
        "{0!r} is pending although it waits for nothing.",
    ),
)


def find(tx: Transaction) -> list[Fault]:
    """Every fault, at most fifty of a kind; none where all is as it should be."""
    faults = [
        Fault("circle", tuple(chain[:-1]), f"Tasks wait for each other in a circle: {cycles.show_chain(chain)}.")
        for chain in cycles.cycles(graph.hard_edges(tx))[:MOST_OF_A_KIND]
    ]
    for kind, query, said in CHECKS:
        for row in tx.all(f"{query} LIMIT ?", (MOST_OF_A_KIND,)):
            concerned = tuple(value for value in row if isinstance(value, str))
            faults.append(Fault(kind, concerned, said.format(*row)))
    return faults
