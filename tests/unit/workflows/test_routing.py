"""Which worker gets which project (R-237 to R-241)."""

import copy

import pytest

from crewyard.server.store import Store
from crewyard.server.workflow_sections import Routing
from crewyard.server.workflows.distribution import Hand, Need, match

from .line import SETTINGS, Line


def given(needs: list[Need], hands: list[Hand], routing: Routing, **routes: str) -> dict[int, str]:
    return {each.item_id: each.worker_id for each in match(needs, hands, routing, routes)}


def test_r237_the_lightest_load_comes_first_then_whoever_is_idle_longest() -> None:
    hands = [
        Hand("a", recent_seconds=60.0),
        Hand("b", recent_seconds=5.0, last_assigned_at="2026-01-01T00:02"),
        Hand("c", recent_seconds=5.0, last_assigned_at="2026-01-01T00:01"),
    ]
    assert given([Need(1), Need(2), Need(3), Need(4)], hands, "least_loaded") == {1: "c", 2: "b", 3: "a"}


def test_r238_a_complex_project_goes_to_who_has_finished_such_ones() -> None:
    hands = [
        Hand("new"),
        Hand("able", recent_seconds=900.0, done=(("complex", 6),)),
        Hand("unlucky", done=(("complex", 6),), failed=(("complex", 6),)),
    ]
    assert given([Need(1, complexity="complex")], hands, "specialised") == {1: "able"}
    assert given([Need(1, complexity="complex")], [hands[0], hands[2]], "specialised") == {1: "unlucky"}
    assert given([Need(1, complexity="simple")], hands, "specialised") == {1: "new"}


def test_r238_what_a_worker_is_meant_for_counts_more_than_what_it_has_shown() -> None:
    hands = [Hand("shown", done=(("simple", 10),)), Hand("meant", specialities=("web", "simple"))]
    assert given([Need(1, kind="web", complexity="simple")], hands, "specialised") == {1: "meant"}


def test_r239_the_nearest_comes_first_and_without_a_place_the_lightest_load() -> None:
    hands = [Hand("far", location="oslo"), Hand("near", location="bern", recent_seconds=900.0)]
    assert given([Need(1, location="bern")], hands, "nearest") == {1: "near"}
    assert given([Need(1)], hands, "nearest") == {1: "far"}


def test_r241_in_turn_whoever_was_given_something_longest_ago() -> None:
    hands = [Hand("a", last_assigned_at="2"), Hand("b", last_assigned_at="1", recent_seconds=900.0), Hand("c")]
    assert given([Need(1), Need(2), Need(3)], hands, "round_robin") == {1: "c", 2: "b", 3: "a"}


@pytest.mark.parametrize("routing", ["least_loaded", "specialised", "nearest", "round_robin"])
def test_r241_a_kind_with_a_route_goes_to_that_worker_or_where_it_is_busy_to_another(routing: Routing) -> None:
    hands = [Hand("a"), Hand("b", recent_seconds=900.0, last_assigned_at="3")]
    assert given([Need(1, kind="web")], hands, routing, web="b") == {1: "b"}
    assert given([Need(1, kind="web")], hands[:1], routing, web="b") == {1: "a"}
    assert given([Need(1, kind="cli")], hands, routing, web="b") == {1: "a"}


def test_r206_who_waits_for_one_worker_holds_nobody_else_up() -> None:
    needs = [Need(1, wanted="busy"), Need(2, wanted="a"), Need(3)]
    assert given(needs, [Hand("a"), Hand("b")], "least_loaded") == {2: "a", 3: "b"}


def test_r237_the_load_is_how_long_a_worker_was_busy_within_the_hour(line: Line) -> None:
    for _ in range(2):
        line.dispatch()
    line.distribute()
    line.later(60)
    line.finish("P-1", {"repository_url": "x"})
    line.later(600)
    line.finish("P-2", {"repository_url": "y"})
    line.dispatch()
    line.distribute()

    assert line.item("P-3")["worker_id"] == line.item("P-1", "genesis")["worker_id"]


def test_r238_specialised_routing_goes_by_what_was_recorded(store: Store) -> None:
    settings = copy.deepcopy(SETTINGS)
    settings["stages"]["genesis"] |= {"routing": "specialised"}
    line = Line(store, settings)
    for _ in range(2):
        line.dispatch(complexity="complex")
    line.distribute()
    line.fail(line_of := next(name for name in ("P-1", "P-2") if line.item(name)["worker_id"] == "genesis-01"))
    line.finish("P-2" if line_of == "P-1" else "P-1", {"repository_url": "x"})
    line.dispatch(complexity="complex")
    line.distribute()

    assert line.item("P-3")["worker_id"] == "genesis-02"
