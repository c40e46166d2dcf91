"""The order that ends a dispatch soonest: what it must hold for any graph, and that it reaches the tasks."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crewyard.server import dispatches, graph, rehearsals, schedule, tasks
from crewyard.server.plans import import_plan
from crewyard.server.readers import read_data
from crewyard.server.store import Store

NOW = "2026-01-01T00:00:00.000Z"
names = "abcdefgh"
some_hours = st.dictionaries(st.sampled_from(names), st.integers(1, 9).map(float), min_size=1)
forward_edges = st.lists(
    st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda edge: edge[0] < edge[1])
)
any_edges = st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), unique=True)
# Two agents: longest first, d, a, b, c, e, takes 8 h; a, d, c, b, e takes 7 h, the least there is.
FIVE = {"a": 3.0, "b": 3.0, "c": 2.0, "d": 4.0, "e": 2.0}


def played(hours: dict[str, float], edges: list[tuple[str, str]], workers: int, remaining: dict[str, float]) -> float:
    """How long it takes in that order."""
    before = {task: {a for a, b in edges if b == task and a in hours} for task in hours}
    ends: dict[str, float] = {}
    now, at_work = 0.0, dict[str, float]()
    while len(ends) < len(hours):
        open_ = [t for t in hours if t not in ends and t not in at_work and before[t] <= ends.keys()]
        open_.sort(key=lambda t: (-remaining[t], hours[t], t))
        candidates = [schedule.Candidate(task, "agent", ()) for task in open_]
        chosen = schedule.choose(candidates, slots=workers - len(at_work), busy_files={}, instances_left={})
        at_work |= {task: now + hours[task] for task in chosen.start}
        now = min(at_work.values())
        ends |= {task: end for task, end in at_work.items() if end == now}
        at_work = {task: end for task, end in at_work.items() if end > now}
    return now


def rehearsed(hours: dict[str, float], edges: list[tuple[str, str]], workers: int) -> dict[str, float]:
    return rehearsals.remaining_hours(hours, edges, workers, dict.fromkeys(hours, 5))


@given(some_hours, forward_edges, st.integers(1, 4))
def test_by_the_estimates_no_crew_takes_longer_than_by_the_longest_way(
    hours: dict[str, float], edges: list[tuple[str, str]], workers: int
) -> None:
    longest = played(hours, edges, workers, graph.remaining_hours(hours, edges))
    assert played(hours, edges, workers, rehearsed(hours, edges, workers)) <= longest


@given(some_hours, any_edges)
def test_a_circle_in_the_database_ends_no_rehearsal(hours: dict[str, float], edges: list[tuple[str, str]]) -> None:
    assert rehearsed(hours, edges, 2).keys() == hours.keys()


def test_a_chain_of_five_thousand_is_rehearsed_without_recursion() -> None:
    chain = [f"T{number:04}" for number in range(5000)]
    assert rehearsed(dict.fromkeys(chain, 1.0), list(pairwise(chain)), 4)["T0000"] == 5000


def test_a_worker_too_few_for_the_longest_first_begins_with_what_fits() -> None:
    assert played(FIVE, [], 2, graph.remaining_hours(FIVE, [])) == 8.0
    assert played(FIVE, [], 2, rehearsed(FIVE, [], 2)) == 7.0


def test_it_is_rehearsed_how_the_more_urgent_begin_first() -> None:
    urgent = {"c": 1, "e": 1, "a": 5, "b": 5, "d": 5}
    assert rehearsals.remaining_hours(FIVE, [], 2, urgent) == FIVE  # c and e first: then no order is better


# ------------------------------------------------------------------------------------------------ in the database


def order(store: Store) -> list[str]:
    return [row["task_id"] for row in store.read(tasks.ready, limit=10)]


def five(store: Store, **more: object) -> None:
    drafts = [{"task_id": name, "title": name, "estimated_hours": hours, **more} for name, hours in FIVE.items()]
    store.run(import_plan, read_data(drafts), now=NOW, actor="test")


def opened(store: Store, parallel: int) -> str:
    row, _ = store.run(
        dispatches.open_or_join, list(FIVE), max_parallel=parallel, agent_type=None, now=NOW, actor="lead"
    )
    return str(row["dispatch_id"])


def test_a_dispatch_takes_its_tasks_in_the_order_that_ends_it_soonest(store: Store) -> None:
    five(store)
    assert order(store) == ["d", "a", "b", "c", "e"]
    opened(store, 2)
    assert order(store) == ["a", "d", "c", "b", "e"]


def test_a_plan_that_changes_meanwhile_is_rehearsed_again(store: Store) -> None:
    five(store)
    opened(store, 2)
    five(store, description="Now with words.")
    assert order(store) == ["a", "d", "c", "b", "e"]


def test_a_dispatch_that_is_resumed_with_more_agents_is_rehearsed_for_these(store: Store) -> None:
    five(store)
    dispatch_id = opened(store, 2)
    store.run(dispatches.change, dispatch_id, "paused", now=NOW, actor="lead")
    opened(store, 3)
    assert order(store) == ["d", "a", "b", "c", "e"]
