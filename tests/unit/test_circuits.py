"""All circles of a graph, up to a bound that is told (R-121)."""

from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewyard.server import circuits

NAMES = "abcde"


def every_circle(edges: set[tuple[str, str]]) -> set[tuple[str, ...]]:
    """By trying each order of each choice of tasks."""
    found = set()
    for length in range(1, len(NAMES) + 1):
        for order in permutations(NAMES, length):
            chain = (*order, order[0])
            if order[0] == min(order) and all(pair in edges for pair in pairwise(chain)):
                found.add(chain)
    return found


@settings(max_examples=200, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=16))
def test_r121_the_circles_are_all_that_there_are(edges: set[tuple[str, str]]) -> None:
    found = circuits.find(edges, most=1_000)
    assert found.bound is None
    assert len(found.chains) == len(set(found.chains))
    assert set(found.chains) == every_circle(edges)
    assert found == circuits.find(sorted(edges, reverse=True), most=1_000), "in whatever order they come"


def complete(size: int) -> list[tuple[str, str]]:
    names = [f"t{n:02d}" for n in range(size)]
    return [(one, other) for one in names for other in names if one != other]


def test_r121_a_bound_that_was_reached_is_told() -> None:
    found = circuits.find(complete(12), most=50)
    assert (len(found.chains), found.knots, found.bound) == (50, 1, "the first 50 circles")
    few = circuits.find(complete(12), most=1_000_000, steps=500)
    assert few.chains
    assert few.bound == "the circles found within 500 steps"


def test_r126_a_task_that_waits_for_itself_is_a_circle() -> None:
    assert circuits.find([("a", "a"), ("a", "b")]).chains == (("a", "a"),)


def test_each_knot_is_among_those_shown() -> None:
    pairs = [edge for n in range(30) for edge in ((f"a{n:02d}", f"b{n:02d}"), (f"b{n:02d}", f"a{n:02d}"))]
    found = circuits.find([*pairs, *complete(12)], most=500, steps=2_000)
    assert found.knots == 31
    assert {f"a{n:02d}" for n in range(30)} <= {chain[0] for chain in found.chains}


@pytest.mark.timeout(20)
def test_a_circle_of_a_hundred_thousand_tasks_is_found() -> None:
    names = [f"t{n:06d}" for n in range(100_000)]
    [chain] = circuits.find([*pairwise(names), (names[-1], names[0])]).chains
    assert len(chain) == 100_001
