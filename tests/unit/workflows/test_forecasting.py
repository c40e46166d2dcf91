"""The simulation behind the forecast: what it says of made-up queues, and how often it is right (R-222, G-08)."""

import heapq
import random
from typing import Any

import pytest

from crewyard.server.workflows.forecasting import FEWEST_SAMPLES, Newcomer, Stage, Took, Work, forecast

HOUR = 3600.0


def stage(name: str = "genesis", workers: int = 1, seconds: float = 100.0, samples: int = 50, **more: Any) -> Stage:
    """Items take nearly the same time there, give or take one percent."""
    took = [Took(seconds * (0.99 + 0.02 * n / samples)) for n in range(samples)]
    return Stage(name, workers, {"": took}, **more)


def waits(project_id: str, *, priority: int = 5, since: float = 0.0, at: str = "genesis") -> Work:
    return Work(project_id, at, priority, since)


def test_r222_a_project_ends_when_all_its_stages_have_been_gone_through() -> None:
    outlook = forecast([stage("genesis"), stage("development", seconds=300.0)], [waits("P-1")])

    assert outlook.stages["P-1", "genesis"].p50 == pytest.approx(100, rel=0.05)
    assert outlook.stages["P-1", "development"].p50 == pytest.approx(400, rel=0.05)
    assert outlook.projects["P-1"] == outlook.stages["P-1", "development"]


def test_who_waits_behind_another_ends_after_it() -> None:
    outlook = forecast([stage()], [waits("P-1", since=10), waits("P-2")])

    assert outlook.projects["P-1"].p50 == pytest.approx(100, rel=0.05)
    assert outlook.projects["P-2"].p50 == pytest.approx(200, rel=0.05)


def test_a_second_worker_ends_both_at_once() -> None:
    outlook = forecast([stage(workers=2)], [waits("P-1", since=10), waits("P-2")])

    assert outlook.projects["P-2"].p50 == pytest.approx(100, rel=0.05)


def test_what_is_urgent_goes_first_and_what_is_old_does_not_wait_for_ever() -> None:
    urgent = forecast([stage()], [waits("old", since=HOUR), waits("urgent", priority=1)])
    aged = forecast([stage()], [waits("old", since=25 * HOUR), waits("urgent", priority=1)])

    assert urgent.projects["urgent"].p50 < urgent.projects["old"].p50
    assert aged.projects["old"].p50 < aged.projects["urgent"].p50


def test_what_is_at_work_ends_after_what_is_left_of_it() -> None:
    outlook = forecast([stage()], [Work("P-1", "genesis", 5, 90.0, is_at_work=True), waits("P-2")])

    assert outlook.projects["P-1"].p50 == pytest.approx(10, abs=2)
    assert outlook.projects["P-2"].p50 == pytest.approx(110, rel=0.05)


def test_what_takes_longer_than_anything_before_is_expected_as_if_it_had_begun_anew() -> None:
    outlook = forecast([stage()], [Work("P-1", "genesis", 5, 5000.0, is_at_work=True)])

    assert outlook.projects["P-1"].p50 == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("samples", range(FEWEST_SAMPLES))
def test_nothing_is_said_of_a_stage_with_fewer_than_five_samples_or_of_what_comes_after_it(samples: int) -> None:
    outlook = forecast([stage("genesis"), stage("development", samples=samples), stage("content")], [waits("P-1")])

    assert list(outlook.stages) == [("P-1", "genesis")]


def test_nothing_is_said_where_nobody_works_and_nobody_can() -> None:
    assert forecast([stage(workers=0)], [waits("P-1")]).stages == {}


def test_a_deep_queue_is_expected_to_get_more_workers() -> None:
    many = [waits(f"P-{n:02}") for n in range(30)]
    fixed = forecast([stage()], many)
    scaled = forecast([stage(most=3, deep=10, rest=50.0)], many)

    assert scaled.projects["P-29"].p50 < fixed.projects["P-29"].p50 / 2


