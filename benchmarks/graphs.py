"""What is asked of a plan's graph: by ours of the database, by others in memory.

    python benchmarks/graphs.py NAME QUESTION FOLDER

is one of them as a contestant (``turns.py``), in the Python that has its library. FOLDER holds the plan as
``plan.json`` and, imported, as ``data/orchestrator.db``.

Each question prepares what is not timed and returns the work that is. The others hold the graph in memory, so that for
them an import, a cycle check and a critical path begin with loading it, as ours do; nothing that they change is on
disk.
"""

import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import turns

READ_AT_ONCE = 4
Work = Callable[[], object]


class Ours:
    name = "crewyard"

    def __init__(self, folder: Path) -> None:
        from crewyard.server import clock, cycles, graph, plans, readers, tasks
        from crewyard.server.store import Store

        self.folder, self.open, self.now = folder, Store, clock.now
        self.cycles, self.graph, self.plans, self.readers, self.tasks = cycles, graph, plans, readers, tasks

    def importing(self) -> Work:
        text = (self.folder / "plan.json").read_text()

        def work() -> None:
            with tempfile.TemporaryDirectory() as place:
                store = self.open(Path(place) / "orchestrator.db")
                draft = self.readers.read_plan(text, name="plan.json")
                store.run(self.plans.import_plan, draft, now=self.now(), actor="bench")
                store.close()

        return work

    def ready(self) -> Work:
        store = self.open(database(self.folder))
        return lambda: store.read(self.tasks.ready, limit=READ_AT_ONCE)

    def complete(self) -> Work:
        """One task is completed, and what waited for nothing else is ready, on disk."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copytree(self.folder / "data", place / "data")
        store = self.open(database(place))
        due = in_order(self.folder)
        return lambda: store.run(self.tasks.complete, next(due), now=self.now(), actor="bench")

    def cycle_check(self) -> Work:
        store = self.open(database(self.folder))
        return lambda: self.cycles.refuse_cycles(store.read(self.graph.hard_edges))

    def critical_path(self) -> Work:
        store = self.open(database(self.folder))

        def found(tx: Any) -> list[str]:
            hours = tx.tuples("SELECT task_id, estimated_hours FROM specs_task")
            return self.graph.critical_path(dict(hours), self.graph.hard_edges(tx))

        return lambda: store.read(found)


class NotExists:
    """Ready is what no open task blocks, asked anew each time, with an index on either end of the edges."""

    name = "NOT EXISTS"

    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(database(folder))

    def ready(self) -> Work:
        return lambda: self.db.execute(
            "SELECT t.* FROM specs_task t WHERE status IN ('pending', 'ready') AND NOT EXISTS (SELECT 1 FROM "
            "specs_task_dependency d JOIN specs_task b ON b.task_id = d.blocking_task_id "
            "WHERE d.dependent_task_id = t.task_id AND b.status <> 'completed') "
            "ORDER BY priority, remaining_hours DESC, estimated_hours, task_id LIMIT ?",
            (READ_AT_ONCE,),
        ).fetchall()


class InMemory:
    """What the libraries have in common: where the graph comes from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of_plan(self) -> tuple[dict[str, float], list[tuple[str, str]]]:
        return of_plan(self.folder)

    def of_database(self) -> tuple[dict[str, float], list[tuple[str, str]]]:
        db = sqlite3.connect(database(self.folder))
        hours = dict(db.execute("SELECT task_id, estimated_hours FROM specs_task"))
        edges = db.execute("SELECT blocking_task_id, dependent_task_id FROM specs_task_dependency").fetchall()
        db.close()
        return hours, edges


