"""Who gets what: the strategies, and the table of routes before them (R-237 to R-241)."""

import json
from typing import Any

import pytest

from crewyard.server.store import Store
from crewyard.server.workflows.distribution import Hand, Match, Need, match

from .line import DEPLOYED, REPOSITORY, SETTINGS, Line

ROUTED: dict[str, Any] = {"routes": {"shop": "genesis-02"}}


def chosen(needs: list[Need], hands: list[Hand], routing: Any, **routes: str) -> list[str]:
    return [each.worker_id for each in match(needs, hands, routing, routes)]


def test_r237_the_worker_with_the_lightest_load_gets_it() -> None:
    hands = [Hand("a", recent_seconds=600.0), Hand("b", recent_seconds=60.0), Hand("c", recent_seconds=900.0)]

    assert chosen([Need(1)], hands, "least_loaded") == ["b"]
    assert chosen([Need(1), Need(2)], hands, "least_loaded") == ["b", "a"]


def test_r237_of_equal_loads_the_longest_idle_gets_it() -> None:
    hands = [Hand("a", last_assigned_at="2026-01-02"), Hand("b", last_assigned_at="2026-01-01"), Hand("c")]

    assert chosen([Need(1), Need(2), Need(3)], hands, "least_loaded") == ["c", "b", "a"]


def test_r238_a_complex_project_goes_to_whom_it_is_meant_for_then_to_whom_has_shown_it() -> None:
    meant, shown, new = Hand("meant", ("complex",)), Hand("shown", done=(("complex", 8),)), Hand("new")
    need = Need(1, complexity="complex")

    assert chosen([need], [new, shown, meant], "specialised") == ["meant"]
    assert chosen([need], [new, shown], "specialised") == ["shown"]


def test_r238_who_failed_at_such_projects_gets_them_last() -> None:
    failed = Hand("failed", failed=(("complex", 3),))
    mixed = Hand("mixed", done=(("complex", 5),), failed=(("complex", 5),))
    sure = Hand("sure", done=(("complex", 5),), recent_seconds=900.0)

    needs = [Need(n, complexity="complex") for n in range(4)]
    assert chosen(needs, [failed, mixed, sure, Hand("new")], "specialised") == ["sure", "mixed", "new", "failed"]


def test_r239_the_nearest_gets_it_and_on_one_host_the_place_has_no_effect() -> None:
    hands = [Hand("here", location="berlin", recent_seconds=900.0), Hand("there", location="oslo")]

    assert chosen([Need(1, location="berlin")], hands, "nearest") == ["here"]
    assert chosen([Need(1)], hands, "nearest") == ["there"], "it names no place: the lightest load decides"
    assert chosen([Need(1, location="rome")], hands, "nearest") == ["there"], "nobody is near"


def test_r241_in_turn_everybody_gets_one() -> None:
    hands = [Hand("a", last_assigned_at="3", recent_seconds=0.0), Hand("b", last_assigned_at="1", recent_seconds=9.0)]

    assert chosen([Need(1), Need(2)], hands, "round_robin") == ["b", "a"]


def test_r241_a_route_goes_before_the_strategy_and_holds_nobody_up() -> None:
    hands = [Hand("a"), Hand("b", recent_seconds=900.0)]
    shops = [Need(1, kind="shop"), Need(2, kind="shop")]

    assert match(shops, hands, "least_loaded", {"shop": "b"}) == [
        Match(1, "b", "projects of kind shop go to it"), Match(2, "a", "it has the lightest load"),
    ]  # fmt: skip


def test_r238_experience_is_what_a_worker_has_finished(store: Store) -> None:
    stages = {"genesis": SETTINGS["stages"]["genesis"] | {"routing": "specialised"}}
    line = Line(store, {"stages": SETTINGS["stages"] | stages})
    first = line.dispatch(complexity="complex")
    line.distribute()
    line.later(60)
    line.finish(first, REPOSITORY)
    veteran = line.item(first, "genesis")["worker_id"]
    line.later(60)
    second = line.dispatch(complexity="complex")
    line.distribute()

    assert line.item(second)["worker_id"] == veteran, "although the other one has the lighter load"


def test_r241_the_table_of_routes_is_asked_for_real_projects(store: Store) -> None:
    line = Line(store, SETTINGS | ROUTED)
    name = line.dispatch(kind="shop")
    line.distribute()

    assert line.item(name)["worker_id"] == "genesis-02"


@pytest.mark.parametrize(
    ("stage", "output", "kind", "key"),
    [
        ("genesis", REPOSITORY | {"issues_created": 7}, "genesis_complete", "repository_url"),
        ("development", DEPLOYED | {"milestone": "beta"}, "development_complete", "deployment_url"),
    ],
)
def test_r236_the_events_of_stages_hold_what_their_workers_reported(
    line: Line, stage: str, output: dict[str, Any], kind: str, key: str
) -> None:
    name = line.dispatch(stage=stage)
    line.distribute()
    line.finish(name, output)
    [event] = line.read(
        lambda tx: tx.all("SELECT * FROM event WHERE subject_type = 'project' AND subject_id = ? AND kind = ?",
                          (name, kind))
    )  # fmt: skip
    data = json.loads(event["data"])

    assert data["output"] == output
    assert data[key] == output[key]
    assert event["at"] == line.now