def test_workers_of_an_emergency_are_expected_to_leave() -> None:
    many = [waits(f"P-{n:02}", since=100 - n) for n in range(20)]
    stay = forecast([stage(workers=4)], many)
    leave = forecast([stage(workers=4, leave=[150.0] * 3)], many)

    assert stay.projects["P-19"].p50 == pytest.approx(500, rel=0.05)
    assert leave.projects["P-19"].p50 == pytest.approx(1400, rel=0.05), "eight are done when three go"


def test_items_that_come_between_and_are_more_urgent_are_expected_too() -> None:
    many = [waits(f"P-{n:02}", since=100 - n) for n in range(20)]
    alone = forecast([stage()], many)
    busy = forecast([stage()], many, [[[Newcomer(400.0 * n, 1, "standard") for n in range(9)]]] * 2)
    behind = forecast([stage()], many, [[[Newcomer(400.0 * n, 5, "standard") for n in range(9)]]] * 2)

    assert busy.projects["P-19"].p50 > 1.15 * alone.projects["P-19"].p50
    assert behind.projects["P-19"].p50 == pytest.approx(alone.projects["P-19"].p50, rel=0.01)


def test_each_hour_to_come_may_be_like_any_of_those_it_is_given() -> None:
    many = [waits(f"P-{n:02}", since=100 - n) for n in range(20)]
    calm: list[Newcomer] = []
    rush = [Newcomer(0.0, 1, "standard")] * 20
    outlook = forecast([stage()], many, [[calm, calm, calm, rush]])

    assert outlook.projects["P-19"].p50 == pytest.approx(2000, rel=0.05)
    assert outlook.projects["P-19"].p90 == pytest.approx(4000, rel=0.05)


def test_a_project_that_is_in_two_stages_at_once_ends_with_the_later() -> None:
    stages = [stage("development", seconds=1000.0), stage("content", seconds=100.0)]
    work = [Work("P-1", "development", 5, 0.0, is_at_work=True), waits("P-1", at="content")]
    outlook = forecast(stages, work)

    assert outlook.stages["P-1", "content"].p50 == pytest.approx(100, rel=0.05)
    assert outlook.projects["P-1"].p50 == pytest.approx(1000, rel=0.05)


def test_a_worker_is_free_while_an_item_waits_for_a_judgement() -> None:
    reviewed = Stage("genesis", 1, {"": [Took(1000.0 + n, 0.1) for n in range(20)]})
    outlook = forecast([reviewed], [waits("P-1", since=1), waits("P-2")])

    assert outlook.projects["P-2"].p50 == pytest.approx(1100, rel=0.05)


def test_items_of_a_complexity_take_what_such_items_took() -> None:
    took = {"": [Took(100.0)] * 10, "complex": [Took(900.0)] * 5, "simple": [Took(10.0)] * 4}
    of = {
        complexity: forecast([Stage("genesis", 1, took)], [Work("P-1", "genesis", 5, 0.0, complexity)])
        for complexity in ("complex", "simple")
    }

    assert of["complex"].projects["P-1"].p50 == pytest.approx(900, rel=0.05)
    assert of["simple"].projects["P-1"].p50 == pytest.approx(100, rel=0.05), "four are too few to go by"


def test_the_same_facts_give_the_same_answer() -> None:
    work = [waits(f"P-{n}") for n in range(5)]

    assert forecast([stage()], work, seed=7) == forecast([stage()], work, seed=7)
    assert forecast([stage()], work, seed=7) != forecast([stage()], work, seed=8)


@pytest.mark.parametrize("samples", [10, 60])
def test_nine_of_ten_projects_end_by_their_p90(samples: int) -> None:
    """Against a queue that is worked off by other code, with durations that spread as those of real work do."""
    chance, right, told = random.Random(samples), 0, 0
    for _ in range(60):
        spread = [chance.lognormvariate(6.0, 0.6) for _ in range(samples)]
        work = [waits(f"P-{n:02}", since=100 - n) for n in range(12)]
        outlook = forecast([Stage("genesis", 3, {"": [Took(each) for each in spread]})], work)
        free = [0.0] * 3
        for each in work:
            end = heapq.heappop(free) + chance.lognormvariate(6.0, 0.6)
            heapq.heappush(free, end)
            right += end <= outlook.projects[each.project_id].p90
            told += 1

    assert 0.85 <= right / told <= 0.95
