"""How many workers a queue wants (R-243 to R-247, C-31, C-32, C-42)."""

import random
from dataclasses import replace

import pytest

from crewyard.server.workflow_sections import Stage, Workflows
from crewyard.server.workflows.scaling import Queue, Verdict, decide, turns

STAGE = Stage(agent="builder", min_workers=2, max_workers=5)
RULES = Workflows(stages={"genesis": STAGE})
CALM = Queue(waiting=0, average_wait=0.0, workers=3, idle=3, utilisation=50.0)


def test_r243_more_than_ten_that_wait_call_for_a_worker() -> None:
    at_ten, above = replace(CALM, waiting=10), replace(CALM, waiting=11)
    assert decide(at_ten, STAGE, RULES) == Verdict()
    assert decide(above, STAGE, RULES) == Verdict(1, "11 wait, more than 10 (scale_up_depth)")


@pytest.mark.parametrize(
    ("queue", "why"),
    [
        (replace(CALM, waiting=1, average_wait=1801.0), "has waited 30 minutes"),
        (replace(CALM, waiting=1, utilisation=81.0), "81 % busy while 1 wait"),
        (replace(CALM, waiting=1, slow="the last 10 took longer"), "took longer"),
    ],
)
def test_r246_a_long_wait_busy_workers_and_slow_work_call_for_one_too(queue: Queue, why: str) -> None:
    verdict = decide(queue, STAGE, RULES)
    assert verdict.change == 1
    assert why in verdict.why


def test_busy_workers_for_whom_nothing_waits_are_enough() -> None:
    assert decide(replace(CALM, utilisation=100.0, idle=0), STAGE, RULES) == Verdict()


@pytest.mark.parametrize(
    ("queue", "change"),
    [
        (replace(CALM, utilisation=29.9), -1),
        (replace(CALM, utilisation=30.0), 0),
        (replace(CALM, utilisation=29.9, waiting=3), 0),
        (replace(CALM, utilisation=29.9, waiting=2, average_wait=301.0), 0),
        (replace(CALM, utilisation=29.9, idle=0), 0),
        (replace(CALM, utilisation=0.0, workers=2, idle=2), 0),
        (replace(CALM, utilisation=None), 0),
    ],
)
def test_r244_an_idle_worker_goes_where_few_are_busy_and_little_waits(queue: Queue, change: int) -> None:
    assert decide(queue, STAGE, RULES).change == change


def test_c31_scaling_stops_at_the_maximum_and_says_so() -> None:
    verdict = decide(replace(CALM, workers=5, waiting=15), STAGE, RULES)
    assert verdict == Verdict(why="15 wait, more than 10 (scale_up_depth)", refused="max_workers is 5")


def test_busy_workers_alone_are_no_reason_to_warn_at_the_maximum() -> None:
    assert not decide(replace(CALM, workers=5, waiting=1, utilisation=99.0), STAGE, RULES).refused


def test_c42_the_machine_wins_and_says_so() -> None:
    verdict = decide(replace(CALM, waiting=11), STAGE, RULES, "10 MiB of memory are free")
    assert verdict == Verdict(why="11 wait, more than 10 (scale_up_depth)", refused="10 MiB of memory are free")


def test_a_queue_rests_after_each_change_and_three_times_as_long_before_it_shrinks() -> None:
    busy, quiet = replace(CALM, waiting=11), replace(CALM, utilisation=0.0)
    assert decide(replace(busy, rested=119.0), STAGE, RULES).rests
    assert decide(replace(busy, rested=120.0), STAGE, RULES).change == 1
    assert decide(replace(quiet, rested=359.0), STAGE, RULES).rests
    assert decide(replace(quiet, rested=360.0), STAGE, RULES).change == -1


def test_r247_a_queue_that_overflows_grows_as_far_as_it_may_without_a_rest() -> None:
    assert decide(replace(CALM, waiting=21, rested=0.0), STAGE, RULES).change == 2


def test_r245_a_worker_more_than_the_least_is_there_ahead_of_peak_hours() -> None:
    verdict = decide(replace(CALM, workers=2, idle=2, is_peak=True), STAGE, RULES)
    assert verdict == Verdict(1, "a peak hour is near")
    assert decide(replace(CALM, workers=3, utilisation=0.0, is_peak=True), STAGE, RULES) == Verdict()


def test_nobody_goes_whose_going_would_call_for_somebody_else() -> None:
    rules = Workflows(stages={"genesis": STAGE}, scale_down_utilisation=50.0, scale_up_utilisation=60.0)
    assert decide(replace(CALM, utilisation=45.0), STAGE, rules) == Verdict()
    assert decide(replace(CALM, utilisation=39.0), STAGE, rules).change == -1


def test_who_is_there_beyond_the_range_goes_once_idle_but_not_in_an_emergency() -> None:
    assert decide(replace(CALM, workers=7, idle=1), STAGE, RULES).change == -1
    assert decide(replace(CALM, workers=6, idle=3), STAGE, RULES).change == -1
    assert decide(replace(CALM, workers=7, idle=7, extra=2, utilisation=90.0), STAGE, RULES) == Verdict()


def test_a_queue_that_had_to_grow_again_shrinks_ever_later() -> None:
    quiet = replace(CALM, utilisation=0.0, rested=360.0)
    assert turns([1, 1, -1, -1, 1, -1, 1]) == 2
    assert decide(replace(quiet, turns=1), STAGE, RULES).rests
    assert decide(replace(quiet, turns=1, rested=1440.0), STAGE, RULES).change == -1
    assert decide(replace(quiet, turns=9, rested=86_400.0), STAGE, RULES).change == -1


@pytest.mark.parametrize("load", [0.3, 0.8, 1.5, 2.3, 3.1, 4.2, 6.0])
@pytest.mark.parametrize("seed", range(3))
def test_under_a_steady_load_the_number_of_workers_does_not_swing(load: float, seed: int) -> None:
    """``load`` workers' worth of work comes in, at random, over a day and a half of half minutes."""
    changes = [change for at, change in swings(load, seed) if at > 12 * 3600]
    assert turns(changes) <= 3, changes


def swings(load: float, seed: int) -> list[tuple[float, int]]:
    """When and by how much the workers of a simulated queue change: random arrivals, work of 3 to 9 minutes."""
    dice, step, seconds = random.Random(seed), 30.0, 360.0
    workers, done, ends, queue = 2, list[tuple[float, int]](), list[float](), list[float]()
    busy_of_late: list[float] = []
    for tick in range(int(36 * 3600 / step)):
        now = tick * step
        ends = [end for end in ends if end > now]
        queue += [now] * sum(dice.random() < load * step / seconds / 10 for _ in range(10))
        while queue and len(ends) < workers:
            queue.pop(0)
            ends.append(now + dice.uniform(0.5, 1.5) * seconds)
        busy_of_late = [*busy_of_late, 100 * len(ends) / workers][-20:]
        seen = Queue(
            waiting=len(queue),
            average_wait=sum(now - at for at in queue) / len(queue) if queue else 0.0,
            workers=workers,
            idle=max(0, workers - len(ends)),
            utilisation=sum(busy_of_late) / len(busy_of_late),
            rested=now - done[-1][0] if done else float("inf"),
            turns=turns([change for at, change in done if at > now - 86_400]),
        )
        if change := decide(seen, STAGE, RULES).change:
            workers += change
            done.append((now, change))
        assert STAGE.min_workers <= workers <= STAGE.max_workers
    return done
