"""Ways out of a circle of tasks, each naming what to change, why that and what it costs (R-125). Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .failures import Severity
from .schedule import overlap


@dataclass(frozen=True)
class Edge:
    """``dependent`` waits for ``blocking``; ``kind`` is hard or soft."""

    blocking: str
    dependent: str
    kind: str
    reason: str | None


@dataclass(frozen=True)
class Work:
    """What counts of a task."""

    hours: float
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    option: str
    action: str
    impact: str


def severity(length: int) -> Severity:
    """How grave a circle of so many tasks is (R-123); a task that waits for itself is as bad as two (R-126)."""
    if length <= 2:
        return "critical"
    return "high" if length <= 4 else "medium"


def cheapest(edges: Sequence[Edge], works: Mapping[str, Work], circles: Sequence[Sequence[str]] = ()) -> Edge:
    """The edge to drop: one that most of ``circles`` go through, then one that nobody gave a reason for, whose tasks
    touch no common file, and whose dependent is the least work to do again should it have needed it."""
    through: dict[tuple[str, str], int] = {}
    for chain in circles:
        for pair in pairwise(chain):
            through[pair] = through.get(pair, 0) + 1

    def cost(edge: Edge) -> tuple[bool, int, bool, bool, float, str]:
        return (
            edge.kind == "soft",  # it holds nobody, so that dropping it frees nobody
            -through.get((edge.blocking, edge.dependent), 0),
            bool(edge.reason),
            _share_files(edge, works),
            works[edge.dependent].hours,
            edge.dependent,
        )

    return min(edges, key=cost)


def drop(edge: Edge, works: Mapping[str, Work], circles: Sequence[Sequence[str]] = ()) -> Option:
    """Take one edge away."""
    others = sum((edge.blocking, edge.dependent) in set(pairwise(chain)) for chain in circles)
    also = f" It is in {others} of the {len(circles)} circles found." if len(circles) > 1 else ""
    shared = " Both touch the same files, so that one may have to be reworked." if _share_files(edge, works) else ""
    why = f"given reason: {edge.reason}" if edge.reason else "nobody gave a reason for it"
    return Option(
        "drop_dependency",
        f"Take {edge.blocking!r} out of what {edge.dependent!r} depends on ({why}), and import the plan again.",
        f"{edge.dependent!r} ({works[edge.dependent].hours:g} h) no longer waits for {edge.blocking!r}.{shared}{also}",
    )


def options(edges: Sequence[Edge], works: Mapping[str, Work], circles: Sequence[Sequence[str]] = ()) -> list[Option]:
    """Every way out of the circle that ``edges`` make, the least costly first."""
    found = [_drop_soft(edge) for edge in edges if edge.kind == "soft"]
    if found:  # a soft edge holds nobody: the circle is none already
        return found
    weakest = cheapest(edges, works, circles)
    found.append(drop(weakest, works, circles))
    if len(edges) == 1:
        return found
    if not any(_share_files(edge, works) for edge in edges):
        found.append(_parallelise(edges))
    found += [_reorder(weakest), _split(edges, works), _between(edges, weakest, works)]
    return found


def _drop_soft(edge: Edge) -> Option:
    return Option(
        "drop_soft_dependency",
        f"Take {edge.blocking!r} out of what {edge.dependent!r} would rather come after, and import the plan again.",
        "Nothing waits for it: a soft dependency holds no task, so that this circle stops nobody.",
    )


def _parallelise(edges: Sequence[Edge]) -> Option:
    names = ", ".join(repr(edge.dependent) for edge in edges)
    return Option(
        "parallelise",
        f"Make the dependencies among {names} soft, so that they run side by side.",
        "They name no common file; what they build on of each other comes together at their merges.",
    )


def _reorder(edge: Edge) -> Option:
    return Option(
        "reorder",
        f"Do {edge.dependent!r} first and {edge.blocking!r} after it: keep the other dependencies, drop this one.",
        f"{edge.dependent!r} must be able to do without what {edge.blocking!r} brings.",
    )


def _split(edges: Sequence[Edge], works: Mapping[str, Work]) -> Option:
    largest = max(edges, key=lambda edge: (works[edge.dependent].hours, edge.dependent)).dependent
    needs = next(edge.blocking for edge in edges if edge.dependent == largest)
    needed_by = next(edge.dependent for edge in edges if edge.blocking == largest)
    return Option(
        "split_task",
        f"Split {largest!r} ({works[largest].hours:g} h, the largest): one task that {needed_by!r} waits for, and a "
        f"second one that waits for {needs!r}.",
        "One task more; nothing is dropped.",
    )


def _between(edges: Sequence[Edge], weakest: Edge, works: Mapping[str, Work]) -> Option:
    shared = sorted(set(works[weakest.blocking].files) & set(works[weakest.dependent].files))
    what = ", ".join(shared) if shared else "what both need"
    return Option(
        "intermediate_task",
        f"Add a task for {what}; {weakest.blocking!r} and {weakest.dependent!r} depend on it in place of each other.",
        f"One task more, and one that comes before all {len(edges)} of the circle.",
    )


def _share_files(edge: Edge, works: Mapping[str, Work]) -> bool:
    return overlap(works[edge.blocking].files, works[edge.dependent].files)
