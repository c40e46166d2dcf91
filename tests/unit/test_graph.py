"""Circles, remaining hours and the critical path against oracles that try every way; the picture against its syntax."""

import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewyard.server import graph
from crewyard.server.cycles import refuse_cycles
from crewyard.server.errors import DependencyCycle
from crewyard.server.plans import import_plan
from crewyard.server.readers import read_data
from crewyard.server.states import TASK
from crewyard.server.store import Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"
Edges = list[tuple[str, str]]

nodes = st.sampled_from("abcdefg")
any_edges = st.lists(st.tuples(nodes, nodes), max_size=16)
forward_edges = st.lists(st.tuples(nodes, nodes).filter(lambda edge: edge[0] < edge[1]), max_size=16, unique=True)
some_hours = st.dictionaries(nodes, st.integers(1, 9).map(float))


def reached(start: str, edges: Iterable[tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        for source, target in edges:
            if source == node and target not in found:
                found.add(target)
                waiting.append(target)
    return found


@given(any_edges)
def test_each_chain_is_closed_and_runs_along_edges(edges: Edges) -> None:
    for chain in graph.cycles(edges):
        assert chain[0] == chain[-1]
        assert len(set(chain)) == len(chain) - 1
        assert all(pair in edges for pair in pairwise(chain))


@given(any_edges)
def test_every_knot_has_one_chain_and_every_self_loop_its_own(edges: Edges) -> None:
    ways = {node: reached(node, edges) for node in "abcdefg"}
    knots = {frozenset(other for other in ways[node] if node in ways[other]) for node in ways if node in ways[node]}
    large = [knot for knot in knots if len(knot) > 1]
    chains = graph.cycles(edges)
    assert sum(len(chain) > 2 for chain in chains) == len(large)
    assert all(any(set(chain) <= knot for chain in chains if len(chain) > 2) for knot in large)
    assert sum(len(chain) == 2 for chain in chains) == sum(source == target for source, target in edges)


@given(any_edges)
def test_a_circle_is_refused_and_nothing_else(edges: Edges) -> None:
    has_circle = any(node in reached(node, edges) for node in "abcdefg")
    try:
        refuse_cycles(edges)
    except DependencyCycle as error:
        assert has_circle
        assert error.details["length"] == len(error.details["chain"]) - 1  # noqa: PT017  # it need not be raised
    else:
        assert not has_circle


def longest(task: str, hours: dict[str, float], edges: Edges) -> float:
    after = [target for source, target in edges if source == task and target in hours]
    return hours[task] + max((longest(each, hours, edges) for each in after), default=0.0)


@given(some_hours, forward_edges)
def test_remaining_hours_are_the_longest_way_of_all(hours: dict[str, float], edges: Edges) -> None:
    assert graph.remaining_hours(hours, edges) == {task: longest(task, hours, edges) for task in hours}


@given(some_hours, forward_edges)
def test_the_critical_path_is_a_way_and_none_is_longer(hours: dict[str, float], edges: Edges) -> None:
    path = graph.critical_path(hours, edges)
    assert all(pair in edges for pair in pairwise(path))
    assert sum(hours[task] for task in path) == max((longest(task, hours, edges) for task in hours), default=0.0)


@given(some_hours, any_edges)
def test_a_circle_in_the_database_brings_no_reader_down(hours: dict[str, float], edges: Edges) -> None:
    assert graph.remaining_hours(hours, edges).keys() == hours.keys()
    path = graph.critical_path(hours, edges)
    assert len(set(path)) == len(path)


def test_a_chain_of_twenty_thousand_needs_no_recursion() -> None:
    names = [f"T{number}" for number in range(20_000)]
    chain = list(pairwise(names))
    assert graph.cycles(chain) == []
    assert graph.cycles([*chain, (names[-1], names[0])]) == [[*names, names[0]]]
    assert graph.remaining_hours(dict.fromkeys(names, 1.0), chain)["T0"] == 20_000
    assert graph.critical_path(dict.fromkeys(names, 1.0), chain) == names


def test_a_shortest_chain_is_shown() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("b", "a")]
    assert graph.cycles(edges) == [["a", "b", "a"]]


# ------------------------------------------------------------------------------------------------ in the database


@pytest.fixture
def diamond(store: Store) -> Store:
    """a blocks b (5 h) and c (1 h); both block d; e stands alone and leans softly on a."""
    draft = read_data(
        [
            {"task_id": "a", "title": "a"},
            {"task_id": "b", "title": "b", "estimated_hours": 5, "depends_on": ["a"]},
            {"task_id": "c", "title": "c", "depends_on": ["a"]},
            {"task_id": "d", "title": "d", "depends_on": ["b", "c"]},
            {"task_id": "e", "title": "e", "soft_depends_on": ["a"]},
        ]
    )
    store.run(import_plan, draft, now=NOW, actor="test")
    return store


def test_a_snapshot_has_tasks_edges_and_the_critical_path(diamond: Store) -> None:
    shot = diamond.read(graph.snapshot)
    assert [(task.task_id, task.status, task.unmet_blockers, task.remaining_hours) for task in shot.tasks] == [
        ("a", "ready", 0, 7.0),
        ("b", "pending", 1, 6.0),
        ("c", "pending", 1, 2.0),
        ("d", "pending", 2, 1.0),
        ("e", "ready", 0, 1.0),
    ]
    assert graph.GraphEdge("a", "e", "soft", "pending") in shot.edges
    assert len(shot.edges) == 5
    assert shot.critical_path == ("a", "b", "d")


def test_what_is_done_counts_no_more(diamond: Store) -> None:
    def end(tx: Transaction) -> int:
        tx.run("UPDATE specs_task SET status = 'completed', completed_at = ? WHERE task_id = 'a'", (NOW,))
        tx.run("UPDATE specs_task SET status = 'cancelled' WHERE task_id = 'b'")
        return graph.refresh_remaining_hours(tx)

    assert diamond.run(end) == 0
    assert diamond.read(graph.snapshot).critical_path == ("c", "d")


def test_refreshing_writes_what_changed_only(diamond: Store) -> None:
    def longer(tx: Transaction) -> int:
        tx.run("UPDATE specs_task SET estimated_hours = 3 WHERE task_id = 'd'")
        return graph.refresh_remaining_hours(tx)

    assert diamond.run(longer) == 4
    assert diamond.run(graph.refresh_remaining_hours) == 0


# ------------------------------------------------------------------------------------------------ Mermaid


def task(task_id: str, title: str, status: str = "ready") -> graph.GraphTask:
    return graph.GraphTask(task_id, title, status, 5, 1.0, 1.0, 0, None)


def test_the_flowchart_shows_states_kinds_of_edges_and_the_critical_path() -> None:
    shot = graph.Graph(
        (task("end", "a", "completed"), task("x;y", "b"), task("c", "c", "failed")),
        (graph.GraphEdge("end", "x;y", "hard", "pending"), graph.GraphEdge("end", "c", "soft", "pending")),
        ("x;y",),
    )
    lines = graph.to_mermaid(shot).splitlines()
    assert lines[0] == "flowchart LR"
    assert lines[1] == '  n0["end: a"]:::completed'
    assert "  n0 --> n1" in lines
    assert "  n0 -.-> n2" in lines
    assert "  class n1 critical" in lines
    assert any(line.startswith("  classDef failed fill:") for line in lines)


@given(st.text())
def test_no_title_breaks_out_of_its_label(title: str) -> None:
    line = graph.to_mermaid(graph.Graph((task("T", title),), (), ())).split("\n")[1]
    assert re.fullmatch(r'  n0\["(?:[\w .,:/+()…-]|#\d+;)*"\]:::ready', line)


def test_every_state_has_a_colour() -> None:
    assert graph.COLOURS.keys() == TASK.states


def test_thousands_of_nodes_are_drawn_at_once() -> None:
    many = tuple(task(f"T{number}", "title") for number in range(5_000))
    edges = tuple(graph.GraphEdge(f"T{n}", f"T{n + 1}", "hard", "pending") for n in range(4_999))
    assert graph.to_mermaid(graph.Graph(many, edges, ())).count("-->") == 4_999