class NetworkX(InMemory):
    name = "networkx"

    def importing(self) -> Work:
        return lambda: self._check(self._graph(*self.of_plan()))

    def ready(self) -> Work:
        import itertools

        graph = self._graph(*self.of_plan())
        return lambda: list(itertools.islice((node for node, count in graph.in_degree() if not count), READ_AT_ONCE))

    def complete(self) -> Work:
        graph, due = self._graph(*self.of_plan()), in_order(self.folder)

        def work() -> list[str]:
            task = next(due)
            after = list(graph.successors(task))
            graph.remove_node(task)
            return [each for each in after if not graph.in_degree(each)]

        return work

    def cycle_check(self) -> Work:
        return lambda: self._check(self._graph(*self.of_database()))

    def critical_path(self) -> Work:
        import networkx

        def work() -> list[str]:
            hours, edges = self.of_database()
            graph = networkx.DiGraph()
            graph.add_weighted_edges_from((before, after, hours[before]) for before, after in edges)
            found: list[str] = networkx.dag_longest_path(graph)
            return found

        return work

    def _graph(self, hours: dict[str, float], edges: list[tuple[str, str]]) -> Any:
        import networkx

        graph = networkx.DiGraph()
        graph.add_nodes_from(hours)
        graph.add_edges_from(edges)
        return graph

    def _check(self, graph: Any) -> None:
        import networkx

        assert networkx.is_directed_acyclic_graph(graph)


class RustworkX(InMemory):
    name = "rustworkx"

    def importing(self) -> Work:
        return lambda: self._check(self._graph(*self.of_plan())[0])

    def ready(self) -> Work:
        graph, _ = self._graph(*self.of_plan())

        def first() -> Iterator[int]:
            return (node for node in graph.node_indices() if not graph.in_degree(node))

        def work() -> list[int]:
            nodes = first()
            return [node for node, _ in zip(nodes, range(READ_AT_ONCE), strict=False)]

        return work

    def complete(self) -> Work:
        graph, number = self._graph(*self.of_plan())
        due = in_order(self.folder)

        def work() -> list[int]:
            node = number[next(due)]
            after = graph.successor_indices(node)
            graph.remove_node(node)
            return [each for each in after if not graph.in_degree(each)]

        return work

    def cycle_check(self) -> Work:
        return lambda: self._check(self._graph(*self.of_database())[0])

    def critical_path(self) -> Work:
        import rustworkx

        def work() -> Any:
            hours, edges = self.of_database()
            number = {task: node for node, task in enumerate(hours)}
            graph = rustworkx.PyDiGraph()
            graph.add_nodes_from(list(hours))
            graph.add_edges_from([(number[before], number[after], hours[before]) for before, after in edges])
            return rustworkx.dag_weighted_longest_path(graph, lambda _before, _after, weight: weight)

        return work

    def _graph(self, hours: dict[str, float], edges: list[tuple[str, str]]) -> tuple[Any, dict[str, int]]:
        import rustworkx

        number = {task: node for node, task in enumerate(hours)}
        graph = rustworkx.PyDiGraph()
        graph.add_nodes_from(list(hours))
        graph.add_edges_from_no_data([(number[before], number[after]) for before, after in edges])
        return graph, number

    def _check(self, graph: Any) -> None:
        import rustworkx

        assert rustworkx.is_directed_acyclic_graph(graph)


ALL: dict[str, Any] = {each.name: each for each in (Ours, NotExists, NetworkX, RustworkX)}


def database(folder: Path) -> Path:
    return folder / "data" / "orchestrator.db"


def of_plan(folder: Path) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Hours of each task, and pairs of a task and one that waits for it."""
    tasks = json.loads((folder / "plan.json").read_text())["tasks"]
    hours = {task["task_id"]: float(task["estimated_hours"]) for task in tasks}
    return hours, [(before, task["task_id"]) for task in tasks for before in task["depends_on"]]


def in_order(folder: Path) -> Iterator[str]:
    """The tasks, each soon behind all that it waits for, so that at any size about as many set another one free."""
    hours, edges = of_plan(folder)
    waits: dict[str, list[str]] = {task: [] for task in hours}
    for before, after in edges:
        waits[after].append(before)
    seen: set[str] = set()
    path = list(hours)
    while path:
        task = path[-1]
        if task not in seen:
            seen.add(task)
            path += [each for each in waits[task] if each not in seen]
        else:
            path.pop()
            if waits.pop(task, None) is not None:
                yield task


def main() -> None:
    name, question, folder = sys.argv[1:]
    turns.serve(getattr(ALL[name](Path(folder)), question)())


if __name__ == "__main__":
    main()
