"""Circles of tasks that wait for each other: found, explained, and told once (R-121 to R-126, C-27).

Imports refuse them, so they come from whoever writes to the database past us. A chain goes from what blocks to what
waits for it. Nothing here is repaired, and nothing of a circle is ever started: its tasks have open blockers.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from . import circuits, cycles, deadlock_advice, error_events, failures, tasks, waits
from .circuits import Chain, Circuits
from .deadlock_advice import Edge, Option, Work
from .error_events import Note
from .errors import InvalidInput
from .next_calls import call
from .store import Row, Transaction
from .waits import Wait

LOOKED_AT = 10_000
WEIGHED = 200
NAMED = 20
SUBJECT_LENGTH = 400
# Whether a dependency ``d`` still holds its task: one that an agent has, or had, waits for no blocker any more.
_HOLDS = (
    "d.dependency_status = 'pending' AND NOT EXISTS (SELECT 1 FROM specs_task t WHERE t.task_id = d.dependent_task_id "
    "AND t.status IN ('assigned', 'in_progress', 'completed'))"
)


@dataclass(frozen=True)
class Deadlocks:
    """What is stuck at one moment. ``between_agents`` follow the direction "waits for"; ``behind`` counts the tasks
    that are of no circle and wait for one."""

    total_tasks: int
    total_dependencies: int
    graph_acyclic: bool
    among_tasks: Circuits
    between_agents: Circuits
    waits: dict[tuple[str, str], Wait] = field(default_factory=dict)
    behind: int = 0

    @property
    def chains(self) -> list[tuple[str, Chain]]:
        """Each circle with the graph that it is of."""
        return [("tasks", chain) for chain in self.among_tasks.chains] + [
            ("agents", chain) for chain in self.between_agents.chains
        ]


def detect(tx: Transaction, *, asked_before: str) -> Deadlocks:
    """Look for circles among tasks, and among agents that wait for answers that were ``asked_before``, files, tasks."""
    rows = tx.all(
        f"SELECT blocking_task_id, dependent_task_id, {_HOLDS} FROM specs_task_dependency d "
        "WHERE dependency_type = 'hard'"
    )
    edges = [(blocking, dependent) for blocking, dependent, _ in rows]
    knotted, found = _in_knots(edges), waits.between(tx, asked_before=asked_before)
    held = rows if knotted or found else ()
    pending = [(blocking, dependent) for blocking, dependent, is_open in held if is_open]
    among = circuits.find(edge for edge in pending if edge[0] in knotted and edge[1] in knotted)
    return Deadlocks(
        total_tasks=int(tx.value("SELECT count(*) FROM specs_task")),
        total_dependencies=len(edges),
        graph_acyclic=not knotted,
        among_tasks=among,
        between_agents=_between_agents(found, pending),
        waits=found,
        behind=_behind(among.chains, pending),
    )


def analyze(tx: Transaction, cycle: Sequence[str], circles: Sequence[Chain] = ()) -> tuple[list[Edge], list[Option]]:
    """The edges of a circle and the ways out of it; ``cycle`` goes along the dependencies, in either direction.

    Raises InvalidInput where two of it that follow each other do not depend on each other, TaskNotFound.
    """
    names = list(cycle[:-1] if len(cycle) > 1 and cycle[0] == cycle[-1] else cycle)
    if not names:
        raise InvalidInput("analyze needs a cycle.", hint="detect_deadlocks() shows the chains.", argument="cycle")
    tasks.require_all(tx, names)
    forward = [_edge(tx, one, other) for one, other in _around(names)]
    backward = [_edge(tx, one, other) for one, other in _around(names[::-1])]
    edges = forward if None not in forward else backward
    whole = [edge for edge in edges if edge is not None]
    if len(whole) < len(names):
        gap = next(pair for pair, edge in zip(_around(names), forward, strict=True) if edge is None)
        raise InvalidInput(
            f"{gap[1]!r} does not depend on {gap[0]!r}; this is no circle.",
            hint="Give the tasks in the order of a chain that detect_deadlocks() shows.",
            argument="cycle",
        )
    return whole, deadlock_advice.options(whole, _works(tx, names), circles)


def cheapest_way_out(tx: Transaction, chain: Chain, circles: Sequence[Chain]) -> tuple[Edge, Option]:
    """The edge to drop, and what that means; of a long chain one of the first two hundred."""
    part = chain[: WEIGHED + 1]
    edges, works = edges_of(tx, part), _works(tx, part)
    weakest = deadlock_advice.cheapest(edges, works, circles)
    return weakest, deadlock_advice.drop(weakest, works, circles)


def edges_of(tx: Transaction, chain: Chain) -> list[Edge]:
    """The dependencies that a chain goes along."""
    found = (_edge(tx, one, other) for one, other in pairwise(chain))
    return [edge for edge in found if edge is not None]


def before(tx: Transaction, task_id: str) -> list[str] | None:
    """The circle that keeps a task from ever starting, each waiting for the next: one that it is in, which then begins
    with it, or one that it waits for. None where none is found among the first ten thousand dependencies before it."""
    rows = tx.all(
        "WITH RECURSIVE before (task_id) AS (SELECT ? UNION SELECT d.blocking_task_id FROM specs_task_dependency d "
        f"JOIN before b ON d.dependent_task_id = b.task_id WHERE d.dependency_type = 'hard' AND {_HOLDS} LIMIT ?) "
        "SELECT d.dependent_task_id, d.blocking_task_id FROM before b JOIN specs_task_dependency d "
        f"ON d.dependent_task_id = b.task_id WHERE d.dependency_type = 'hard' AND {_HOLDS} "
        "ORDER BY d.dependent_task_id <> ? LIMIT ?",
        (task_id, LOOKED_AT, task_id, LOOKED_AT),
    )
    return next(iter(cycles.cycles((row[0], row[1]) for row in rows)), None)


def has_news(tx: Transaction, found: Deadlocks) -> bool:
    """Whether ``settle`` would record anything."""
    known = set(_known(tx))
    return set(_to_tell(found, known)) != known


def settle(tx: Transaction, found: Deadlocks, *, now: str, actor: str) -> list[str]:
    """Record and tell one circle of each knot that is new; one that is gone is over. Returns the new errors' ids."""
    known = _known(tx)
    present = _to_tell(found, set(known))
    for subject, row in known.items():
        if subject not in present:
            error_events.end(tx, row, "the circle is gone", now=now, actor=actor)
    return [
        error_events.note(tx, _note(subject, graph, chain, found), now=now, actor=actor)
        for subject, (graph, chain) in present.items()
        if subject not in known
    ]


