"""The dependency graph: remaining hours, the critical path, a snapshot, and how it is drawn.

An edge is a pair ``(blocking, dependent)``. Nothing here recurses, since a plan may be one chain of a hundred thousand
tasks. Circles are found in ``cycles``.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import add

from .cycles import cycles
from .store import Transaction

__all__ = [
    "Graph",
    "GraphEdge",
    "GraphTask",
    "critical_path",
    "cycles",
    "faults",
    "hard_edges",
    "refresh_remaining_hours",
    "remaining_hours",
    "snapshot",
    "to_mermaid",
]

Edge = tuple[str, str]
DONE = ("completed", "cancelled")
LABEL_LENGTH = 80
COLOURS = {
    "pending": "fill:#eceff1,stroke:#90a4ae,color:#263238",
    "ready": "fill:#e3f2fd,stroke:#1e88e5,color:#0d47a1",
    "assigned": "fill:#fff8e1,stroke:#ffb300,color:#5d4037",
    "in_progress": "fill:#ffe0b2,stroke:#fb8c00,color:#5d4037",
    "completed": "fill:#e8f5e9,stroke:#43a047,color:#1b5e20",
    "failed": "fill:#ffebee,stroke:#e53935,color:#b71c1c",
    "cancelled": "fill:#fafafa,stroke:#bdbdbd,color:#757575",
}


@dataclass(frozen=True)
class GraphTask:
    task_id: str
    title: str
    status: str
    priority: int
    estimated_hours: float
    remaining_hours: float
    unmet_blockers: int
    agent_type: str | None


@dataclass(frozen=True)
class GraphEdge:
    blocking: str
    dependent: str
    type: str
    status: str


@dataclass(frozen=True)
class Graph:
    """All tasks and dependencies at one moment; ``critical_path`` is the longest way through what is still open."""

    tasks: tuple[GraphTask, ...]
    edges: tuple[GraphEdge, ...]
    critical_path: tuple[str, ...]


def remaining_hours(hours: Mapping[str, float], edges: Iterable[Edge]) -> dict[str, float]:
    """For each task of ``hours`` the longest way from it to the end of the plan, itself included.

    Edges with an end outside ``hours`` do not count (give open tasks only). On a circle, which a plan never holds but
    a database edited by hand may, a task counts what is reached behind it outside of the circle.
    """
    number = {task: n for n, task in enumerate(hours)}  # lists are read in half the time of dictionaries
    own = list(hours.values())
    before: list[list[int]] = [[] for _ in own]
    open_after = [0] * len(own)
    for blocking, dependent in edges:
        first, then = number.get(blocking), number.get(dependent)
        if first is not None and then is not None:
            before[then].append(first)
            open_after[first] += 1
    behind = [0.0] * len(own)
    leaves = [n for n, count in enumerate(open_after) if not count]
    for leaf in leaves:  # which grows meanwhile
        way = behind[leaf] + own[leaf]
        for first in before[leaf]:
            if behind[first] < way:
                behind[first] = way
            open_after[first] -= 1
            if not open_after[first]:
                leaves.append(first)
    return dict(zip(hours, map(add, behind, own), strict=True))


def critical_path(hours: Mapping[str, float], edges: Iterable[Edge]) -> list[str]:
    """The tasks of the longest way through ``hours``, first one first; of equally long ones the first by id."""
    edges = list(edges)
    remaining = remaining_hours(hours, edges)
    after: defaultdict[str, list[str]] = defaultdict(list)
    for blocking, dependent in edges:
        after[blocking].append(dependent)
    path: dict[str, None] = {}
    candidates = list(hours)
    while candidates:
        longest = max(map(remaining.__getitem__, candidates))
        task = min(each for each in candidates if remaining[each] == longest)
        path[task] = None
        candidates = [each for each in after[task] if each in hours and each not in path]
    return list(path)


def faults(graph: Graph) -> list[str]:
    """What of the graph contradicts itself: nothing, unless somebody wrote past the domain."""
    status = {task.task_id: task.status for task in graph.tasks}
    open_ = [edge for edge in graph.edges if edge.status == "pending"]
    found = [
        f"{edge.dependent} waits for {edge.blocking}, which is completed"
        for edge in open_
        if status[edge.blocking] == "completed"
    ]
    waits = Counter(edge.dependent for edge in open_ if edge.type == "hard")
    return found + [
        f"{task.task_id} counts {task.unmet_blockers} open blockers and has {waits[task.task_id]}"
        for task in graph.tasks
        if task.unmet_blockers != waits[task.task_id]
    ]


# --------------------------------------------------------------------------------------------- units of work


def snapshot(tx: Transaction) -> Graph:
    """The whole graph, in the plan's order."""
    tasks = tuple(
        GraphTask(*row)
        for row in tx.tuples(
            "SELECT task_id, title, status, priority, estimated_hours, remaining_hours, unmet_blockers, agent_type "
            "FROM specs_task ORDER BY position, task_id"
        )
    )
    edges = tuple(
        GraphEdge(*row)
        for row in tx.tuples(
            "SELECT blocking_task_id, dependent_task_id, dependency_type, dependency_status "
            "FROM specs_task_dependency ORDER BY dependency_id"
        )
    )
    hours = {task.task_id: task.estimated_hours for task in tasks if task.status not in DONE}
    path = critical_path(hours, ((edge.blocking, edge.dependent) for edge in edges if edge.type == "hard"))
    return Graph(tasks, edges, tuple(path))


def refresh_remaining_hours(tx: Transaction) -> int:
    """Bring ``remaining_hours`` of every open task up to date; returns how many changed."""
    rows = tx.tuples(
        "SELECT task_id, estimated_hours, remaining_hours FROM specs_task "
        "WHERE status NOT IN ('completed', 'cancelled')"
    )
    now = remaining_hours({row[0]: row[1] for row in rows}, hard_edges(tx))
    changed = [(now[row[0]], row[0]) for row in rows if now[row[0]] != row[2]]
    tx.many("UPDATE specs_task SET remaining_hours = ? WHERE task_id = ?", changed)
    return len(changed)


def hard_edges(tx: Transaction) -> list[Edge]:
    """Every dependency that blocks, met or not."""
    return tx.tuples(
        "SELECT blocking_task_id, dependent_task_id FROM specs_task_dependency WHERE dependency_type = 'hard'"
    )


# --------------------------------------------------------------------------------------------- Mermaid


def to_mermaid(graph: Graph) -> str:
    """A Mermaid flowchart. Nodes are numbered, since an id such as ``end`` would break the syntax."""
    names = {task.task_id: f"n{index}" for index, task in enumerate(graph.tasks)}
    lines = ["flowchart LR"]
    lines += [f'  {names[task.task_id]}["{_label(task)}"]:::{task.status}' for task in graph.tasks]
    lines += [
        f"  {names[edge.blocking]} {'-->' if edge.type == 'hard' else '-.->'} {names[edge.dependent]}"
        for edge in graph.edges
    ]
    lines += [f"  classDef {status} {colours}" for status, colours in COLOURS.items()]
    lines.append("  classDef critical stroke-width:3px")
    if graph.critical_path:
        lines.append(f"  class {','.join(names[task] for task in graph.critical_path)} critical")
    return "\n".join(lines) + "\n"


def _label(task: GraphTask) -> str:
    text = " ".join(f"{task.task_id}: {task.title}".split())
    if len(text) > LABEL_LENGTH:
        text = text[: LABEL_LENGTH - 1] + "…"
    # Mermaid's own entity codes; they hold in every place and need no quoting rules.
    return re.sub(r"[^\w .,:/+()…-]", lambda found: f"#{ord(found[0])};", text)
