"""Circles in a graph of any size, and the error that names one.

Pure, and without recursion: a plan may be one chain of a hundred thousand tasks.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

from .errors import DependencyCycle

SHOWN_OF_A_CHAIN = 12
KEPT_OF_A_CHAIN = 100


def cycles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """One closed chain (``[a, b, a]``) along the edges' direction for each knot of the graph; a self-loop is one too.

    A knot is a strongly connected component of more than one task; its chain is a shortest one through the member
    that comes first in ``edges``. Empty where the graph has no circle.
    """
    edges = list(edges)
    if not has_circle(edges):
        return []
    after: dict[str, list[str]] = {}
    found = []
    for source, target in edges:
        if source == target:
            found.append([source, source])
        after.setdefault(source, []).append(target)
        after.setdefault(target, [])
    order = {node: index for index, node in enumerate(after)}
    found += [
        closed_chain(min(component, key=order.__getitem__), set(component), after)
        for component in components(after)
        if len(component) > 1
    ]
    return sorted(found, key=lambda chain: order[chain[0]])


def has_circle(edges: Iterable[tuple[str, str]]) -> bool:
    """Whether there is any: known in a third of the time that it takes to find them all."""
    after: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        after[source].append(target)
    done: set[str] = set()
    on_path: set[str] = set()
    for root in after:
        calls = [root]
        while calls:
            node = calls[-1]
            if node in on_path:  # all behind it is done
                on_path.remove(node)
                done.add(node)
            if node in done:
                calls.pop()
                continue
            on_path.add(node)
            for successor in after.get(node, ()):
                if successor in on_path:
                    return True
                if successor not in done:
                    calls.append(successor)
    return False


def components(after: Mapping[str, list[str]]) -> list[list[str]]:
    """Strongly connected components (Tarjan 1972), with the call stack as a list."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    components = []
    for root in after:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        calls = [(root, iter(after[root]))]
        while calls:
            node, successors = calls[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    path.append(successor)
                    on_path.add(successor)
                    calls.append((successor, iter(after[successor])))
                    break
                if successor in on_path and index[successor] < low[node]:
                    low[node] = index[successor]
            else:
                calls.pop()
                if calls and low[node] < low[calls[-1][0]]:
                    low[calls[-1][0]] = low[node]
                if low[node] == index[node]:
                    components.append(_cut(path, on_path, node))
    return components


def _cut(path: list[str], on_path: set[str], node: str) -> list[str]:
    at = len(path) - 1
    while path[at] != node:
        at -= 1
    component = path[at:]
    del path[at:]
    on_path.difference_update(component)
    return component


def closed_chain(start: str, members: set[str], after: Mapping[str, list[str]]) -> list[str]:
    """A shortest way from ``start`` back to itself within its component."""
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for successor in after[node]:
            if successor == start and node != start:
                chain = [start, node]
                while node != start:
                    node = came_from[node]
                    chain.append(node)
                return chain[::-1]
            if successor in members and successor not in came_from and successor != start:
                came_from[successor] = node
                waiting.append(successor)
    raise AssertionError("a strongly connected component always leads back")  # pragma: no cover


def refuse_cycles(waits: Iterable[tuple[str, str]], where: str = "") -> None:
    """Raises DependencyCycle if the pairs ``(task, what it waits for)`` hold a circle; ``where`` begins its message."""
    chains = cycles(waits)
    if chains:
        raise cycle_error(chains, where)


def cycle_error(chains: list[list[str]], where: str = "") -> DependencyCycle:
    """``chains`` follow the direction "waits for"."""
    chain = chains[0]
    more = f" ({len(chains) - 1} more such circles.)" if len(chains) > 1 else ""
    prefix = f"{where}: " if where else ""
    return DependencyCycle(
        f"{prefix}tasks wait for each other in a circle: {show_chain(chain)}.{more}",
        hint="Take away one of these dependencies.",
        chain=_shortened(chain, KEPT_OF_A_CHAIN),
        length=len(chain) - 1,
        chains=[_shortened(each, KEPT_OF_A_CHAIN) for each in chains[:5]],
    )


def show_chain(chain: list[str]) -> str:
    """``A → B → A``; a long one with its middle left out."""
    return " → ".join(_shortened(chain, SHOWN_OF_A_CHAIN))


def _shortened(chain: list[str], most: int) -> list[str]:
    return chain if len(chain) <= most else [*chain[: most - 2], "…", chain[-1]]