def _to_tell(found: Deadlocks, known: Collection[str]) -> dict[str, tuple[str, Chain]]:
    """Of circles that share tasks one, by its name: the one that is ``known``, else the shortest.

    A shortest one of each knot is found however many there are, so that what is not among these is gone.
    """
    told: dict[str, tuple[str, Chain]] = {}
    for graph, circles in (("tasks", found.among_tasks), ("agents", found.between_agents)):
        knots = _knots(circles.chains)
        taken: set[str] = set()
        for chain in sorted(circles.chains, key=lambda each: _subject(graph, each) not in known):
            if knots[chain[0]] not in taken:
                taken.add(knots[chain[0]])
                told[_subject(graph, chain)] = graph, chain
    return told


def _knots(chains: Sequence[Chain]) -> dict[str, str]:
    """The knot that each task of the circles is of, named by one of its tasks."""
    after: dict[str, list[str]] = {}
    for one, other in (pair for chain in chains for pair in pairwise(chain)):
        after.setdefault(one, []).append(other)
    return {name: members[0] for members in cycles.components(after) for name in members}


def _known(tx: Transaction) -> dict[str, Row]:
    """The circles that were told, by their names."""
    rows = tx.all("SELECT * FROM error_events WHERE error_class = 'deadlock' AND status <> 'resolved'")
    return {row["subject"]: row for row in rows}


