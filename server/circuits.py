"""The elementary circles of a graph, up to a bound that is told (R-121). Pure, without recursion.

A knot (``cycles.components``) of n tasks may hold more circles than anybody can count, so that the search stops after
``most`` circles or ``steps`` steps. A shortest one of each knot is always among those found.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .cycles import closed_chain, components

MOST = 100
STEPS = 300_000
Chain = tuple[str, ...]


@dataclass(frozen=True)
class Circuits:
    """``chains`` are closed (``a, b, a``), each begins with its first name; the shortest come first.

    ``knots``: circles that share tasks are one. ``bound`` says what the search stopped at, None where these are all.
    """

    chains: tuple[Chain, ...]
    knots: int
    bound: str | None


class _Steps:
    """What is left of the search."""

    def __init__(self, most: int) -> None:
        self.left = most

    def take(self, number: int = 1) -> bool:
        self.left -= number
        return self.left > 0


def find(edges: Iterable[tuple[str, str]], *, most: int = MOST, steps: int = STEPS) -> Circuits:
    """Circles along the edges' direction, a task that follows itself included; the same for the same edges."""
    after: dict[str, list[str]] = {}
    loops = set()
    for source, target in set(edges):
        if source == target:
            loops.add(source)
        after.setdefault(source, []).append(target)
        after.setdefault(target, [])
    knots = sorted(sorted(each) for each in components(after) if len(each) > 1)
    for members in knots:
        for node in members:
            after[node].sort()
    chains = {(each, each) for each in loops} | {_canonical(closed_chain(k[0], set(k), after)) for k in knots}
    number, budget = len(loops) + len(knots), _Steps(steps)
    more = _elementary(knots, after, budget)
    while len(chains) < most and (chain := next(more, None)) is not None:
        chains.add(_canonical(chain))
    bound = None
    if len(chains) > most or (len(chains) == most and next(more, None) is not None):
        bound = f"the first {most} circles"
    elif budget.left <= 0:
        bound = f"the circles found within {steps} steps"
    kept = sorted(chains, key=lambda chain: (len(chain), chain))[:most]
    return Circuits(tuple(kept), number, bound)


def _canonical(chain: list[str]) -> Chain:
    first = chain.index(min(chain))
    return (*chain[first:-1], *chain[:first], chain[first])


def _elementary(knots: list[list[str]], after: Mapping[str, list[str]], budget: _Steps) -> Iterator[list[str]]:
    """All circles through the first task of each knot, then those of what is left of it without that task."""
    waiting = sorted(knots, reverse=True)
    while waiting and budget.left > 0:
        members = waiting.pop()
        if not budget.take(sum(len(after[node]) for node in members)):
            return
        inside = set(members)
        within = {node: [each for each in after[node] if each in inside and each != node] for node in members}
        yield from _through(members[0], within, budget)
        rest = {node: [each for each in within[node] if each != members[0]] for node in members[1:]}
        waiting += sorted((sorted(each) for each in components(rest) if len(each) > 1), reverse=True)


def _through(start: str, after: Mapping[str, list[str]], budget: _Steps) -> Iterator[list[str]]:
    """The circles through ``start`` (Johnson 1975), with the call stack as a list.

    A task is blocked while it is on the path, and from then on until a way from it to ``start`` may be open again.
    """
    path, blocked, closed = [start], {start}, [False]
    opens: dict[str, set[str]] = {}
    calls = [iter(after[start])]
    while calls:
        for node in calls[-1]:
            if not budget.take():
                return
            if node == start:
                yield [*path, start]
                closed[-1] = True
            elif node not in blocked:
                path.append(node)
                closed.append(False)
                calls.append(iter(after[node]))
                blocked.add(node)
                break
        else:
            calls.pop()
            node = path.pop()
            if closed.pop():
                if closed:
                    closed[-1] = True
                _unblock(node, blocked, opens)
            else:
                for successor in after[node]:
                    opens.setdefault(successor, set()).add(node)


def _unblock(node: str, blocked: set[str], opens: dict[str, set[str]]) -> None:
    waiting = {node}
    while waiting:
        freed = waiting.pop()
        if freed in blocked:
            blocked.remove(freed)
            waiting |= opens.pop(freed, set())