def _note(subject: str, graph: str, chain: Chain, found: Deadlocks) -> Note:
    length = len(chain) - 1
    grave = failures.graver(failures.DEADLOCK.severity, deadlock_advice.severity(length))
    if graph == "tasks":
        said = (
            f"{length} tasks wait for each other in a circle and are never started: {cycles.show_chain(list(chain))}."
        )
    else:
        reasons = "; ".join(found.waits[pair].said for pair in pairwise(chain) if pair in found.waits)
        said = f"Agents wait for each other in a circle: {cycles.show_chain(list(chain))} ({reasons})."
    said += _more(found, graph, chain)
    names = list(chain[:-1])
    shown = call("detect_deadlocks", action="detect")
    ways_out = call("detect_deadlocks", action="analyze", cycle=names) if len(names) <= NAMED else shown
    hint = f" {ways_out} tells the ways out."
    return Note("deadlock", said + (hint if graph == "tasks" else ""), "open", subject=subject, severity=grave)


def _more(found: Deadlocks, graph: str, chain: Chain) -> str:
    """What is said of the other circles of the same knot."""
    circles = found.among_tasks if graph == "tasks" else found.between_agents
    knots = _knots(circles.chains)
    same = [each for each in circles.chains if knots[each[0]] == knots[chain[0]]]
    tasks_of_it = len({name for each in same for name in each})
    many = "at least " if circles.bound else ""
    return f" It is one of {many}{len(same)} circles of {tasks_of_it} tasks." if len(same) > 1 else ""


def _subject(graph: str, chain: Chain) -> str:
    """The circle's name: the same for the same tasks in the same order."""
    text = f"{graph}: {' → '.join(chain)}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text if len(text) <= SUBJECT_LENGTH else f"{text[:SUBJECT_LENGTH]}… ({digest})"


def _in_knots(edges: Iterable[tuple[str, str]]) -> set[str]:
    after: dict[str, list[str]] = {}
    knotted = set()
    for source, target in edges:
        if source == target:
            knotted.add(source)
        after.setdefault(source, []).append(target)
        after.setdefault(target, [])
    return knotted.union(*(each for each in cycles.components(after) if len(each) > 1))


def _between_agents(found: dict[tuple[str, str], Wait], pending: list[tuple[str, str]]) -> Circuits:
    """Circles of which at least one wait is of an agent: those among tasks alone are told as such."""
    if not found:
        return Circuits((), 0, None)
    held = [(dependent, blocking) for blocking, dependent in pending]
    knotted = _in_knots([*held, *found])
    within = circuits.find(edge for edge in {*held, *found} if edge[0] in knotted and edge[1] in knotted)
    chains = tuple(chain for chain in within.chains if any(pair in found for pair in pairwise(chain)))
    return Circuits(chains, len(chains), within.bound)


def _behind(chains: Sequence[Chain], pending: list[tuple[str, str]]) -> int:
    if not chains:
        return 0
    after: dict[str, list[str]] = {}
    for blocking, dependent in pending:
        after.setdefault(blocking, []).append(dependent)
    stuck = {name for chain in chains for name in chain}
    seen, waiting = set(stuck), list(stuck)
    while waiting:
        for dependent in after.get(waiting.pop(), ()):
            if dependent not in seen:
                seen.add(dependent)
                waiting.append(dependent)
    return len(seen) - len(stuck)


def _around(names: list[str]) -> list[tuple[str, str]]:
    return list(pairwise([*names, names[0]]))


def _edge(tx: Transaction, blocking: str, dependent: str) -> Edge | None:
    row: Row | None = tx.one(
        "SELECT dependency_type, reason FROM specs_task_dependency "
        "WHERE blocking_task_id = ? AND dependent_task_id = ?",
        (blocking, dependent),
    )
    return None if row is None else Edge(blocking, dependent, row["dependency_type"], row["reason"])


def _works(tx: Transaction, names: Iterable[str]) -> dict[str, Work]:
    rows = [tasks.get(tx, name) for name in dict.fromkeys(names)]
    return {row["task_id"]: Work(row["estimated_hours"], tasks.files_of(row)) for row in rows}
